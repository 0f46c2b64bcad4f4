"""The study of MoCo v3: the arms that are compared, what is read from their curves, and the claims M1 to M8."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from helpers import studies
from helpers.judging.arms import Arm, arm, contrast, hits, paired, ranking, same_images
from helpers.judging.claims import Undecided, judge_study
from helpers.judging.competence import FALLEN, REASONS
from helpers.judging.dips import deepest
from helpers.judging.statistics import Estimate, of_draws, paired_difference, resample_images, spearman
from helpers.runs.transfer import find
from helpers.studies.moco_v3_stability import transfers
from helpers.studies.moco_v3_stability.settings import (
    ADAMW,
    BATCH_NORM,
    FROZEN,
    LAMB,
    LEARNED,
    LONG,
    PUBLISHED,
    SHORT,
    SUPERVISED,
    V2,
    V2_PLUS,
    V3,
    Settings,
)
from helpers.studies.moco_v3_stability.settings import middle as lower_middle

published = partial(studies.published, "moco_v3_stability")

ALIKE = 1.2  # by which the logarithm of highest over lowest rate may differ between two optimizers
DRAWS = 2000  # of test images, for the interval of what is no mean over them
SCHEDULES = {SHORT: "100", LONG: "800"}  # the published epochs that stand for them


def line(cells: pd.DataFrame, method: str, length: str = LONG) -> Arm:
    """A method of the line after one schedule."""
    return arm(cells, f"{method}, {length}", part="line", arm=method, length=length)


def vit(cells: pd.DataFrame, optimizer: str, rate: float, patches: str = LEARNED, batch: int | None = None, excused=()) -> Arm:
    """MoCo v3 on the ViT, by optimizer, rate for a batch of 256, patches and batch; the usual batch unless one is named."""
    batch = batches(cells)[0] if batch is None else batch
    name = f"{optimizer}, rate {rate:g}, {patches} patches, batch {batch}"
    found = arm(cells, name, part="stability", arm="", optimizer=optimizer, rate=float(rate), patches=patches, batch=batch)
    return replace(found, excused=tuple(excused))


def changed(cells: pd.DataFrame, name: str) -> Arm:
    """MoCo v3 on the ViT with one thing changed; its optimizer and rate are those of the cells."""
    return arm(cells, name, part="stability", arm=name)


def other(cells: pd.DataFrame, name: str) -> Arm:
    """The same ViT trained by something else."""
    return arm(cells, name, part="others", arm=name)


def rates(cells: pd.DataFrame, optimizer: str) -> list[float]:
    """The rates of an optimizer, from the lowest to the highest."""
    own = cells[(cells["part"] == "stability") & (cells["arm"] == "") & (cells["optimizer"] == optimizer)]
    return sorted({float(rate) for rate in own[own["batch"] == batches(cells)[0]]["rate"]})


def batches(cells: pd.DataFrame) -> list[int]:
    """The batches, the usual one first."""
    own = cells[(cells["part"] == "stability") & (cells["arm"] == "") & (cells["optimizer"] == ADAMW)]
    return sorted({int(batch) for batch in own["batch"]}, key=lambda batch: -int((own["batch"] == batch).sum())) or [0]


def usual(cells: pd.DataFrame) -> Arm:
    """MoCo v3 on the ViT as it is: AdamW at the middle rate."""
    return vit(cells, ADAMW, middle(rates(cells, ADAMW)))


def middle(values: list[float]) -> float:
    if not values:
        raise Undecided("no rate of AdamW is in this variant")
    return lower_middle(values)


def at_rates(cells: pd.DataFrame, optimizer: str, patches: str = LEARNED) -> list[Arm]:
    """An arm a rate. That a rate far from the middle fails is what these are trained to show, so only the middle must have learned."""
    found = rates(cells, optimizer)
    if len(found) < 2:
        raise Undecided(f"{optimizer} has {len(found)} rates in this variant")
    return [vit(cells, optimizer, rate, patches, excused=() if rate == middle(found) else REASONS) for rate in found]


def curve(record) -> tuple[np.ndarray, int]:
    """A run's kNN accuracies on the way, and how many test images each was read on."""
    if "knn" not in record.metrics:
        raise Undecided(f"run {record.id} was not read on the way")
    asked = record.config.get("evaluation", {}).get("probe_images")
    total = record.manifest["test_images"]
    return record.metrics["knn"].to_numpy(dtype=float), min(asked or total, total)


def depth(record) -> float:
    """Of a run's deepest dip, in points. The last reading is left out: it is what is lost in the end, and no dip on the way to that."""
    values, images = curve(record)
    return deepest(values[:-1], images)


# -- claims -------------------------------------------------------------------------------------------------------------


def accuracies(rows: list, readout: str) -> np.ndarray:
    """[1 + draws, seeds, arms]: accuracies, first on the test images and then on these drawn anew, the same ones for every run."""
    same_images("accuracies", rows)
    right = np.array([hits(record, readout) for row in rows for record in row], dtype=float)
    drawn = resample_images(right, DRAWS, np.random.default_rng(0))
    return np.vstack([right.mean(1), drawn]).reshape(1 + DRAWS, len(rows), -1)


def m1(cells, readout):
    """Within each group of runs that differ by their rate alone, so that nothing else that differs is taken for a dip's doing. Rank
    correlations are no means over images, so each draw of images makes final accuracies of its own."""
    groups = [at_rates(cells, ADAMW), at_rates(cells, ADAMW, FROZEN), at_rates(cells, LAMB)]
    ends = np.cumsum([len(group) for group in groups])[:-1]

    def estimate(rows) -> Estimate:
        depths = np.array([[depth(record) for record in row] for row in rows])
        if not depths.any():
            raise Undecided("no run dips at any rate")
        told = np.split(accuracies(rows, readout), ends, axis=2)
        points = np.mean(
            [
                [-spearman(found[:, seed], each) for seed, each in enumerate(taken)]
                for found, taken in zip(told, np.split(depths, ends, axis=1), strict=True)
            ],
            axis=0,
        ).T
        return of_draws(points[0], points[1:])

    return [paired("minus Spearman of depth and accuracy", [each for group in groups for each in group], estimate, readout)]


def m2(cells, readout):
    """The highest rate is the highest at which both have learned: where one has not, there is no gain to speak of. As the gate, which sees
    the same accuracies, picks it out of several, the claim holds at the level of so many choices."""
    pairs = {rate: [vit(cells, ADAMW, rate, patches) for patches in (FROZEN, LEARNED)] for rate in rates(cells, ADAMW)}
    if unrun := [f"{rate:g}" for rate, pair in pairs.items() if not all(each.records for each in pair)]:
        raise Undecided(f"nothing was run at rate {', '.join(unrun)}")
    shared = set.intersection(*(set(each.records) for pair in pairs.values() for each in pair))
    learned = [rate for rate, pair in pairs.items() if not any(each.doubts(readout, sorted(shared)) for each in pair)]
    if not learned or min(pairs) not in learned or len(learned) < 2:
        raise Undecided("frozen and learned patches have both learned at fewer than two rates, the lowest among them")
    high, low = max(learned), min(pairs)
    (frozen, own), (frozen_low, own_low) = pairs[high], pairs[low]
    weighted = [(frozen, 1.0), (own, -1.0), (frozen_low, -1.0), (own_low, 1.0)]
    part = contrast(f"frozen − learned: at {high:g} − at {low:g}", weighted, readout)
    return [replace(part, estimate=part.estimate and replace(part.estimate, spared=len(pairs) - 2))]


def m3(cells, readout):
    return [contrast("with batch norm in the MLP blocks − without", [(changed(cells, BATCH_NORM), 1.0), (usual(cells), -1.0)], readout)]


def m4(cells, readout):
    return ranking([line(cells, method) for method in (V3, V2_PLUS, V2)], readout)


def m5(cells, readout):
    """A spread is no mean over images either."""
    asked = {optimizer: rates(cells, optimizer) for optimizer in (LAMB, ADAMW)}
    pairs = [at_rates(cells, optimizer) for optimizer in asked]
    apart = [np.log(each[-1] / each[0]) for each in asked.values()]
    if len({len(each) for each in asked.values()}) > 1 or max(apart) > ALIKE * min(apart):
        raise Undecided("a spread over more rates, or over rates further apart, is no measure of the optimizer: give both as many")
    told = " − ".join(f"{name} (over {', '.join(f'{rate:g}' for rate in each)})" for name, each in asked.items())

    def estimate(rows) -> Estimate:
        found = 100 * accuracies(rows, readout)
        first, second = (np.ptp(each, axis=2) for each in np.split(found, [len(pairs[0])], axis=2))
        points = first - second
        return of_draws(points[0], points[1:])

    return [paired(f"spread over rates: {told}", [each for arms in pairs for each in arms], estimate, readout)]


def m6(cells, readout):
    found = sorted(batches(cells))
    if len(found) < 3:
        raise Undecided(f"{len(found)} batches have no middle")
    rate = middle(rates(cells, ADAMW))
    most = vit(cells, ADAMW, rate, batch=found[-1], excused=(FALLEN,))  # that it loses on the way is what is claimed
    best = vit(cells, ADAMW, rate, batch=middle(found))
    return [contrast(f"batch {middle(found):,} − {found[-1]:,}", [(best, 1.0), (most, -1.0)], readout)]


def m7(cells, readout):
    """The published accuracies are taken as they are."""
    parts = []
    for length, epochs in SCHEDULES.items():
        theirs = np.array([published()["line"][method][epochs] for method in PUBLISHED])

        def estimate(rows, theirs=theirs) -> Estimate:
            told = accuracies(rows, readout)
            points = np.stack([spearman(told[:, seed], theirs) for seed in range(told.shape[1])], axis=1)
            return of_draws(points[0], points[1:])

        arms = [line(cells, method, length) for method in PUBLISHED]
        parts.append(paired(f"Spearman with {epochs} epochs, {length}", arms, estimate, readout))
    return parts


def m8(cells, readout, settings: Settings):
    """Judged by what is fine-tuned; both encoders must have learned on their own images."""
    if not settings.transfer:
        raise Undecided("nothing is transferred in this variant")
    parts = []
    for data in settings.transfer:

        def estimate(rows, data=data) -> Estimate:
            found = [[transferred(settings, record.id, data) for record in row] for row in rows]
            same_images(f"transfer to {data.dataset}", found)
            right = [[hits(each, "finetune") for each in row] for row in found]
            return paired_difference([row[0] for row in right], [row[1] for row in right])

        parts.append(paired(f"{V3} − {SUPERVISED} on {data.dataset}", [usual(cells), other(cells, SUPERVISED)], estimate, readout))
    return parts


def transferred(settings: Settings, run: str, data):
    """The record of a run's encoder fine-tuned on other images with all their labels."""
    record = find(transfers.readout(settings, run, data, 1.0))
    if record is None:
        raise Undecided(f"run {run} was not fine-tuned on {data.dataset}")
    return record


CLAIMS = {"M1": m1, "M2": m2, "M3": m3, "M4": m4, "M5": m5, "M6": m6, "M7": m7}


def verdicts(study, cells: pd.DataFrame) -> pd.DataFrame:
    judged = CLAIMS | {"M8": partial(m8, settings=study.settings)}
    return judge_study(study.name, judged, cells, study.scope, study.first, readout=study.settings.readout)
