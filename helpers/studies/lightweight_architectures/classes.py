"""The claims on single classes: which are confused, which are easy, and which a tint pulls towards."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from helpers.judging.arms import paired, same_images
from helpers.judging.claims import Part, Undecided
from helpers.judging.evidence import position
from helpers.judging.statistics import Estimate, paired_difference
from helpers.studies.lightweight_architectures.cells import class_index, grid

TINTS = {"blue": "ship", "red": "truck"}


def w7(cells, readout):
    """Over all runs of the grid. Each part stands against the rival that comes closest to overturning it."""
    arms = grid(cells)

    def part(name: str, estimate: Callable) -> Part:
        return paired(name, arms, estimate)

    def pair_above_others(a: str, b: str):
        def estimate(rows) -> Estimate:
            labels, classes = same_images("confusion", rows), len(rows[0][0].manifest["classes"])
            claimed = {_pair(rows, "aeroplane", "ship"), _pair(rows, "car", "truck")}
            pairs = list(itertools.combinations(range(classes), 2))
            own = pairs.index(_pair(rows, a, b))
            scores = np.array([[_pair_score(rows_of, labels, pair, readout) for pair in pairs] for rows_of in rows])
            return _closest(scores, own, [index for index, pair in enumerate(pairs) if pair not in claimed])

        return estimate

    def class_against_others(name: str, best: bool):
        def estimate(rows) -> Estimate:
            labels, classes = same_images("accuracy of a class", rows), len(rows[0][0].manifest["classes"])
            own = class_index(rows[0][0], name)
            scores = np.array([[_class_score(rows_of, labels, index, readout) for index in range(classes)] for rows_of in rows])
            return _closest(scores if best else -scores, own, [index for index in range(classes) if index != own])

        return estimate

    return [
        part("aeroplane/ship − most confused other pair", pair_above_others("aeroplane", "ship")),
        part("car/truck − most confused other pair", pair_above_others("car", "truck")),
        part("horse − best other class", class_against_others("horse", True)),
        part("worst other class − bird", class_against_others("bird", False)),
    ]


def w12(cells, readout):
    """The linear probe's predictions, whatever the readout: it is what the tinted images were shown to."""

    def flipped(colour: str):
        def estimate(rows) -> Estimate:
            same_images("flips", rows)
            return paired_difference([np.mean([flip_score(record, colour) for record in row], axis=0) for row in rows], 0.0)

        return estimate

    return [paired(f"{colour}: to {target} − to others", grid(cells), flipped(colour)) for colour, target in TINTS.items()]


def flip_score(record, colour: str) -> np.ndarray:
    """A score for each test image whose mean is `insight.flips`: the share of images not called the target that flip to it, minus the
    mean of the same share of each other class."""
    before, after = (record.arrays.get(name) for name in ("linear.predictions", f"tinted.{colour}"))
    if before is None or after is None:
        raise Undecided(f"run {record.id} holds no predictions of images tinted {colour}")
    before, after = np.asarray(before).astype(int), np.asarray(after).astype(int)
    target, classes = class_index(record, TINTS[colour]), len(record.manifest["classes"])
    open_to = len(before) - np.bincount(before, minlength=classes)
    weights = -len(before) / np.maximum(open_to, 1) / (classes - 1)
    weights[target] *= 1 - classes
    return np.where(before != after, weights[after], 0.0)


def _pair(rows, a: str, b: str) -> tuple[int, int]:
    return tuple(sorted(class_index(rows[0][0], name) for name in (a, b)))


def _predictions(record, readout: str) -> np.ndarray:
    if f"{readout}.predictions" not in record.arrays:
        raise Undecided(f"run {record.id} holds no predictions of {readout}")
    return np.asarray(record.arrays[f"{readout}.predictions"])


def _pair_score(records, labels: np.ndarray, pair: tuple[int, int], readout: str) -> np.ndarray:
    """Per test image, averaged over the records; the mean is the share of a called b plus that of b called a."""
    return sum(_share(records, labels, true, other, readout) for true, other in (pair, pair[::-1]))


def _class_score(records, labels: np.ndarray, index: int, readout: str) -> np.ndarray:
    """Per test image, averaged over the records; the mean is the accuracy of the class."""
    return _share(records, labels, index, index, readout)


def _share(records, labels: np.ndarray, true: int, called: int, readout: str) -> np.ndarray:
    """A score for each test image whose mean is the share of a class that is called so. It is the share itself plus, for images of
    the class, what each adds to it: how many images of the class a resample happens to draw must not count as spread."""
    here = labels == true
    found = np.mean([_predictions(record, readout)[here] == called for record in records], axis=0)
    share = found.mean() if len(found) else 0.0
    score = np.full(len(labels), share)
    score[here] += (found - share) * len(labels) / max(len(found), 1)
    return score


def _closest(scores: np.ndarray, own: int, rivals: list[int]) -> Estimate:
    """Own minus the rival that speaks most against it, in points: one that is above for certain, which among so many asks more than
    of one alone, else the weakest lead. Scores are [seeds, rivals and own, images]."""
    found = [replace(paired_difference(scores[:, own], scores[:, rival]), rivals=len(rivals)) for rival in rivals]
    against = min(found, key=lambda each: each.below(0))
    return against if position("order", 0.0, against, len(rivals)) == "contradicted" else max(found, key=lambda each: each.above(0))
