"""What an estimate says for and against a claim of a kind and a margin. A verdict is made of this and of nothing else."""

import math

import numpy as np

from helpers.judging.statistics import LEVEL, Estimate

OVERLAP = 0.13  # simulated: see `sharing`


def evidence(kind: str, margin: float, estimate: Estimate) -> tuple[float, float]:
    """One-sided p-values (for, against), of the estimate by itself: how often it would speak as loudly where the truth is the margin."""
    if kind == "equivalence":
        within = max(estimate.above(-margin), estimate.below(margin))
        return within, min(estimate.above(margin), estimate.below(-margin))
    return estimate.above(margin), estimate.below(margin)


def position(kind: str, margin: float, estimate: Estimate, family: int = 1) -> str:
    """Where the whole interval lies: "supported", "contradicted", or "spans" when it lies on neither side.

    The interval is at the estimate's level; for "contradicted" at that of `family` comparisons (Bonferroni), of which any one would do,
    for "supported" at that of what was spared and one more, out of which the best were taken."""
    if estimate.error is None:
        return "spans"
    alpha = 1 - estimate.level
    pro, contra = (estimate.at(1 - alpha / sharing(estimate.level, count)) for count in (1 + estimate.spared, family))
    if kind == "equivalence":
        if -margin < pro.low and pro.high < margin:
            return "supported"
        return "contradicted" if contra.low > margin or contra.high < -margin else "spans"
    if pro.low > margin:
        return "supported"
    return "contradicted" if contra.high < margin else "spans"


def sharing(level: float, count: int) -> float:
    """By what a level is divided that so many comparisons share. Where there are several looks, as a level other than the usual one tells,
    it is more than their number: what crosses an extreme bound at one look has crossed it less often at the looks before, so that
    20 comparisons at a twentieth of each look's level would be wrong in 6.6 % instead of 5."""
    return count * (1.0 if level == LEVEL else 1 + OVERLAP * math.log(count))


def leans_for(kind: str, margin: float, estimate: Estimate) -> bool:
    return abs(estimate.value) < margin if kind == "equivalence" else estimate.value > margin


def distance(kind: str, margin: float, value):
    """How far a value, or each of several, lies from what would be on the margin."""
    return np.abs((np.abs(value) if kind == "equivalence" else value) - margin)
