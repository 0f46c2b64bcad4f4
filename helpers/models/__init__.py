"""Encoders by name with stems for small images, heads, weights in and out, and what an encoder costs."""

from helpers.models.catalogue import ENCODERS, resolve_stem
from helpers.models.encoders import Encoder, build_encoder
from helpers.models.heads import mlp_head
from helpers.models.profile import macs, parameters
from helpers.models.tuned import tune
from helpers.models.weights import export, from_export, load_weights

__all__ = [
    "ENCODERS",
    "Encoder",
    "build_encoder",
    "export",
    "from_export",
    "load_weights",
    "macs",
    "mlp_head",
    "parameters",
    "resolve_stem",
    "tune",
]
