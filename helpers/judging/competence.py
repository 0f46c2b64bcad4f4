"""The gate: a comparison of trained things is judged only where each side has learned.

Fixed before any verdict was computed by it:

- above its own untrained net: the mean gain over it, with its 95 % interval, lies above MARGIN points, by the readout that judges where
  that is linear or kNN, else by the linear probe;
- not fallen: its last reading on the way lies below its best by no more than twice what test images alone make two readings differ;
- not narrow: the embedding uses more directions than a floor that grows with the square root of its width (4 of 256, 8 of 1,024).

Labels of a class of their own make a narrow embedding right, so supervised runs are not asked for directions.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from helpers.methods import METHODS, method_options
from helpers.runs import untrained
from helpers.training.watch import FLAT

MARGIN = 3.0  # points above the untrained net
NOISE = 2.0  # standard errors of a fall
FLOOR = 4.0  # the square root of the width is divided by it
UNTRAINED, FALLEN, NARROW = REASONS = ("untrained", "fallen", "narrow")  # what a claim about failing excuses


@dataclass(frozen=True)
class Gain:
    """Points above the untrained net, with their 95 % interval."""

    value: float
    low: float
    high: float


def reference_of(record, readout: str) -> float | None:
    """Accuracy of the same encoder before training: in the run's own record, or in the reference that it shares."""
    own = record.evaluations.get(f"{readout}_untrained", {}).get("top1")
    if own is not None:
        return own
    shared = untrained.find(record)
    return None if shared is None else shared.evaluations.get(readout, {}).get("top1")


def gain(records: Iterable, readout: str) -> Gain | None:
    """Of runs that differ by their seed alone; None where one of them has no reference.

    Seeds' spread and test images' noise are added, since both nets of a seed are read on the same few images: wider than needed where
    the two are right on the same ones, and never too narrow.
    """
    from scipy import stats

    found, noise = [], []
    for record in records:
        before, after = reference_of(record, readout), record.evaluations.get(readout, {}).get("top1")
        if before is None or after is None:
            return None
        images = record.manifest.get("test_images") or len(record.arrays["labels"])
        found.append(after - before)
        noise.append(sum(share * (100 - share) for share in (before, after)) / images)
    if not found:
        return None
    value, images = float(np.mean(found)), float(np.mean(noise))
    seeds = float(np.var(found, ddof=1)) / len(found) if len(found) > 1 else 0.0
    total = images / len(found) + seeds
    freedom = (len(found) - 1) * (total / seeds) ** 2 if seeds else np.inf
    reach = float(stats.t.ppf(0.975, freedom)) * total**0.5
    return Gain(value, value - reach, value + reach)


def fallen(record) -> float:
    """By how many points the last reading lies below the best one on the way, beyond noise; 0 where it does not."""
    images = record.manifest.get("test_images") or 1
    worst = 0.0
    for name in ("linear", "knn"):
        if name not in record.metrics or len(curve := record.metrics[name].dropna()) < 2:
            continue
        best, last = float(curve.max()), float(curve.iloc[-1])
        error = (sum(share * (100 - share) for share in (best, last)) / images) ** 0.5
        if best - last > NOISE * error:
            worst = max(worst, best - last)
    return worst


def directions(record) -> tuple[float, float] | None:
    """(effective rank of the embedding at the end, the floor it must exceed), where the run told it."""
    rank = record.metrics["effective_rank"].dropna() if "effective_rank" in record.metrics else ()
    if not len(rank) or METHODS[record.config["method"]["name"]].needs_labels:
        return None
    return float(rank.iloc[-1]), max(FLAT, width(record) ** 0.5 / FLOOR)


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
    readout = readout if readout.startswith(("linear", "knn")) else "linear"
    if not records:
        return []
    if UNTRAINED not in excused:
        above = gain(records, readout)
        if above is None:
            found.append(Doubt(UNTRAINED, f"{name} has no untrained reference"))
        elif above.low <= MARGIN:
            found.append(Doubt(UNTRAINED, f"{name} has not learned ({above.value:+.1f} [{above.low:.1f}, {above.high:.1f}] points)"))
    if FALLEN not in excused and (falls := [points for record in records if (points := fallen(record))]):
        found.append(Doubt(FALLEN, f"{name} has fallen from its own best ({max(falls):.1f} points)"))
    if NARROW not in excused:
        ranks = [pair for record in records if (pair := directions(record)) and pair[0] <= pair[1]]
        if ranks:
            found.append(Doubt(NARROW, f"{name} uses {min(ranks)[0]:.1f} directions, of {min(ranks)[1]:.1f} asked"))
    return found
