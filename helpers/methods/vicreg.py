"""VICReg (Bardes et al. 2021): views agree, every coordinate keeps its variance, and coordinates do not covary."""

from itertools import combinations

import torch

from helpers.methods.base import Card, Method
from helpers.methods.losses import vicreg
from helpers.models import mlp_head


class VICReg(Method):
    """Encoder and a wide projector of three layers; more than two views are compared pair by pair.

    Against the paper: 1024 coordinates instead of 8192 by default, and all views share the projector's batch statistics. Where
    its text and its published code disagree on factors (the invariance per coordinate, the variance halved), the code is
    followed, as the weights 25, 25, 1 were chosen with it.
    """

    card = Card(
        title="VICReg",
        paper="Bardes, Ponce, LeCun: VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning (2021)",
        loss="λ·|z − z⁺|² + μ·Σ_i max(0, 1 − σ_i) + ν·Σ_{i≠j} cov_ij²",
        recipe="byol_small",
    )
    views_needed = fewest = 2

    def __init__(
        self,
        encoder,
        views,
        *,
        hidden: int = 1024,
        out: int = 1024,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
    ):
        super().__init__(encoder, views)
        self.weights = (invariance, variance, covariance)
        self.projector = mlp_head((encoder.width, hidden, hidden, out))

    def criterion(self, outputs, batch):
        pairs = combinations(outputs["z"].unbind(1), 2)
        return torch.stack([vicreg(one, other, *self.weights) for one, other in pairs]).mean(), {}
