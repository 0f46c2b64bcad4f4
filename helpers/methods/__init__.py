"""One file a method. METHODS maps the names that configs use to their classes."""

import inspect

from helpers.core.errors import UserError, nearest, pick
from helpers.methods.base import Method, StepBatch
from helpers.methods.simclr import SimCLR
from helpers.methods.sit import SiT
from helpers.methods.supervised import Supervised

METHODS: dict[str, type[Method]] = {"simclr": SimCLR, "supervised": Supervised, "sit": SiT}

__all__ = ["METHODS", "Method", "StepBatch", "check_options", "method_options"]


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
