"""ReLICv2 (Tomasev et al. 2022): ReLIC over several large views, some without their background, and a few small ones."""

from helpers.methods.base import Card
from helpers.methods.relic import ReLIC


class ReLICv2(ReLIC):
    """What is on the picture does not change with its background or with how little of it is seen.

    Every online view, large or small, meets every target large view, its own image's own large view too, as in the published
    pseudo-code, whose sum is divided by (L + S) L: the mean that relic_loss takes. The small views pass the online network alone.
    The recipe removes the background of a share of the large views; evaluation sees whole images. Else against the paper as ReLIC
    is; the paper draws a few negatives an image, here the whole batch serves.
    """

    card = Card(
        title="ReLICv2",
        paper="Tomasev, Bica, McWilliams et al.: Pushing the Limits of Self-Supervised ResNets (2022)",
        loss="mean over online views v and large target views w of −log p(i | i) + α·KL( sg p_w(· | i) ‖ p_v(· | i) )",
        recipe="relic_v2_small",
        kept="weights and the target network",
    )
    takes_small_views = True
    meets_itself = True
