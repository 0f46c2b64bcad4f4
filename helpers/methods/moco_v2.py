"""MoCo v2 (Chen et al. 2020): MoCo with SimCLR's MLP head, blur and a softer temperature."""

from helpers.methods.base import Card
from helpers.methods.moco import MoCo
from helpers.models import mlp_head


class MoCoV2(MoCo):
    """MoCo behind an MLP head without batch norm.

    Smaller than published, as runs are short and images few: 4,096 keys where the paper keeps 65,536, an average that follows at
    0.99 where it has 0.999, and the published views (recipe moco_v2) without their blur on small images.
    """

    card = Card(
        title="MoCo v2",
        paper="Chen, Fan, Girshick, He: Improved Baselines with Momentum Contrastive Learning (2020)",
        loss="−log( exp(q·k⁺/τ) / ( exp(q·k⁺/τ) + Σ_queue exp(q·k/τ) ) )",
        recipe="simclr_small",
        kept="the average (key encoder) with its batch statistics, the queue and its place",
    )

    def __init__(
        self,
        encoder,
        views,
        *,
        temperature: float = 0.2,
        hidden: int = 512,
        out: int = 128,
        momentum: float = 0.99,
        queue: int = 4096,
        groups: int = 4,
        symmetric: bool = False,
    ):
        projector = mlp_head((encoder.width, hidden, out), norm="none")
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
