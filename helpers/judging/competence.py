"""The gate: a comparison of trained things is judged only where each side has learned.

Fixed before any verdict was computed by it:

- above its own untrained net: the mean gain over it, with its 95 % interval over seeds and test images, lies above MARGIN points, by the
  readout that judges where that is linear or kNN, else by the linear probe;
- not fallen: where it was read on the way, its last reading lies below its best by no more than chance makes of so many readings;
- not narrow: the embedding uses more directions than a floor that grows with the square root of its width (4 of 256, 8 of 1,024). A run
  that did not record them cannot say so, and is in doubt.

Where seeds are added and looked at again, the gate's interval stays at 95 %: it allows a verdict, and takes one back that all seeds do not
bear out, but never gives one. What has not learned gets no seeds of its own.

Labels of a class of their own make a narrow embedding right, so supervised runs are not asked for directions.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from helpers.judging.statistics import Estimate, made, paired_difference
from helpers.methods import METHODS, method_options
from helpers.runs import untrained
from helpers.training.watch import FLAT

MARGIN = 3.0  # points above the untrained net
CHANCE = 0.025  # that an arm of steady curves seems to have fallen
FLOOR = 4.0  # the square root of the width is divided by it
UNTRAINED, FALLEN, NARROW = REASONS = ("untrained", "fallen", "narrow")  # what a claim about failing excuses
UNREFERRED = "has no untrained reference"
UNRECORDED = "did not record how many directions its embedding uses"


def reference_of(record):
    """The record of the same encoder before training, None where nobody has read it."""
    return untrained.find(record)


def gain(records: Iterable, readout: str) -> Estimate | None:
    """Points above the untrained net, of runs that differ by their seed alone; None where one of them knows no beginning. On the same test
    images before and after, where the shared reference is there; else from the accuracies that the runs themselves read."""
    records = list(records)
    scores = [_gained(record, readout) for record in records]
    if records and all(each is not None for each in scores):
        return paired_difference(scores, 0.0)
    return _of_accuracies(records, readout)


def _gained(record, readout: str) -> np.ndarray | None:
    """Right after training minus right before, for each test image."""
    name, shared = f"{readout}.predictions", reference_of(record)
    before, after = (None if each is None else each.arrays.get(name) for each in (shared, record))
    if before is None or after is None or not np.array_equal(shared.arrays["labels"], labels := np.asarray(record.arrays["labels"])):
        return None
    return (np.asarray(after) == labels) - (np.asarray(before) == labels).astype(float)


def _of_accuracies(records: list, readout: str) -> Estimate | None:
    """The same without knowing the images: their noise, as of two nets that have nothing in common, is taken for shared by all seeds."""
    found = [[record.evaluations.get(name, {}).get("top1") for name in (readout, f"{readout}_untrained")] for record in records]
    if not found or None in [value for pair in found for value in pair]:
        return None
    gains = [after - before for after, before in found]
    noise = np.mean([sum(top1 * (100 - top1) for top1 in pair) for pair in found]) / (records[0].manifest.get("test_images") or 1)
    return made(float(np.mean(gains)), float(np.var(gains, ddof=1)) if len(gains) > 1 else 0.0, float(noise), len(gains))


def fallen(records: Iterable) -> float:
    """By how many points the last reading of a run lies below its best one on the way, where that is more than chance makes of so many
    readings of so many runs; 0 where it is not."""
    from scipy import stats

    records, worst = list(records), 0.0
    for record in records:
        images = record.manifest.get("test_images") or 1
        probed = record.config.get("evaluation", {}).get("probe_images") or images
        for name, read in (("linear", images), ("knn", min(probed, images))):
            if name not in record.metrics or len(curve := record.metrics[name].dropna()) < 2:
                continue
            best, last = float(curve.max()), float(curve.iloc[-1])
            error = (sum(share * (100 - share) for share in (best, last)) / read) ** 0.5
            if best - last > float(stats.norm.isf(CHANCE / (len(curve) - 1) / len(records))) * error:
                worst = max(worst, best - last)
    return worst


def directions(record) -> tuple[float, float] | None:
    """(effective rank of the embedding at the end, the floor it must exceed); an unknown rank is not a number. None: it is not asked."""
    if METHODS[record.config["method"]["name"]].needs_labels:
        return None
    rank = record.metrics["effective_rank"].dropna() if "effective_rank" in record.metrics else ()
    return float(rank.iloc[-1]) if len(rank) else float("nan"), max(FLAT, width(record) ** 0.5 / FLOOR)


def width(record) -> int:
    """Of the embedding that is watched: the projector's, or the encoder's where the method has none."""
    method = record.config["method"]
    options = method_options(method["name"])
    given = method["options"].get("out", getattr(options.get("out"), "default", None))
    return given if isinstance(given, int) else int(record.manifest.get("feature_width", 1))


@dataclass(frozen=True)
class Doubt:
    """One reason why runs cannot stand for what they were trained to be: its kind, and what a verdict says of it."""

    kind: str
    words: str


def doubts(name: str, records: Iterable, readout: str, excused: Iterable[str] = ()) -> list[Doubt]:
    """Why these runs, which differ by their seed alone, cannot stand for what they were trained to be; nothing where they can."""
    records, found = list(records), []
    readout = readout.removesuffix("_transfer") if readout.startswith(("linear", "knn")) else "linear"  # it learned on its own images
    if not records:
        return []
    if UNTRAINED not in excused:
        above = gain(records, readout)
        if above is None:
            found.append(Doubt(UNTRAINED, f"{name} {UNREFERRED}"))
        elif above.low <= MARGIN:
            found.append(Doubt(UNTRAINED, f"{name} has not learned ({above.value:+.1f} [{above.low:.1f}, {above.high:.1f}] points)"))
    if FALLEN not in excused and (points := fallen(records)):
        found.append(Doubt(FALLEN, f"{name} has fallen from its own best ({points:.1f} points)"))
    if NARROW not in excused:
        ranks = [pair for record in records if (pair := directions(record))]
        if any(np.isnan(rank) for rank, _ in ranks):
            found.append(Doubt(NARROW, f"{name} {UNRECORDED}"))
        elif narrow := [pair for pair in ranks if pair[0] <= pair[1]]:
            found.append(Doubt(NARROW, f"{name} uses {min(narrow)[0]:.1f} directions, of {min(narrow)[1]:.1f} asked"))
    return found
