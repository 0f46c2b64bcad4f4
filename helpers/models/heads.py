"""Projection and prediction heads."""

from collections.abc import Sequence

from torch import nn

from helpers.core.errors import UserError, pick, unknown

_ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


def mlp_head(widths: Sequence[int], *, norm: str = "batch", activation: str = "relu", last_norm: bool = False) -> nn.Sequential:
    """Linear layers of those widths with norm and activation between them; mlp_head([512, 512, 128]) is SimCLR's.

    `last_norm` ends in a batch normalisation. A linear layer before a normalisation has no bias: the normalisation has one.
    """
    if norm not in ("batch", "none"):
        raise unknown("norm of a head", norm, ("batch", "none"))
    act = pick("activation of a head", activation, _ACTIVATIONS)
    if len(widths) < 2 or min(widths) < 1:
        raise UserError(f"A head needs two or more positive widths, the input's first, and got {list(widths)}.")
    layers = []
    for index, (before, after) in enumerate(zip(widths, widths[1:], strict=False)):
        last = index == len(widths) - 2
        normed = last_norm if last else norm == "batch"
        layers.append(nn.Linear(before, after, bias=not normed))
        if normed:
            layers.append(nn.BatchNorm1d(after))
        if not last:
            layers.append(act())
    return nn.Sequential(*layers)
