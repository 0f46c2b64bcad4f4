"""SimSiam (Chen, He 2020): predict the other view's projection; a stopped gradient alone keeps it from collapsing."""

from torch import nn

from helpers.methods.base import Card, Method, against_others, forward_views
from helpers.methods.losses import negative_cosine
from helpers.models import mlp_head


class SimSiam(Method):
    """Encoder, a projector of three layers whose last norm has no weights of its own, and a predictor with a bottleneck.

    The predictor's rate stays at the maximum while the schedule moves the others, without warm-up, as the paper found best.
    Against the paper: heads of 1024 instead of 2048 by default; all views go through one forward and share batch statistics.
    Whether it collapses shows in the spread of "z", which the log carries for every method.
    """

    card = Card(
        title="SimSiam",
        paper="Chen, He: Exploring Simple Siamese Representation Learning (2020)",
        loss="−cos( h(z), sg(z⁺) ), both directions",
        recipe="simclr_small",
    )
    views_needed = 2

    def __init__(self, encoder, views, *, hidden: int = 1024, out: int = 1024, bottleneck: int = 256):
        super().__init__(encoder, views)
        self.projector = mlp_head((encoder.width, hidden, hidden, out), last_norm=True)
        self.projector[-1] = nn.BatchNorm1d(out, affine=False)
        self.predictor = mlp_head((out, bottleneck, out))

    def embed(self, inputs):
        projected = forward_views(lambda x: self.projector(self.encoder(x)), inputs)
        return {"z": projected, "prediction": self.predictor(projected.flatten(0, 1)).view_as(projected)}

    def criterion(self, outputs, batch):
        return against_others(negative_cosine, outputs["prediction"], outputs["z"]), {}

    def parameter_groups(self):
        fixed = {id(p) for p in self.predictor.parameters()}
        groups = []
        for group in super().parameter_groups():
            groups.append(group | {"params": [p for p in group["params"] if id(p) not in fixed]})
            groups.append(group | {"params": [p for p in group["params"] if id(p) in fixed], "fixed_rate": True})
        return groups
