"""MoCo v1 (He et al. 2020): contrast against a queue of keys, whose size no longer depends on the batch."""

from torch import nn

from helpers.methods.base import Card
from helpers.methods.moco import MoCo


class MoCoV1(MoCo):
    """MoCo behind one linear layer, at temperature 0.07.

    Smaller than published, as MoCo v2 here: 4,096 keys for 65,536, momentum 0.99 for 0.999. Its views are those of v2 without blur;
    the published ones jitter every image's colours, by 0.4 in the hue as well.
    """

    card = Card(
        title="MoCo v1",
        paper="He, Fan, Wu, Xie, Girshick: Momentum Contrast for Unsupervised Visual Representation Learning (2020)",
        loss="−log( exp(q·k⁺/τ) / ( exp(q·k⁺/τ) + Σ_queue exp(q·k/τ) ) )",
        recipe="simclr_small",
        kept="the average (key encoder) with its batch statistics, the queue and its place",
    )

    def __init__(
        self,
        encoder,
        views,
        *,
        temperature: float = 0.07,
        out: int = 128,
        momentum: float = 0.99,
        queue: int = 4096,
        groups: int = 4,
        symmetric: bool = False,
    ):
        projector = nn.Linear(encoder.width, out)
        super().__init__(
            encoder,
            views,
            projector=projector,
            out=out,
            temperature=temperature,
            momentum=momentum,
            queue=queue,
            groups=groups,
            symmetric=symmetric,
        )
