"""One function that builds any encoder by name, and one that builds it from the file that a run left."""

import json
from pathlib import Path

from helpers.core.errors import DataError, UserError
from helpers.core.files import shown
from helpers.models.catalogue import find, resolve_stem
from helpers.models.encoders import Encoder
from helpers.models.nets import build_net, check_options
from helpers.models.weights import existing, load_weights, metadata


def build_encoder(name: str, image_size: int, *, stem: str = "auto", weights: str | Path | None = None, **options) -> Encoder:
    """The encoder of that name for square images of that size; `weights` is a local file to start from.

    Any encoder takes feature_norm="layer", which normalises its features as layer norm does, without weights.
    Convolutional nets take width=0.5, say: every layer's channels times that, the features too.
    ResNets take zero_init_last=False: residual branches that begin awake, not at zero, from where few steps hardly move them.
    ViT options: patch, dim, depth, heads, mlp (ratio), dropout, positions ("normal", or "sincos": fixed), pool ("token", "avg",
    "concat"), feature_width; and as MoCo v3 asks: mlp_norm="batch", freeze_patches=True (they keep their random initial weights).
    """
    stem = resolve_stem(name, image_size, stem, options.get("patch"))
    full = settled_options(name, options)
    encoder = Encoder(build_net(name, find(name), image_size, stem, full), name, stem, image_size, full)
    if weights is not None:
        load_weights(encoder, weights)
    return encoder


def settled_options(name: str, options: dict) -> dict:
    """All options of an encoder beside its patch, those that its name stands for included; an error, before anything is built, where one
    of them cannot be."""
    spec = find(name)
    full = {**spec.options, **{key: value for key, value in options.items() if key != "patch"}}
    if full.get("pool") != "concat" and "feature_width" not in options:
        full.pop("feature_width", None)  # another pooling asked of an encoder that concatenates: nothing is left to map
    check_options(name, spec, full)
    return full


def from_export(path: str | Path) -> Encoder:
    """The encoder that `export` wrote, built again from the file alone."""
    path = existing(path)
    facts = metadata(path)
    missing = [key for key in ("name", "stem", "image_size", "options") if key not in facts]
    if missing:
        raise UserError(
            f"{shown(path)} does not say which encoder it holds (no {', '.join(missing)}). Build one with build_encoder(..., weights=path)."
        )
    try:
        size, options = int(facts["image_size"]), dict(json.loads(facts["options"]))
    except (ValueError, TypeError) as error:
        raise DataError(f"The metadata of {shown(path)} is damaged: {error}. Export the encoder again.") from error
    return build_encoder(facts["name"], size, stem=facts["stem"], weights=path, **options)
