"""The backbone contest: which runs each claim compares. `cells` has one row a run: part, backbone, optimizer, pretext, schedule,
rate_factor, seed, run, record (None where the run is missing), encoder, stem."""

from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from helpers import studies
from helpers.insight.cka import linear_cka
from helpers.judging.arms import Arm, arm, contrast, hits, paired, ranking
from helpers.judging.claims import Undecided, judge_study
from helpers.judging.competence import FALLEN, REASONS
from helpers.judging.statistics import Estimate, difference_of_groups, paired_values
from helpers.runs import records
from helpers.studies.backbone_contest.settings import ALONE, BACKBONES, OPTIMIZERS, REFERENCE, RELEASED, TRIPLE

SEPARATE = (8, 9, 1)  # CIFAR-10's ship, truck and automobile
SHORT = {ALONE: "contrast", TRIPLE: "three pretexts", RELEASED: "three pretexts as released"}


published = partial(studies.published, "backbone_contest")


def entrant(cells: pd.DataFrame, backbone: str, optimizer: str = REFERENCE) -> Arm:
    """A backbone under an optimizer in the contest itself."""
    return arm(
        cells,
        backbone if optimizer == REFERENCE else f"{backbone} with {optimizer}",
        part="contest",
        backbone=backbone,
        optimizer=optimizer,
    )


def pretext_arm(cells: pd.DataFrame, backbone: str, pretext: str) -> Arm:
    """A backbone under a pretext, from the fairness runs or, where they do not repeat it, from the contest."""
    name = f"{backbone} ({pretext})"
    own = arm(cells, name, part="fairness", backbone=backbone, pretext=pretext)
    return own if own.records else arm(cells, name, part="contest", backbone=backbone, pretext=pretext, optimizer=REFERENCE)


def fairness_arms(cells: pd.DataFrame) -> list[tuple[str, str]]:
    """(backbone, pretext) of the fairness test: ViT and ResNet under one pretext and three, and SiT's released form where it was asked for."""
    asked = [("ViT", RELEASED)] if (cells["pretext"] == RELEASED).any() else []
    return [("ViT", ALONE), ("ViT", TRIPLE), *asked, ("ResNet", ALONE), ("ResNet", TRIPLE)]


def rate_arm(cells: pd.DataFrame, backbone: str, schedule: str, factor: float) -> Arm:
    """A backbone trained at a multiple of its range-tested rate; at a wrong one it may fail."""
    name = f"{backbone}, {schedule}, {factor:g} x rate"
    found = arm(cells, name, part="sensitivity", backbone=backbone, schedule=schedule, rate_factor=factor)
    return found if factor == 1 else replace(found, excused=REASONS)


def range_tests(cells: pd.DataFrame) -> pd.DataFrame:
    """A row for each range test that the runs asked for: backbone, optimizer, run (its id), record or None."""
    asked = {}
    for row in cells[cells["test"] != ""].itertuples():
        family = row.optimizer.split(" @")[0] + ("" if row.pretext == ALONE else f", {SHORT[row.pretext]}")
        asked.setdefault((row.backbone, family), row.test)
    rows = [{"backbone": b, "optimizer": o, "run": run, "record": records.find(run)} for (b, o), run in asked.items()]
    return pd.DataFrame(rows, columns=["backbone", "optimizer", "run", "record"])


def optimizers(cells: pd.DataFrame) -> list[str]:
    """The paper's four, then whatever else the contest ran."""
    return list(dict.fromkeys([*OPTIMIZERS, *cells.loc[cells["part"] == "contest", "optimizer"]]))


def c1(cells, readout, reading):
    return ranking([entrant(cells, backbone) for backbone in BACKBONES], readout)


def c2(cells, readout, reading):
    """The best optimizer is chosen on every other test image and judged on the rest: a choice must not see what judges it."""
    return c1(cells, readout, reading) + ranking(
        [_best(cells, backbone, readout) for backbone in BACKBONES], readout, "best: ", slice(1, None, 2)
    )


def _best(cells, backbone: str, readout: str) -> Arm:
    """A backbone's best arm on the even test images; an arm without records, to be called missing, unless all four were run."""
    arms = {optimizer: entrant(cells, backbone, optimizer) for optimizer in OPTIMIZERS}
    absent = [optimizer for optimizer, each in arms.items() if not each.records]
    asked = all(each.records or each.lacking for each in arms.values())  # else no run of this variant makes the choice possible
    lacking = tuple(run for each in arms.values() for run in each.lacking if asked)  # the choice needs them all
    if absent:
        return Arm(f"{backbone} with {', '.join(absent)}", {}, lacking)
    means = {name: np.mean([hits(record, readout)[::2].mean() for record in each.records.values()]) for name, each in arms.items()}
    name = max(means, key=means.get)
    return replace(arms[name], name=f"{backbone} ({name})", lacking=lacking)


def c2b(cells, readout, reading):
    return [part for name in OPTIMIZERS for part in ranking([entrant(cells, backbone, name) for backbone in BACKBONES], readout)]


def c2c(cells, readout, reading):
    rival = published()["prior"]["simclr_resnet56"]["accuracy"]
    return [contrast(f"ResNet with {name} − {rival}", [(entrant(cells, "ResNet", name), 1.0)], readout, rival) for name in OPTIMIZERS]


def c3(cells, readout, reading):
    rival = published()["prior"]["simclr_resnet56"]["accuracy"]
    return [contrast(f"ResNet − {rival}", [(entrant(cells, "ResNet"), 1.0)], readout, rival)]


def c4(cells, readout, reading):
    """In our form of SiT, and in the released one as well where it was asked for: then the claim has to hold in both."""
    forms = [pretext for backbone, pretext in fairness_arms(cells) if backbone == "ViT" and pretext != ALONE]
    alone = pretext_arm(cells, "ViT", ALONE)
    return [contrast(f"{SHORT[form]} − contrast alone", [(pretext_arm(cells, "ViT", form), 1.0), (alone, -1.0)], readout) for form in forms]


def c5(cells, readout, reading):
    """One value of CKA for each seed, so the interval is over seeds alone: resampled images would repeat and look alike."""

    def estimate(rows) -> Estimate:
        between = [alikeness(row) for row in rows]
        return paired_values([matrix[1, 2] for matrix in between], [max(matrix[0, 1], matrix[0, 2]) for matrix in between])

    return [paired("CKA(ConvNeXt, ViT) − the ResNet's larger", [entrant(cells, backbone) for backbone in BACKBONES], estimate)]


def alikeness(records) -> np.ndarray:
    """Debiased linear CKA between the features of every two records, on the same test images."""
    features = [np.asarray(record.arrays.get("cka.features", np.empty((0, 0))), dtype=np.float32) for record in records]
    if len({len(each) for each in features}) != 1 or len(features[0]) < 4:
        raise Undecided("the runs hold no CKA features of the same test images")
    matrix = np.array([[float(linear_cka(x, y, debiased=True)) if x is not y else 1.0 for y in features] for x in features])
    if not np.isfinite(matrix).all():
        raise Undecided("a run's features are the same for every image, so CKA is undefined")
    return matrix


def c6(cells, readout, reading):
    if reading != "fair":
        raise Undecided("judged in the reading `fair` alone")
    return c1(cells, readout, reading)


def c7(cells, readout, reading):
    """By the kNN accuracy of each epoch, one number a run: the interval is over seeds alone. To have fallen is what it asks about."""
    arms = [replace(entrant(cells, backbone), excused=(FALLEN,)) for backbone in BACKBONES]

    def against(index):
        def estimate(rows) -> Estimate:
            ends = np.array([[peak_and_last(record) for record in row] for row in rows])  # [seeds, backbones, (peak, last)]
            order = np.argsort(ends[:, :, 1].mean(axis=0))
            gaps = np.diff(ends[:, order, 1], axis=1)
            return paired_values(gaps[:, gaps.mean(axis=0).argmin()], ends[:, index, 0] - ends[:, index, 1])

        return estimate

    return [
        paired(f"smallest gap − flattery of {backbone} (kNN by epoch, over seeds alone)", arms, against(index))
        for index, backbone in enumerate(BACKBONES)
    ]


def peak_and_last(record) -> tuple[float, float]:
    """The best and the last kNN accuracy of a run's epochs."""
    curve = record.metrics["knn"].dropna() if "knn" in record.metrics else ()
    if len(curve) == 0:
        raise Undecided(f"run {record.id} measured no kNN accuracy by epoch")
    return float(curve.max()), float(curve.iloc[-1])


def ends(own: Arm) -> list[tuple[float, float]]:
    """Of each of its records that measured them."""
    found = []
    for record in own.records.values():
        with suppress(Undecided):
            found.append(peak_and_last(record))
    return found


def c8(cells, readout, reading):
    """Accuracy lost is that at the tested rate minus the mean of those at a tenth and at ten times of it."""
    tried = [backbone for backbone in BACKBONES if ((cells["part"] == "sensitivity") & (cells["backbone"] == backbone)).any()]
    if not tried:
        raise Undecided("no run of the rate sweep in this variant")
    for row in cells[cells["part"] == "sensitivity"].itertuples():
        if getattr(row.record, "manifest", {}).get("resolved", {}).get("rate_at_minimum", 0) is None:
            raise Undecided("the range test had no minimum: every run took the default rate, so no rate was wrong on purpose")
    weights = [("fixed", 1.0), ("one-cycle", -1.0)]
    factors = [(1.0, 1.0), (0.1, -0.5), (10.0, -0.5)]
    return [
        contrast(
            f"{backbone}: lost, fixed − one-cycle",
            [(rate_arm(cells, backbone, s, f), v * w) for s, v in weights for f, w in factors],
            readout,
        )
        for backbone in tried
    ]


def c9(cells, readout, reading):
    def estimate(rows) -> Estimate:
        for (record,) in rows:
            if record.manifest.get("dataset", {}).get("name") != "cifar10":
                raise Undecided("classes 8, 9 and 1 are CIFAR-10's ship, truck and automobile; this is another dataset")
            if "silhouette" not in record.arrays or "tsne.labels" not in record.arrays:
                raise Undecided(f"run {record.id} holds no silhouettes")
        labels = np.asarray(rows[0][0].arrays["tsne.labels"])
        if any(not np.array_equal(labels, record.arrays["tsne.labels"]) for (record,) in rows):
            raise Undecided("the silhouettes are not of the same test images")
        scores = np.array([record.arrays["silhouette"] for (record,) in rows], dtype=float)
        apart = np.isin(labels, SEPARATE)
        return difference_of_groups(scores[:, apart], scores[:, ~apart])

    return [paired(f"{backbone}: classes 8, 9, 1 − others", [entrant(cells, backbone)], estimate) for backbone in BACKBONES]


CLAIMS = {"C1": c1, "C2": c2, "C2b": c2b, "C2c": c2c, "C3": c3, "C4": c4, "C5": c5, "C6": c6, "C7": c7, "C8": c8, "C9": c9}


def verdicts(study, cells: pd.DataFrame) -> pd.DataFrame:
    return judge_study(study.name, CLAIMS, cells, study.scope, study.first, readout=study.settings.readout, reading=study.reading)
