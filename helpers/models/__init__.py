"""Encoders by name with stems for small images, heads, weights in and out, what is inside an encoder and what it costs."""

from helpers.models.blocks import at_block, block_names, intermediate
from helpers.models.build import build_encoder, from_export, settled_options
from helpers.models.catalogue import ENCODERS, resolve_stem
from helpers.models.encoders import Encoder
from helpers.models.heads import mlp_head
from helpers.models.profile import counts_table, macs, parameters, published_counts
from helpers.models.tuned import tune
from helpers.models.weights import export, load_weights

__all__ = [
    "ENCODERS",
    "Encoder",
    "at_block",
    "block_names",
    "build_encoder",
    "counts_table",
    "export",
    "from_export",
    "intermediate",
    "load_weights",
    "macs",
    "mlp_head",
    "parameters",
    "published_counts",
    "resolve_stem",
    "settled_options",
    "tune",
]
