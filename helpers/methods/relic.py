"""ReLIC (Mitrovic et al. 2021): tell images apart, and have views of an image agree on what all the others are to it."""

from helpers.core.errors import unknown
from helpers.methods.base import Card
from helpers.methods.byol import BYOL
from helpers.methods.losses import relic_loss
from helpers.methods.losses.relic import FORMS


class ReLIC(BYOL):
    """The content of a picture is what its style must not change: the contrast of MoCo v3 with a target network, and a penalty on
    how much the answer "which of these images is it?" depends on the view that asks.

    Against the paper: all other images of the batch are negatives; BYOL's heads (a predictor on the online side) with 1024 instead
    of 4096 hidden units; the penalty compares the two directions of one pair of views, and with form="views" the answers of two views,
    as the paper has it (relic_loss). The average follows parameters only; the target runs in training mode, on batch statistics, so its
    norms' own never matter.
    """

    card = Card(
        title="ReLIC",
        paper="Mitrovic, McWilliams, Walker et al.: Representation Learning via Invariant Causal Mechanisms (2021)",
        loss="−log p(i | i) + α·KL( sg p⁺(· | i) ‖ p(· | i) ),  p(k | i) ∝ exp(o_i·t⁺_k/τ)",
        recipe="byol_small",
        kept="weights and the target network",
    )
    fewest = 2
    meets_itself = False  # whether a view meets its own target

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
        form: str = "transposed",
    ):
        if form not in FORMS:
            raise unknown("form of the invariance", form, FORMS)
        super().__init__(encoder, views, hidden=hidden, out=out, momentum=momentum)
        self.temperature = temperature
        self.invariance = invariance  # the KL's weight; 0 leaves the contrast
        self.form = form  # of the KL: "transposed" or, as the paper has it, "views"

    def criterion(self, outputs, batch):
        online, targets = outputs["prediction"].unbind(1), outputs["target"].unbind(1)
        loss, invariance = relic_loss(online, targets, self.temperature, self.invariance, self.form, own=self.meets_itself)
        return loss, {"invariance": invariance}
