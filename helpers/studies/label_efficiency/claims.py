"""The study of label efficiency: what its records hold, how many labels pretraining saves, and the claims L1 to L5."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd

from helpers import studies
from helpers.judging.arms import Arm, arm, paired, same_images
from helpers.judging.claims import Part, Undecided, judge_study
from helpers.judging.competence import UNTRAINED
from helpers.judging.statistics import (
    Estimate,
    bootstrap_images,
    of_draws,
    paired_difference,
    paired_values,
    resample_images,
    summary,
)
from helpers.methods import method_options
from helpers.runs.labels import LOST, NEAREST

TUNED, FROZEN, SCRATCH, RANDOM = "SimCLR, fine-tuned", "SimCLR, frozen", "from scratch", "untrained, frozen"
METHODS = {
    TUNED: ("trained", "finetune"),
    FROZEN: ("trained", "linear"),
    SCRATCH: ("untrained", "finetune"),
    RANDOM: ("untrained", "linear"),
}
ASKED = (UNTRAINED,)  # whether it has learned is what L2 and L5 ask
BATCH, TEMPERATURE = 200, 0.5  # of the published loss; another batch or temperature has another


published = partial(studies.published, "label_efficiency")


def percent(fraction: float) -> str:
    return f"{100 * fraction:g} %"


def runs_of(cells: pd.DataFrame, method: str = TUNED) -> Arm:
    """The runs as they are read by a method: what is read before the first step cannot have collapsed."""
    return replace(arm(cells, method), before_training=METHODS[method][0] == "untrained")


def ranks(record, method: str, fraction: float) -> np.ndarray:
    """The rank of the true class of each test image [draws, images]; 0 is right."""
    name = "labels.{}.{}".format(*METHODS[method])
    if name not in record.arrays or "labels.fractions" not in record.arrays:
        raise Undecided(f"run {record.id} was not read out with few labels")
    found = record.arrays[name][np.isclose(record.arrays["labels.fractions"], fraction)]
    if not len(found):
        raise Undecided(f"run {record.id} was not read out with {percent(fraction)} of the labels")
    if (found == LOST).all(axis=1).any():
        raise Undecided(f"run {record.id}: {method} diverged with {percent(fraction)} of the labels")
    return found


def scores(record, method: str, fraction: float, top: int = 1) -> np.ndarray:
    """How often each test image is right among the first `top`, over a run's draws."""
    return (ranks(record, method, fraction) < top).mean(axis=0)


@dataclass(frozen=True)
class Reading:
    """Accuracy in percent with its 95 % interval, and what this is over; without runs nothing but the reason."""

    mean: float | None = None
    low: float | None = None
    high: float | None = None
    over: str = ""
    runs: int = 0
    draws: int = 0  # of each run
    spread: float | None = None  # deviation over the draws of a run
    note: str = ""


def reading(cells: pd.DataFrame, method: str, fraction: float, top: int = 1) -> Reading:
    """Over several runs the interval is of their means, each over draws of its own; of one run it is over its draws."""
    found = runs_of(cells, method)
    if not found.records:
        return Reading(note="no run")
    try:
        tables = [100 * (ranks(record, method, fraction) < top).mean(axis=1) for record in found.sound]
    except Undecided as why:
        return Reading(note=str(why))
    draws = min(len(table) for table in tables)
    spread = float(np.sqrt(np.mean([table.var(ddof=1) for table in tables]))) if draws > 1 else None
    several = summary([table.mean() for table in tables]) if len(tables) > 1 else summary(tables[0])
    low, high, over = several.low, several.high, "runs" if len(tables) > 1 else "label draws"
    if several.n == 1:
        low, high = bootstrap_images(ranks(found.sound[0], method, fraction)[0] < top)
        over = "test images"
    return Reading(several.mean, low, high, over, len(tables), draws, spread, "" if found.before_training else found.flag)


def fractions_of(cells: pd.DataFrame) -> list[float]:
    """Every fraction that some run was read out with."""
    held = [record.arrays.get("labels.fractions", ()) for record in runs_of(cells).records.values()]
    return sorted({float(fraction) for each in held for fraction in each})


def label_count(cells: pd.DataFrame, fraction: float) -> int | None:
    for record in runs_of(cells).records.values():
        chosen = np.isclose(record.arrays.get("labels.fractions", ()), fraction)
        if chosen.any():
            return int(record.arrays["labels.counts"][chosen][0])
    return None


def on_the_way(record, readout: str, reference: float) -> tuple[np.ndarray, np.ndarray]:
    """(epochs, right or wrong [epochs, images]) at the first draw of the reference fraction, from no epoch to the last."""
    before, after = (SCRATCH, TUNED) if readout == "finetune" else (RANDOM, FROZEN)
    epochs, between = record.arrays.get("labels.epochs", ()), record.arrays.get(f"labels.way.{readout}", ())
    rows = [ranks(record, before, reference)[0], *(row for row in between if (row != LOST).any()), ranks(record, after, reference)[0]]
    kept = [int(epoch) for epoch, row in zip(epochs, between, strict=True) if (row != LOST).any()]
    return np.array([0, *kept, int(record.metrics["epoch"].max())]), np.stack(rows) == 0


# -- labels saved -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Worth:
    """The fraction of labels that makes supervision from scratch as good; an end where the readings end is marked: it may lie beyond."""

    value: float
    low: float
    high: float
    runs: int
    least: float  # the smallest and the largest fraction that was read
    most: float

    def words(self) -> str:
        """The fraction in percent with its interval; < and > where it lies beyond what was read."""
        return f"{self._end(self.value)} % [{self._end(self.low)}, {self._end(self.high)}]"

    def saved(self, fraction: float) -> str:
        """The same as a multiple of the labels that SimCLR had."""
        return f"{self._end(self.value, fraction)} x [{self._end(self.low, fraction)}, {self._end(self.high, fraction)}]"

    def _end(self, value: float, of: float = 0.01) -> str:
        sign = "> " if value >= self.most else "< " if value <= self.least else ""
        return f"{sign}{value / of:.3g}"


def worth(cells: pd.DataFrame, method: str, fraction: float) -> Worth:
    """Where the curve of supervision from scratch, straight between its readings on the logarithm of the fraction, reaches SimCLR's
    accuracy with `fraction` of the labels: of each run, its interval over runs and test images."""
    found = runs_of(cells)
    if not found.records:
        raise Undecided("no run")
    fractions = fractions_of(cells)
    if len(fractions) < 2:
        raise Undecided("one fraction makes no curve")
    rows = found.sound
    same_images("labels saved", [rows])
    right = np.array([[scores(record, SCRATCH, each) for each in fractions] + [scores(record, method, fraction)] for record in rows])
    flat = right.reshape(-1, right.shape[-1])
    tables = np.vstack([flat.mean(axis=1), resample_images(flat, 2000, np.random.default_rng(0))])
    tables = tables.reshape(-1, *right.shape[:2])  # [draws, runs, fractions + 1]; the first is ours
    at = np.log10(fractions)
    crossings = np.array([[crossing(at, run[:-1], run[-1]) for run in table] for table in tables])
    estimate = of_draws(crossings[0], crossings[1:])
    value, low, high = (10 ** np.clip(each, at[0], at[-1]) for each in (estimate.value, estimate.low, estimate.high))
    return Worth(float(value), float(low), float(high), len(rows), fractions[0], fractions[-1])


def crossing(at: np.ndarray, curve: np.ndarray, target: float) -> float:
    """Where a curve first reaches the target; its end on that side where it never does. Dips are passed over."""
    reached = np.maximum.accumulate(curve)
    place = int((reached < target).sum())
    if place in (0, len(at)):
        return float(at[min(place, len(at) - 1)])
    below, above = reached[place - 1 : place + 1]
    return float(at[place - 1] + (at[place] - at[place - 1]) * (target - below) / (above - below))


# -- claims -------------------------------------------------------------------------------------------------------------


def minus(cells: pd.DataFrame, first: tuple[str, float], second: tuple[str, float], **how) -> Part:
    """(method, fraction) minus (method, fraction): paired by run, draw and test image."""
    name = " − ".join(f"{method} with {percent(fraction)}" for method, fraction in (first, second))

    def estimate(rows) -> Estimate:
        same_images(name, rows)
        return paired_difference([scores(row[0], *first) for row in rows], [scores(row[0], *second) for row in rows])

    return paired(name, [replace(arm(cells, "SimCLR"), **how)], estimate)


def l1(cells, reference):
    return [minus(cells, (TUNED, reference), (SCRATCH, reference))]


def l2(cells, reference):
    return [minus(cells, (FROZEN, reference), (RANDOM, reference), excused=ASKED)]


def l3(cells, reference):
    return [minus(cells, (SCRATCH, 1.0), (TUNED, reference))]


def temperature(record) -> float:
    method = record.config["method"]
    return method["options"].get("temperature", method_options(method["name"])["temperature"].default)


def l4(cells, reference):
    """One number a run, so the interval is over seeds alone."""

    def estimate(rows) -> Estimate:
        for (record,) in rows:
            batch = record.config["training"]["batch_size"] * record.config["training"]["accumulate"]
            if record.config["method"]["name"] != "simclr" or (batch, temperature(record)) != (BATCH, TEMPERATURE):
                raise Undecided(f"compared only for SimCLR at batch {BATCH} and temperature {TEMPERATURE}, and run {record.id} had others")
        return paired_values([row[0].metrics["loss"].iloc[-1] for row in rows], published()["loss"])

    return [paired(f"last loss − {published()['loss']}", [arm(cells, "SimCLR")], estimate)]


def near(record, who: str) -> np.ndarray:
    """Which share of each test image's nearest training images is of its class."""
    if f"labels.{who}.nearest" not in record.arrays:
        raise Undecided(f"run {record.id} kept no neighbours")
    return record.arrays[f"labels.{who}.nearest"] / NEAREST


def l5(cells, reference):
    name = f"precision at {NEAREST}: SimCLR − untrained"

    def estimate(rows) -> Estimate:
        same_images(name, rows)
        return paired_difference([near(row[0], "trained") for row in rows], [near(row[0], "untrained") for row in rows])

    return [paired(name, [replace(arm(cells, "SimCLR"), excused=ASKED)], estimate)]


CLAIMS = {"L1": l1, "L2": l2, "L3": l3, "L4": l4, "L5": l5}


def verdicts(study, cells: pd.DataFrame) -> pd.DataFrame:
    return judge_study(study.name, CLAIMS, cells, study.scope, study.first, reference=study.settings.reference)
