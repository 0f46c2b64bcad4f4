"""One file a method. METHODS maps the names that configs use to their classes."""

import inspect

from helpers.core.errors import UserError, nearest, pick
from helpers.methods.barlow_twins import BarlowTwins
from helpers.methods.base import Card, Method, StepBatch
from helpers.methods.byol import BYOL
from helpers.methods.dino import DINO
from helpers.methods.instdisc import InstDisc
from helpers.methods.masked_patches import MaskedPatches
from helpers.methods.moco import MoCoV1, MoCoV2
from helpers.methods.moco_v3 import MoCoV3
from helpers.methods.relic import ReLIC
from helpers.methods.relic_v2 import ReLICv2
from helpers.methods.rotnet import RotNet
from helpers.methods.simclr import SimCLR
from helpers.methods.simsiam import SimSiam
from helpers.methods.sit import SiT
from helpers.methods.split_brain import SplitBrain
from helpers.methods.supervised import Supervised
from helpers.methods.swav import SwAV
from helpers.methods.vicreg import VICReg

METHODS: dict[str, type[Method]] = {
    "simclr": SimCLR,
    "supervised": Supervised,
    "sit": SiT,
    "instdisc": InstDisc,
    "moco_v1": MoCoV1,
    "moco_v2": MoCoV2,
    "moco_v3": MoCoV3,
    "byol": BYOL,
    "simsiam": SimSiam,
    "swav": SwAV,
    "barlow_twins": BarlowTwins,
    "relic": ReLIC,
    "relic_v2": ReLICv2,
    "rotnet": RotNet,
    "split_brain": SplitBrain,
    "masked_patches": MaskedPatches,
    "vicreg": VICReg,
    "dino": DINO,
}

__all__ = ["METHODS", "Card", "Method", "StepBatch", "check_options", "method_options"]


def method_options(name: str) -> dict[str, inspect.Parameter]:
    """The options a method takes, by name, as its constructor declares them."""
    signature = inspect.signature(pick("method", name, METHODS))
    return {key: p for key, p in signature.parameters.items() if p.kind is p.KEYWORD_ONLY}


def check_options(name: str, options: dict) -> None:
    """An error naming the nearest valid option for any that the method does not take."""
    known = method_options(name)
    for key in options:
        if key not in known:
            raise UserError(f"Method {name!r} has no option {key!r}. Nearest: {', '.join(nearest(key, known))}.")
