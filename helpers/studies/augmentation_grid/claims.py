"""The grid of augmentations: which runs stand in which cell, and the claims A1 to A5."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd

from helpers import studies
from helpers.judging.arms import Arm, accuracy, arm, contrast, hits, paired, same_images
from helpers.judging.claims import Part, Undecided, judge_study
from helpers.judging.competence import REASONS
from helpers.judging.statistics import TAILS, Estimate, of_draws, resample_images, spearman
from helpers.studies.augmentation_grid.settings import OPERATIONS, TELLING

PAIRS = tuple(pair for pair in combinations_with_replacement(OPERATIONS, 2) if pair[0] != pair[1])


@cache
def published_grid() -> pd.DataFrame:
    """The published accuracies in percent: rows the first operation, columns the second."""
    found = studies.published("augmentation_grid")["accuracy"]
    return pd.DataFrame(found).T.loc[list(OPERATIONS), list(OPERATIONS)]


def cell(cells: pd.DataFrame, first: str, second: str) -> Arm:
    """A cell of the grid. Augmentations that teach nothing are what the grid is there to find: all but the claimed best may fail."""
    name = f"{first} alone" if first == second else f"{first} then {second}"
    found = arm(cells, name, part="grid", first=first, second=second)
    return found if {first, second} == {*TELLING} else replace(found, excused=REASONS)


def both_orders(cells: pd.DataFrame, pair: tuple[str, str]) -> list[Arm]:
    """The two cells of a pair, or the one of an operation alone."""
    return [cell(cells, *pair)] if pair[0] == pair[1] else [cell(cells, *pair), cell(cells, *pair[::-1])]


def ablated(cells: pd.DataFrame, name: str) -> list[tuple[object, Arm]]:
    """(value, its runs) of an ablation, in the preset's order."""
    own = cells[cells["part"] == name]
    return [(value, arm(own, f"{name} {value}", value=value)) for value in dict.fromkeys(own["value"])]


def means(cells: pd.DataFrame, readout: str) -> pd.DataFrame:
    """Our grid: mean accuracy over the seeds of a cell; missing cells are nan."""
    return pd.DataFrame(
        [[accuracy(cell(cells, first, second), readout)[0].mean for second in OPERATIONS] for first in OPERATIONS],
        index=list(OPERATIONS),
        columns=list(OPERATIONS),
        dtype=float,
    )


def grid_cells(cells: pd.DataFrame) -> list[Arm]:
    """All 49, row by row."""
    return [cell(cells, first, second) for first in OPERATIONS for second in OPERATIONS]


def untrained(cells: pd.DataFrame, readout: str) -> float | None:
    """What the encoder is worth before training, mean over the seeds that tell."""
    before = arm(cells, "untrained", part="grid", first=TELLING[0], second=TELLING[1])
    return accuracy(Arm(before.name, before.records, before_training=True), f"{readout}_untrained")[0].mean


@dataclass(frozen=True)
class Ranked:
    """An estimate with its 95 % interval over test images. Of these very runs: what another seed would give is not in it."""

    value: float
    low: float
    high: float


def drawn(arms: Iterable[Arm], readout: str, draws: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """(accuracy [arms], the same under resampled test images [draws, arms]), each arm by the mean of its sound runs."""
    arms = list(arms)
    absent = [each.name for each in arms if not each.records]
    if absent:
        many = "1 cell has" if len(absent) == 1 else f"{len(absent)} cells have"
        raise Undecided(f"{many} no run: {', '.join(absent[:4])}{' ...' if len(absent) > 4 else ''}")
    rows = [each.sound for each in arms]
    same_images("grid", rows)
    scores = np.array([np.mean([hits(record, readout) for record in row], axis=0) for row in rows])
    rng = np.random.default_rng(0)
    return scores.mean(axis=1), resample_images(scores, draws, rng)


def interval(value: float, values: np.ndarray) -> Ranked:
    return Ranked(float(value), *(float(each) for each in np.quantile(values, TAILS)))


def centred(value: float, values: np.ndarray) -> Ranked:
    """The same for a correlation, which resampling lowers: the draws are moved up by what it lowers them on average."""
    low, high = (value + np.quantile(values, TAILS) - values.mean()).clip(-1, 1)
    return Ranked(float(value), float(low), float(high))


def pair_rank(cells: pd.DataFrame, readout: str) -> Ranked:
    """The place of crop + colour among the 21 unordered pairs, 1 the best, and the range it takes when test images are resampled."""
    ours, resampled = drawn([each for pair in PAIRS for each in both_orders(cells, pair)], readout)
    mine = PAIRS.index(TELLING)

    def place(values: np.ndarray) -> np.ndarray:
        pairs = values.reshape(*values.shape[:-1], len(PAIRS), 2).mean(axis=-1)
        return 1 + (pairs > pairs[..., mine : mine + 1]).sum(axis=-1)

    return interval(place(ours), place(resampled))


def grid_likeness(cells: pd.DataFrame, readout: str) -> Ranked:
    """Spearman's correlation of our 49 cells with the published ones."""
    ours, resampled = drawn(grid_cells(cells), readout)
    theirs = published_grid().to_numpy().ravel()
    return centred(spearman(ours[None], theirs)[0], spearman(resampled, theirs))


# -- claims -------------------------------------------------------------------------------------------------------------


def _minus(cells: pd.DataFrame, pair: tuple[str, str], readout: str) -> Part:
    """Crop + colour, mean of both orders, minus another pair or an operation alone."""
    mine, other = both_orders(cells, TELLING), both_orders(cells, pair)
    name = f"{' + '.join(TELLING)} − {pair[0] + ' alone' if pair[0] == pair[1] else ' + '.join(pair)}"
    return contrast(name, [(each, 1 / len(mine)) for each in mine] + [(each, -1 / len(other)) for each in other], readout)


def a1(cells, readout):
    return [_minus(cells, pair, readout) for pair in PAIRS if pair != TELLING]


def a2(cells, readout):
    """Minus the better of the two is minus each of them."""
    return [_minus(cells, (name, name), readout) for name in TELLING]


def a3(cells, readout):
    """Rank correlations are no means over images, so each draw of images makes row averages of its own; only their spread
    is used, so that resampling lowers a correlation does not matter."""
    theirs = published_grid().mean(axis=1).to_numpy()

    def estimate(rows) -> Estimate:
        same_images("row averages", rows)
        right = np.array([hits(record, readout) for row in rows for record in row])
        tables = np.vstack([right.mean(axis=1), resample_images(right, 2000, np.random.default_rng(0))])
        averages = tables.reshape(len(tables) * len(rows), len(OPERATIONS), len(OPERATIONS)).mean(axis=2)
        found = spearman(averages, theirs).reshape(len(tables), len(rows))
        return of_draws(found[0], found[1:])

    return [paired("Spearman of row averages", grid_cells(cells), estimate)]


def slope(cells: pd.DataFrame, name: str, unit: str, readout: str, place=float, among=lambda value: True) -> Part:
    """Least squares of accuracy on the ablation's values: a weighted sum of accuracies, seeds and images paired."""
    arms = [(value, each) for value, each in ablated(cells, name) if among(value)]
    if len(arms) < 2:
        raise Undecided(f"the ablation of {name} has {len(arms)} values")
    at = np.array([place(value) for value, _ in arms], dtype=float)
    weights = (at - at.mean()) / ((at - at.mean()) ** 2).sum()
    over = ", ".join(f"{value:g}" for value, _ in arms)
    return contrast(
        f"slope over {over}, points per {unit}", [(each, float(weight)) for (_, each), weight in zip(arms, weights, strict=True)], readout
    )


def a4(cells, readout):
    return [slope(cells, "batch size", "doubling of the batch", readout, np.log2)]


def a5(cells, readout):
    """Of strengths, not of whether there is any: without jitter is another question, and beyond 1 nothing is claimed."""
    return [slope(cells, "colour strength", "unit of strength", readout, among=lambda value: 0 < value <= 1)]


CLAIMS = {"A1": a1, "A2": a2, "A3": a3, "A4": a4, "A5": a5}


def verdicts(study, cells: pd.DataFrame) -> pd.DataFrame:
    return judge_study(study.name, CLAIMS, cells, study.scope, study.first, readout=study.settings.readout)
