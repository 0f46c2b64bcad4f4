"""Schedules as pure functions of the step: nothing to save, nothing to restore."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from helpers.core.errors import pick


@dataclass(frozen=True)
class Point:
    """What a schedule says of one step: the rate as a multiple of the maximum, and the momentum where it cycles."""

    factor: float
    momentum: float | None = None


def _cosine(start: float, end: float, position: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * position)) / 2


def one_cycle(step: int, total: int, warmup: int) -> Point:
    """Smith's policy as torch's OneCycleLR has it: from max/10 up in 30 % of the run, then down to nothing; momentum the other way."""
    peak = max(0.3 * total - 1, 1e-9)
    low, momentum = 0.1, (0.95, 0.85)
    if step <= peak:
        position = min(step / peak, 1.0)
        return Point(_cosine(low, 1.0, position), _cosine(*momentum, position))
    position = min((step - peak) / max(total - 1 - peak, 1e-9), 1.0)
    return Point(_cosine(1.0, low * 1e-4, position), _cosine(*reversed(momentum), position))


def warmup_cosine(step: int, total: int, warmup: int) -> Point:
    """A straight line up over `warmup` steps, then half a cosine down to zero."""
    if step < warmup:
        return Point((step + 1) / warmup)
    return Point(_cosine(1.0, 0.0, (step - warmup) / max(total - warmup, 1)))


def constant(step: int, total: int, warmup: int) -> Point:
    """The same rate from the first step to the last, after a warm-up where one is asked for."""
    return Point(min(1.0, (step + 1) / warmup) if warmup else 1.0)


SCHEDULES: dict[str, Callable[[int, int, int], Point]] = {"one_cycle": one_cycle, "warmup_cosine": warmup_cosine, "constant": constant}


def schedule_point(name: str, step: int, total: int, warmup: int = 0) -> Point:
    return pick("schedule", name, SCHEDULES)(step, total, warmup)


def decay_at(step: int, total: int, first: float, last: float) -> float:
    """The weight decay of a step where half a cosine leads it from the first value to the last."""
    return _cosine(first, last, step / max(total - 1, 1))
