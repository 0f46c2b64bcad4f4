"""What it would take to decide what is undecided: how many seeds, or that no number of them would do.

An estimate is taken at its word, with the spread of its seeds and what the test images add to all of them: a projection, and a rough
one where three seeds gave it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from helpers.judging.evidence import distance, leans_for, sharing
from helpers.judging.statistics import LEVEL, Estimate, made

POWER = 0.8
FAR = 10.0  # times the test images, beyond which their number is no advice
MOST = 100  # seeds; whoever needs more had better ask something else


@dataclass(frozen=True)
class Price:
    """Seeds in all, or None: then how many times the test images it takes before any number of seeds would do, or None here too
    where it is the margin that is too near."""

    seeds: int | None
    images: float | None = None
    most: int = MOST  # seeds that were thought of

    def words(self) -> str:
        if self.seeds is not None:
            return f"{self.seeds} seeds"
        if self.images is None:
            return f"more than {self.most} seeds"
        if self.images > FAR:
            return "no number of seeds, and no test set of a like size: it lies too near the margin"
        return f"more than {self.most} seeds and {self.images:.2g} times the test images"


def fixed(seeds: int) -> float:
    """The level of a study that looks once."""
    return 1 - LEVEL


def power(kind: str, margin: float, estimate: Estimate, seeds: int, alpha: float) -> float:
    """The chance that so many seeds decide in the direction that the estimate leans to, were the truth what the estimate says."""
    from scipy import stats

    found = made(estimate.value, estimate.by_seed, estimate.by_images, seeds)
    away = [float(distance(kind, margin, estimate.value))]
    if kind == "equivalence" and leans_for(kind, margin, estimate):
        away.append(margin + abs(estimate.value))  # both ends must lie within
    if not found.error:
        return float(min(away) > 0)
    found = found.at(1 - alpha)
    bound = stats.t.isf(alpha / 2, found.freedom)
    return max(0.0, 1 - sum(float(_below(bound, found.freedom, each / found.error)) for each in away))


def _below(bound: float, freedom: float, shift: float) -> float:
    """Of a noncentral t; scipy has none of infinite freedom."""
    from scipy import stats

    return stats.norm.cdf(bound - shift) if freedom > 1e6 else stats.nct.cdf(bound, freedom, shift)


def price(kind: str, margin: float, estimate: Estimate, alpha: Callable[[int], float] = fixed, family: int = 1, most: int = MOST) -> Price:
    """The fewest seeds, not fewer than there are, that decide with a chance of 80 %; `family` as for `position`."""
    count = 1 + estimate.spared if leans_for(kind, margin, estimate) else family
    shared = sharing(estimate.level, count)

    def enough(seeds: int, by_images: float = estimate.by_images) -> bool:
        asked = made(estimate.value, estimate.by_seed, by_images, estimate.seeds)
        return power(kind, margin, asked, seeds, alpha(seeds) / shared) >= POWER

    for seeds in range(max(2, estimate.seeds), most + 1):
        if enough(seeds):
            return Price(seeds)
    if not enough(most, 0.0):
        return Price(None, most=most)
    images = images_needed(kind, margin, estimate, alpha(most) / shared)
    return Price(None, images if images > 1 else None, most)


def images_needed(kind: str, margin: float, estimate: Estimate, alpha: float) -> float:
    """How many times the test images until endless seeds decide with a chance of 80 %: their variance falls as their number grows."""
    from scipy import stats

    needed = float(stats.norm.isf(alpha / 2) + stats.norm.ppf(POWER))
    return estimate.by_images * (needed / float(distance(kind, margin, estimate.value))) ** 2


def price_of_all(kind: str, margin: float, estimates: list[Estimate], alpha: Callable[[int], float] = fixed, most: int = MOST) -> Price:
    """Of a claim: its part that needs the most. Where parts lean against it one of them is enough: the one that needs the least."""
    family = sum(each.rivals for each in estimates)
    contrary = [each for each in estimates if not leans_for(kind, margin, each)]
    prices = [price(kind, margin, each, alpha, family, most) for each in contrary or estimates]

    def size(found: Price) -> tuple[float, float]:
        return math.inf if found.seeds is None else found.seeds, found.images or math.inf

    return min(prices, key=size) if contrary else max(prices, key=size)
