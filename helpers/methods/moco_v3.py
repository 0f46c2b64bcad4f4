"""MoCo v3 (Chen, Xie, He 2021): momentum contrast without the queue, for nets that see large batches, and for ViTs."""

from torch import nn

from helpers.methods.average import Average
from helpers.methods.base import Card, Method, forward_views
from helpers.methods.losses import moco_v3_contrast
from helpers.methods.moco import exactly_two
from helpers.models import mlp_head
from helpers.models.catalogue import find


class MoCoV3(Method):
    """A prediction head behind the projector makes queries; the average of encoder and projector makes keys; the other keys of the
    batch are the negatives. Both views play both parts.

    A ViT's projector has three layers and its predictor ends in a batch norm without weights; other nets have two and end without,
    as published. `norm="none"` leaves out the heads' batch norms. The paper's remedies for unstable ViTs are the encoder's options:
    freeze_patches=True, positions="sincos", mlp_norm="batch"; its ViT-S has 12 heads (heads=12). Rate and warm-up are the run's.
    Smaller than published: heads of 512 and 128 where the paper has 4,096 and 256; both queries of an image share a forward. Keys are
    not shuffled: large batches over many devices are normalised together there, and the predictor stands between the two statistics.
    """

    card = Card(
        title="MoCo v3",
        paper="Chen, Xie, He: An Empirical Study of Training Self-Supervised Vision Transformers (2021)",
        loss="−2τ·log( exp(q₁·k₂/τ) / Σ_batch exp(q₁·k/τ) ) + the same with 1 and 2 exchanged",
        recipe="simclr_small",
        kept="the average (key encoder) with its batch statistics",
    )
    views_needed = fewest = 2

    def __init__(
        self,
        encoder,
        views,
        *,
        temperature: float = 0.2,
        hidden: int = 512,
        out: int = 128,
        norm: str = "batch",
        momentum: float = 0.99,
        rising: bool = False,
    ):
        super().__init__(encoder, views)
        exactly_two(self)
        self.temperature = temperature
        vit = find(encoder.name).family == "vit"
        widths = (encoder.width, *[hidden] * (2 if vit else 1), out)
        self.projector = _head(widths, norm, last_norm=norm == "batch")
        self.predictor = _head((out, hidden, out), norm, last_norm=vit and norm == "batch")
        self.average = Average(self._projected(), momentum, rising=rising)

    def _projected(self) -> nn.Sequential:
        return nn.Sequential(self.encoder, self.projector)

    def embed(self, inputs):
        def query_of(images):
            return self.predictor(self.projector(self.encoder(images)))

        return {"z": forward_views(query_of, inputs), "key": forward_views(self.average, inputs)}

    def criterion(self, outputs, batch):
        (query1, query2), (key1, key2) = outputs["z"].unbind(1), outputs["key"].unbind(1)
        both = moco_v3_contrast(query1, key2, self.temperature) + moco_v3_contrast(query2, key1, self.temperature)
        return both, {}

    def after_step(self, progress):
        self.average.follow(self._projected(), progress)


def _head(widths, norm: str, last_norm: bool) -> nn.Sequential:
    """An MLP whose last norm, where it has one, has no weights: the loss looks at directions alone."""
    head = mlp_head(widths, norm=norm, last_norm=last_norm)
    if last_norm:
        head[-1] = nn.BatchNorm1d(widths[-1], affine=False)
    return head
