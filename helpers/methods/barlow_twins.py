"""Barlow Twins (Zbontar et al. 2021): each coordinate must agree between the views, and no two may say the same."""

from itertools import combinations

import torch

from helpers.methods.base import Card, Method
from helpers.methods.losses import barlow_twins
from helpers.models import mlp_head


class BarlowTwins(Method):
    """Encoder and a wide projector of three layers; more than two views are compared pair by pair.

    Against the paper: 1024 coordinates instead of 8192 by default; all views share the projector's batch statistics, while the
    loss normalises each view by itself. The loss has no scale of its own (published small-image settings multiply it by 0.1):
    Adam and LARS divide by the gradient's size anyway, and with SGD the range test finds the rate that such a scale stands for.
    """

    card = Card(
        title="Barlow Twins",
        paper="Zbontar, Jing, Misra, LeCun, Deny: Barlow Twins: Self-Supervised Learning via Redundancy Reduction (2021)",
        loss="Σ_i (1 − C_ii)² + λ Σ_{i≠j} C_ij²,  C = corr(z, z⁺) over the batch",
        recipe="byol_small",
    )
    views_needed = fewest = 2

    def __init__(self, encoder, views, *, hidden: int = 1024, out: int = 1024, off_diagonal_weight: float = 0.0051):
        super().__init__(encoder, views)
        self.off_diagonal_weight = off_diagonal_weight
        self.projector = mlp_head((encoder.width, hidden, hidden, out))

    def criterion(self, outputs, batch):
        pairs = combinations(outputs["z"].unbind(1), 2)
        return torch.stack([barlow_twins(one, other, self.off_diagonal_weight) for one, other in pairs]).mean(), {}
