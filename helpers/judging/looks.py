"""Looking again: a claim that few seeds leave undecided is judged anew after each further seed, and chance gets a new try every time.

A study that does this names how many seeds it begins with. The nominal level of the interval then depends on the number of seeds, so
that over all looks together at most 5 % of true margins are crossed. The levels come from simulated t statistics, which depend on
nothing else: 3 % are spent at the first look, since most claims end there, the rest evenly over the growth of log(seeds).

Tried beside it: a t mixture, which allows any number of looks and pays for those that never come. Two deviations from the margin it
decides 7 % of campaigns with three seeds and these levels 32 %; of one deviation, within twenty seeds, 80 % and 89 % (see
results/judging/coverage.md; the mixture's scale was chosen for it).
"""

import functools

import numpy as np

from helpers.core.errors import UserError
from helpers.judging.evidence import distance
from helpers.judging.statistics import LEVEL, Estimate, made

ALPHA = 1 - LEVEL
AT_FIRST = 0.03  # of it, at the first look
MOST = 20  # seeds that are ever asked for
HOPELESS = 0.1  # chance of a verdict below which no further seed is worth its run
PATHS = 400_000


def alpha(first: int, seeds: int) -> float:
    """The two-sided level of the look at so many seeds in a campaign that began with `first`; before the first look that of the first."""
    if not 2 <= first <= MOST or seeds > MOST:
        raise UserError(
            f"A look at {seeds} seeds of a campaign that began with {first}: looks are planned from 2 to {MOST} seeds. Judge it as fixed."
        )
    return _levels(first)[max(seeds, first)]


def spent(first: int, seeds: int) -> float:
    """The chance of a false verdict that may be used up after the look at so many seeds."""
    if first == MOST:
        return ALPHA
    return AT_FIRST + (ALPHA - AT_FIRST) * float(np.log(seeds / first) / np.log(MOST / first))


@functools.cache
def _levels(first: int) -> dict[int, float]:
    from scipy import stats

    rng = np.random.default_rng(0)
    total, squares, undecided = np.zeros(PATHS), np.zeros(PATHS), np.ones(PATHS, dtype=bool)
    levels = {}
    for seeds in range(1, MOST + 1):
        values = rng.standard_normal(PATHS)
        total, squares = total + values, squares + values**2
        if seeds < first:
            continue
        t = np.abs(total) / np.sqrt(seeds * (squares - total**2 / seeds) / (seeds - 1))
        crossing = round(spent(first, seeds) * PATHS) - int((~undecided).sum())
        bound = np.partition(t[undecided], -crossing)[-crossing]
        levels[seeds] = float(2 * stats.t.sf(bound, seeds - 1)) if seeds > first else spent(first, first)
        undecided &= t < bound
    return levels


def futile(kind: str, margin: float, estimate: Estimate, first: int) -> bool:
    """Whether no look that is left has a chance of a tenth to decide."""
    later = range(MOST, max(first - 1, estimate.seeds), -1)  # the last looks tell most
    return all(chance(kind, margin, estimate, seeds, alpha(first, seeds)) < HOPELESS for seeds in later)


def chance(kind: str, margin: float, estimate: Estimate, seeds: int, level: float) -> float:
    """That the mean over so many seeds decides, given today's: the true mean may be another than this.

    What the mean will be spreads about today's by the seeds' variance times 1 / n - 1 / seeds, as the test images stay the same."""
    spread = (estimate.by_seed * (1 / estimate.seeds - 1 / seeds)) ** 0.5
    values = estimate.value + spread * _quantiles(estimate.seeds - 1)
    reach = made(0.0, estimate.by_seed, estimate.by_images, seeds).at(1 - level).high
    return float(np.mean(distance(kind, margin, values) > reach))


@functools.cache
def _quantiles(freedom: int) -> np.ndarray:
    from scipy.special import stdtrit

    return stdtrit(freedom, (np.arange(200) + 0.5) / 200)
