"""The study of views: the arms that are compared, what is read from them, and the claims R1 to R9."""

from functools import partial

import numpy as np
import pandas as pd

from helpers import studies
from helpers.evaluation.backgrounds import KINDS
from helpers.evaluation.corruptions import CORRUPTIONS, SEVERITIES
from helpers.evaluation.robustness import BACKGROUNDS, CLEAN, CORRUPTED
from helpers.evaluation.shifts import SHIFTS
from helpers.judging.arms import Arm, arm, contrast, paired, same_images
from helpers.judging.claims import Part, Undecided, judge_study
from helpers.judging.statistics import Estimate, of_draws, paired_difference, resample_images
from helpers.studies.relic_views.settings import (
    ARMS,
    BYOL,
    FORMS,
    IMAGES,
    LADDER,
    NO_LARGE,
    NO_SMALL,
    PASSES,
    RIVALS,
    SIMCLR,
    SMALL,
    SUPERVISED,
    WHOLE,
)

published = partial(studies.published, "relic_views")

ALTERED = len(CORRUPTIONS) * len(SEVERITIES)  # corrupted versions of each image
SAME, RANDOM = KINDS.index("mixed same"), KINDS.index("mixed random")
DRAWS = 1000  # of test images, for the interval of a ratio


def of(cells: pd.DataFrame, name: str, net: str = "", spent: str = IMAGES) -> Arm:
    """An arm by its name: of the ladder or one of the rivals, on the main net unless another is named."""
    main = cells["net"].iloc[0] if len(cells) else ""
    if net and net != main:
        return arm(cells, f"{name}, {net}", part="nets", arm=name, net=net)
    if name in FORMS:
        return arm(cells, name, part="forms", arm=name)
    told = f"{name}, equal passes" if spent == PASSES else name
    return arm(cells, told, part="rivals" if name in RIVALS else "ladder", arm=name, spent=spent)


def nets(cells: pd.DataFrame) -> list[str]:
    """The nets, the main one first."""
    return list(dict.fromkeys(cells["net"]))


def altered(record, name: str) -> np.ndarray:
    """What a run's readout of robustness holds of each image: `robust.<name>`."""
    if f"robust.{name}" not in record.arrays:
        raise Undecided(f"run {record.id} was not read out on altered images")
    return np.asarray(record.arrays[f"robust.{name}"], dtype=float)


def shares(record, group: str) -> np.ndarray:
    """Of each image's alterations of a group, the share that is still recognised."""
    return altered(record, group) / (ALTERED if group == CORRUPTED else len(SHIFTS[group]))


def gaps(record) -> np.ndarray:
    """For each image that has a background: right before one of its own class, minus right before any other."""
    rows, there = altered(record, BACKGROUNDS), altered(record, "swappable").astype(bool)
    if not there.any():
        raise Undecided(f"run {record.id}: no test image has a foreground and a background")
    return (rows[SAME] - rows[RANDOM])[there]


def same_alterations(name: str, rows) -> None:
    """What is drawn differs from device to device, and masks may by an image."""
    same_images(name, rows)
    found = [(record.manifest.get("device", {}).get("type"), altered(record, "swappable").tobytes()) for row in rows for record in row]
    if len({*found}) > 1:
        raise Undecided(f"{name}: the runs did not read the same altered images")


def difference(name: str, first: Arm, second: Arm, read) -> Part:
    """What two arms' records hold of each image, first minus second, over seeds and images."""

    def estimate(rows) -> Estimate:
        same_alterations(name, rows)
        return paired_difference([read(row[0]) for row in rows], [read(row[1]) for row in rows])

    return paired(name, [first, second], estimate)


def kept(rows: np.ndarray) -> np.ndarray:
    """Accuracy under corruptions as a share of that on the same images untouched, in percent: rows of means, corrupted and clean."""
    return 100 * rows[..., 0] / np.maximum(rows[..., 1], 1e-9)


def share_kept(name: str, first: Arm, second: Arm) -> Part:
    """Ratios of means, so their noise is found by drawing the images anew: the same ones for every run."""

    def estimate(rows) -> Estimate:
        same_alterations(name, rows)
        read = np.array([[[shares(record, CORRUPTED), altered(record, CLEAN)] for record in row] for row in rows])  # [seeds, 2, 2, images]
        flat = read.reshape(-1, read.shape[-1])
        means = np.vstack([flat.mean(1), resample_images(flat, DRAWS, np.random.default_rng(0))]).reshape(-1, *read.shape[:3])
        points = kept(means[:, :, 0]) - kept(means[:, :, 1])
        return of_draws(points[0], points[1:])

    return paired(name, [first, second], estimate)


# -- claims -------------------------------------------------------------------------------------------------------------


def minus(cells: pd.DataFrame, first: Arm, second: Arm, readout: str) -> Part:
    return contrast(f"{first.name} − {second.name}", [(first, 1.0), (second, -1.0)], readout)


def r1(cells, readout):
    return [minus(cells, of(cells, WHOLE, net), of(cells, SUPERVISED, net), readout) for net in nets(cells)]


def r2(cells, readout):
    return [minus(cells, of(cells, more), of(cells, less), readout) for less, more in zip(LADDER, LADDER[1:], strict=False)]


def r3(cells, readout):
    return [difference("gap between backgrounds: without masks − with", of(cells, SMALL), of(cells, WHOLE), gaps)]


def r4(cells, readout):
    return [share_kept(f"share kept: {WHOLE} − {SIMCLR}", of(cells, WHOLE), of(cells, SIMCLR))]


def r5(cells, readout):
    return [minus(cells, of(cells, WHOLE), of(cells, rival), readout) for rival in (BYOL, SIMCLR)]


def r6(cells, readout):
    whole = of(cells, WHOLE)
    asked = (("occlusion", "small views", NO_SMALL), ("style", "four large views instead of two", NO_LARGE))
    return [
        difference(f"under {group}: with {what} − without", whole, of(cells, other), partial(shares, group=group))
        for group, what, other in asked
    ]


def r7(cells, readout):
    return [minus(cells, of(cells, WHOLE), of(cells, rival, spent=PASSES), readout) for rival in (BYOL, SIMCLR)]


def r8(cells, readout):
    return [minus(cells, of(cells, "masked first"), of(cells, WHOLE), readout)]


def r9(cells, readout):
    return [minus(cells, of(cells, "KL between views"), of(cells, WHOLE), readout)]


CLAIMS = {"R1": r1, "R2": r2, "R3": r3, "R4": r4, "R5": r5, "R6": r6, "R7": r7, "R8": r8, "R9": r9}


def verdicts(study, cells: pd.DataFrame) -> pd.DataFrame:
    return judge_study(study.name, CLAIMS, cells, study.scope, study.first, readout=study.settings.readout)


def every_arm(cells: pd.DataFrame) -> list[Arm]:
    """What is read out on altered images, in the order of the tables."""
    return [of(cells, name) for name in (*ARMS, *FORMS, *RIVALS)]
