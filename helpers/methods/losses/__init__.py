"""Losses as pure functions of tensors: float32 inside, inputs normalised here, a mean over samples comes out.

Where several processes train together each loss is that of all their samples, and the mean of their gradients is the gradient of
the one loss (helpers.methods.gather; tests/methods hold two processes of N samples against one of 2N).
"""

from helpers.methods.losses.alignment import byol_loss, negative_cosine
from helpers.methods.losses.clusters import dino_loss, sinkhorn, swav_loss
from helpers.methods.losses.contrast import info_nce, moco_v3_contrast, multi_view_nt_xent, nt_xent
from helpers.methods.losses.memory import instance_discrimination, instance_nce, proximal
from helpers.methods.losses.redundancy import barlow_twins, vicreg
from helpers.methods.losses.relic import relic_loss

__all__ = [
    "barlow_twins",
    "byol_loss",
    "dino_loss",
    "info_nce",
    "instance_discrimination",
    "instance_nce",
    "moco_v3_contrast",
    "multi_view_nt_xent",
    "negative_cosine",
    "nt_xent",
    "proximal",
    "relic_loss",
    "sinkhorn",
    "swav_loss",
    "vicreg",
]
