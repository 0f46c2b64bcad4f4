"""Losses in which an embedding has to meet its partner, with nothing to push it away from others."""

import torch
import torch.nn.functional as F


def negative_cosine(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """SimSiam's loss: minus the cosine of each prediction and its target, which gets no gradient here. Both [..., d].

    -1 where all directions agree, 1 where all are opposite.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        return -F.cosine_similarity(prediction.float(), target.detach().float(), dim=-1).mean()


def byol_loss(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """BYOL's: the squared distance of the two unit vectors, 2 - 2 cos, which gives the target no gradient. Both [..., d]."""
    return 2 + 2 * negative_cosine(prediction, target)
