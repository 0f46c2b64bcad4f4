"""Arms: runs that differ by their seed alone, and what is estimated from them. Every study's claims and tables are made of these.

The rule for runs whose embedding collapsed. Tables and curves leave them out of a mean and say how many they were; an arm of
nothing else is shown as it is, flagged. A part of a claim takes every run at what it reached and names what has not learned
(competence.py), by which it cannot be judged; where failing is what the claim is about, the arm is excused.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from helpers.evaluation.metrics import confusion
from helpers.judging import competence
from helpers.judging.claims import Part, Undecided
from helpers.judging.statistics import Estimate, Summary, bootstrap_images, paired_difference, summary
from helpers.judging.trend import trend

WORDS = {"untrained": "not learned", "fallen": "fallen from its best", "narrow": "narrow or unknown embedding"}
NAMED = 4  # arms that a message lists before it counts the rest


@dataclass(frozen=True)
class Arm:
    """Runs that differ by their seed alone, by seed; those that were asked for and have no record by their ids."""

    name: str
    records: dict[int, object]
    lacking: tuple[str, ...] = ()
    before_training: bool = False  # read before the first step: what became of the run later does not matter
    excused: tuple[str, ...] = ()  # what it may have failed in, where that is what a claim is about (competence.REASONS)

    @property
    def runs(self) -> tuple[str, ...]:
        return tuple(record.id for record in self.records.values())

    @property
    def collapsed(self) -> int:
        return sum(has_collapsed(record) for record in self.records.values())

    @property
    def sound(self) -> list:
        """The records that a mean is made of."""
        if self.before_training:
            return list(self.records.values())
        return [record for record in self.records.values() if not has_collapsed(record)] or list(self.records.values())

    @property
    def lost(self) -> bool:
        """Whether all of it collapsed."""
        return bool(self.records) and self.collapsed == len(self.records)

    def doubts(self, readout: str = "linear", seeds: Iterable[int] | None = None) -> list[competence.Doubt]:
        """Why it cannot stand for what it was trained to be, by its runs of these seeds; without seeds, those that a mean is made of."""
        if self.before_training:
            return []
        records = self.sound if seeds is None else [self.records[seed] for seed in seeds]
        return competence.doubts(self.name, records, readout, self.excused)

    @property
    def flag(self) -> str:
        return self.flagged()

    def flagged(self, readout: str = "linear") -> str:
        """What a table says beside its numbers: what collapsed, and what has not learned by that readout. Empty where all is well."""
        if self.before_training:
            return ""
        if self.lost:
            return "collapsed"
        collapsed = f"{self.collapsed} of {len(self.records)} collapsed, left out" if self.collapsed else ""
        words = [WORDS[doubt.kind] for doubt in self.doubts(readout)]
        return ", ".join(filter(None, [collapsed, *words]))


def has_collapsed(record) -> bool:
    return bool(record.manifest.get("collapsed", False))


def arm(cells: pd.DataFrame, name: str, **where) -> Arm:
    """The present runs of the cells where each column has the given value."""
    chosen = np.ones(len(cells), dtype=bool)
    for column, value in where.items():
        held = cells[column].to_numpy()
        chosen &= np.isclose(held.astype(float), value) if isinstance(value, float) else held == value
    asked = cells[["seed", "run", "record"]].to_numpy()[chosen]
    return Arm(
        name,
        {int(seed): record for seed, _, record in asked if hasattr(record, "evaluations")},
        tuple(run for _, run, record in asked if not hasattr(record, "evaluations")),
    )


def hits(record, readout: str) -> np.ndarray:
    """Right or wrong for each test image."""
    if "labels" not in record.arrays or f"{readout}.predictions" not in record.arrays:
        raise Undecided(f"run {record.id} holds no predictions of {readout}")
    return np.asarray(record.arrays["labels"]) == np.asarray(record.arrays[f"{readout}.predictions"])


def accuracy(arm: Arm, readout: str) -> tuple[Summary, str]:
    """(accuracy in percent, what its interval is over): seeds, or test images for a single run, or nothing."""
    measured = [record for record in arm.sound if "top1" in record.evaluations.get(readout, {})]
    found = summary([record.evaluations[readout]["top1"] for record in measured])
    if found.n != 1:
        return found, "seeds" if found.n else ""
    try:
        low, high = bootstrap_images(hits(measured[0], readout))
    except Undecided:
        return found, ""
    return Summary(found.mean, None, low, high, 1), "test images"


def measured(arm: Arm, readout: str) -> dict:
    """The columns in which a table says what an arm reached."""
    value, over = accuracy(arm, readout)
    interval = f"[{value.low:.2f}, {value.high:.2f}]" if value.low is not None else None
    return {"accuracy": value.mean, "95 %": interval, "over": over, "n": value.n}


def before(arm: Arm, readout: str) -> float | None:
    """Accuracy of the same nets before training, the mean; None where nobody has read one."""
    references = [competence.reference_of(record) for record in arm.records.values()]
    told = [each.evaluations[readout]["top1"] for each in references if each is not None and "top1" in each.evaluations.get(readout, {})]
    return float(np.mean(told)) if told else None


def paired(name: str, arms: Iterable[Arm], estimate, readout: str = "linear") -> Part:
    """The part whose estimate is made from a list for each seed that all arms share, holding one record an arm. Arms that have not
    learned, by the readout, are named: by such a part no claim is judged."""
    arms = list(arms)
    runs = tuple(dict.fromkeys(run for each in arms for run in each.runs))
    lacking = tuple(dict.fromkeys(run for each in arms for run in each.lacking))
    absent = [each.name for each in arms if not each.records]
    if absent:
        asked = all(each.records or each.lacking for each in arms)
        return Part(name, None, runs, f"no run of {listed(absent)}", lacking, asked)
    seeds = sorted(set.intersection(*(set(each.records) for each in arms)))
    if not seeds:
        return Part(name, None, runs, f"{name}: no seed was run in every arm", lacking)
    used = tuple(dict.fromkeys(each.records[seed].id for each in arms for seed in seeds))
    lost = [f"{each.name} {count} of {len(seeds)}" for each in arms if (count := sum(has_collapsed(each.records[seed]) for seed in seeds))]
    name += f" (collapsed: {', '.join(dict.fromkeys(lost))})" if lost else ""
    unfit = tuple(dict.fromkeys(doubt.words for each in arms for doubt in each.doubts(readout, seeds)))
    try:
        return Part(name, estimate([[each.records[seed] for each in arms] for seed in seeds]), used, lacking=lacking, unfit=unfit)
    except Undecided as why:
        return Part(name, None, used, str(why), lacking, unfit=unfit)


def listed(names: list[str]) -> str:
    return " or ".join(names) if len(names) <= NAMED else f"{', '.join(names[:NAMED])} or {len(names) - NAMED} more"


def same_images(name: str, rows) -> np.ndarray:
    """The labels of the test images, which must be the same in every record: only then are images paired."""
    labels = [np.asarray(record.arrays.get("labels", ())) for row in rows for record in row]
    if any(not np.array_equal(each, labels[0]) for each in labels):
        raise Undecided(f"{name}: the runs were not tested on the same images")
    return labels[0]


def contrast(name: str, weighted: list[tuple[Arm, float]], readout: str, constant: float = 0.0, images: slice = slice(None)) -> Part:
    """A weighted sum of accuracies minus a constant, seeds and test images paired throughout."""
    arms, weights = zip(*weighted, strict=True)

    def estimate(rows) -> Estimate:
        same_images(name, rows)
        scores = [sum(weight * hits(record, readout)[images] for weight, record in zip(weights, row, strict=True)) for row in rows]
        return paired_difference(scores, constant)

    part = paired(name, arms, estimate, readout)
    if part.estimate is None:
        return part
    seeds = sorted(set.intersection(*(set(each.records) for each in arms)))
    return replace(part, trend=trend([[each.records[seed] for each in arms] for seed in seeds], weights, readout, constant, images))


def ranking(arms: list[Arm], readout: str, prefix: str = "", images: slice = slice(None)) -> list[Part]:
    """The neighbouring differences of an order, the first claimed best."""
    return [
        contrast(f"{prefix}{a.name} − {b.name}", [(a, 1.0), (b, -1.0)], readout, images=images)
        for a, b in zip(arms, arms[1:], strict=False)
    ]


def confusion_of(arms: list[Arm], readout: str) -> tuple[np.ndarray, list[str], list[str]]:
    """(counts by true and predicted class, names of the classes, ids of the runs), summed over the runs that did not collapse."""
    matrix, classes, used = None, [], []
    for arm in arms:
        for record in arm.records.values():
            if f"{readout}.predictions" in record.arrays and "labels" in record.arrays and not has_collapsed(record):
                classes = classes or list(record.manifest["classes"])
                found = confusion(record.arrays[f"{readout}.predictions"], record.arrays["labels"], len(classes))
                matrix = found if matrix is None else matrix + found
                used.append(record.id)
    return (np.zeros((0, 0)) if matrix is None else matrix), classes, used
