"""BYOL (Grill et al. 2020): predict what a slow copy of oneself says of the other view; nothing is pushed apart."""

from torch import nn

from helpers.methods.average import Average
from helpers.methods.base import Card, Method, against_others, forward_views
from helpers.methods.losses import byol_loss
from helpers.models import mlp_head


class BYOL(Method):
    """Encoder, projector and a predictor behind them; the target is the moving average of the first two.

    Against the paper: heads of 1024 instead of 4096 by default; all views go through one forward, so that they share batch
    statistics; the loss is the mean of the two directions, where the paper adds them (half the gradient, the same direction).
    The average follows parameters only; the target runs in training mode, on batch statistics, so its norms' own never matter.
    The batch size shifts its results, and a ViT wants AdamW: with LARS it has been seen to collapse.
    """

    card = Card(
        title="BYOL",
        paper="Grill, Strub, Altché et al.: Bootstrap Your Own Latent (2020)",
        loss="2 − 2·cos( q(z), sg(ξ⁺) ), both directions",
        recipe="byol_small",
        kept="weights and the target network",
    )
    views_needed = 2

    def __init__(self, encoder, views, *, hidden: int = 1024, out: int = 256, momentum: float = 0.99):
        super().__init__(encoder, views)
        self.projector = mlp_head((encoder.width, hidden, out))
        self.predictor = mlp_head((out, hidden, out))
        self.target = Average(self._online(), momentum, rising=True)

    def _online(self) -> nn.Module:
        return nn.Sequential(self.encoder, self.projector)

    def embed(self, inputs):
        projected = forward_views(lambda x: self.projector(self.encoder(x)), inputs)
        predicted = self.predictor(projected.flatten(0, 1)).view_as(projected)
        return {"z": projected, "prediction": predicted, "target": forward_views(self.target, inputs[: self.views.settings.count])}

    def criterion(self, outputs, batch):
        return against_others(byol_loss, outputs["prediction"], outputs["target"]), {}

    def after_step(self, progress):
        self.target.follow(self._online(), progress)
