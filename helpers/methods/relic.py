"""ReLIC (Mitrovic et al. 2021): tell images apart, and have views of an image agree on what all the others are to it."""

import torch
from torch import nn

from helpers.core.errors import UserError
from helpers.methods.average import Average
from helpers.methods.base import Card, Method, forward_views
from helpers.methods.losses import relic_loss
from helpers.models import mlp_head


class ReLIC(Method):
    """The content of a picture is what its style must not change: the contrast of MoCo v3 with a target network, and a penalty on
    how much the answer "which of these images is it?" depends on the view that asks.

    Against the paper: all other images of the batch are negatives; BYOL's heads (a predictor on the online side) with 1024 instead
    of 4096 hidden units; the penalty is relic_loss's, of each ordered pair of views. The average follows parameters only; the
    target runs in training mode, on batch statistics, so its norms' own never matter.
    """

    card = Card(
        title="ReLIC",
        paper="Mitrovic, McWilliams, Walker et al.: Representation Learning via Invariant Causal Mechanisms (2021)",
        loss="−log p(i | i) + α·KL( sg p⁺(· | i) ‖ p(· | i) ),  p(k | i) ∝ exp(o_i·t⁺_k/τ)",
        recipe="byol_small",
        kept="weights and the target network",
    )
    views_needed = 2

    def __init__(
        self,
        encoder,
        views,
        *,
        temperature: float = 0.3,
        invariance: float = 0.5,
        hidden: int = 1024,
        out: int = 256,
        momentum: float = 0.99,
    ):
        super().__init__(encoder, views)
        self.temperature = temperature
        self.invariance = invariance  # the KL's weight; 0 leaves the contrast
        self.projector = mlp_head((encoder.width, hidden, out))
        self.predictor = mlp_head((out, hidden, out))
        self.target = Average(self._online(), momentum, rising=True)

    def check(self, images, batch_size, parts=1):
        if batch_size < 2:
            raise UserError(
                f"{self.card.title} tells the images of a batch apart, and a batch of {batch_size} has no two. Raise batch_size."
            )

    def _online(self) -> nn.Module:
        return nn.Sequential(self.encoder, self.projector)

    def embed(self, inputs):
        large = self.views.settings.count
        projected = forward_views(lambda x: self.projector(self.encoder(x)), inputs)
        predicted = self.predictor(projected.flatten(0, 1)).view_as(projected)
        return {"z": projected, "online": predicted, "target": forward_views(self.target, inputs[:large])}

    def criterion(self, outputs, batch):
        online, targets = outputs["online"].unbind(1), outputs["target"].unbind(1)
        pairs = [(one, other) for o, one in enumerate(online) for t, other in enumerate(targets) if o != t]
        found = [relic_loss([one], [other], self.temperature, self.invariance) for one, other in pairs]
        loss, invariance = (torch.stack(values).mean() for values in zip(*found, strict=True))
        return loss, {"invariance": invariance}

    def after_step(self, progress):
        self.target.follow(self._online(), progress)
