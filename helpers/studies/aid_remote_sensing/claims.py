"""The study of scenes from above: the claims D1 to D7, and the arms they compare."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from helpers import studies
from helpers.judging.arms import Arm, arm, contrast, paired, ranking
from helpers.judging.claims import Undecided, judge_study
from helpers.judging.competence import NARROW, REASONS, UNTRAINED
from helpers.judging.statistics import Estimate, paired_values
from helpers.runs import records
from helpers.studies.aid_remote_sensing.runs import setting_name
from helpers.studies.aid_remote_sensing.settings import (
    ALTERED_ON,
    AS_RUN,
    BACKBONES,
    COMPANION,
    CONTRAST,
    CORRECT,
    MAIN,
    SCENES,
    SUPERVISED,
    TESTED,
)

published = partial(studies.published, "aid_remote_sensing")


def range_tests(cells: pd.DataFrame) -> pd.DataFrame:
    """A row for each range test of the forensic grid: backbone, optimizer (what its column shows), run (its id), record or None."""
    asked = cells[(cells["part"] == "forensic") & (cells["test"] != "")].drop_duplicates("test")
    found = asked[["backbone", "optimizer"]].assign(run=asked["test"])
    return found.assign(record=[records.find(run) for run in found["run"]])


def forensic(cells: pd.DataFrame, backbone: str, scaling: str, rate: str) -> Arm:
    """A backbone in one setting of the forensic grid; with their scaling and rate it may fail, which is what claims say of it."""
    found = arm(cells, f"{backbone} ({setting_name(scaling, rate)})", part="forensic", backbone=backbone, scaling=scaling, rate=rate)
    return replace(found, excused=REASONS) if (scaling, rate) == AS_RUN else found


def main(cells: pd.DataFrame, backbone: str) -> Arm:
    """A backbone in the corrected contest."""
    return replace(forensic(cells, backbone, *MAIN), name=backbone)


def untrained(found: Arm) -> Arm:
    """The same runs before their first step."""
    told = {seed: record for seed, record in found.records.items() if any(name.endswith("_untrained") for name in record.evaluations)}
    return replace(found, name=f"{found.name}, untrained", records=told, before_training=True)


def at_size(cells: pd.DataFrame, backbone: str, size: int) -> Arm:
    """A backbone at a resolution; the main one is that of the corrected contest."""
    own = arm(cells, f"{backbone} at {size} px", part="resolution", backbone=backbone, size=size)
    return own if own.records else arm(cells, own.name, part="forensic", backbone=backbone, size=size, scaling=CORRECT, rate=TESTED)


def resolutions(cells: pd.DataFrame) -> list[int]:
    return sorted({int(size) for size in cells.loc[cells["part"].isin(("forensic", "resolution")), "size"]})


def altered(cells: pd.DataFrame, added: str) -> Arm:
    """Contrast with an augmentation added; without a name the corrected contest's run."""
    if not added:
        return main(cells, ALTERED_ON)
    return arm(cells, f"{ALTERED_ON} with {added}", part="augmentation", backbone=ALTERED_ON, added=added)


def augmentations(cells: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(cells.loc[cells["part"] == "augmentation", "added"]))


def pretext(cells: pd.DataFrame, name: str, data: str) -> Arm:
    """What it adds to the untrained encoder is measured: nothing is an answer."""
    return replace(arm(cells, f"{name} on {data}", part="pretext", pretext=name, data=data), excused=(UNTRAINED, NARROW))


def pretexts(cells: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(cells.loc[cells["part"] == "pretext", "pretext"]))


def supervised(cells: pd.DataFrame, backbone: str) -> Arm:
    return arm(cells, f"{backbone}, supervised", part="supervised", backbone=backbone, pretext=SUPERVISED)


def counts(cells: pd.DataFrame) -> list[int]:
    return sorted({int(images) for images in cells.loc[cells["part"] == "count", "images"]})


def of_count(cells: pd.DataFrame, backbone: str, images: int) -> Arm:
    """A backbone trained by contrast on so many of the companion's images."""
    return arm(cells, f"{backbone}, {images:,} images", part="count", backbone=backbone, images=images, pretext=CONTRAST)


def classes_of(found: Arm) -> int:
    for record in found.records.values():
        return len(record.manifest["classes"])
    raise Undecided(f"no run of {found.name}")


# -- claims -------------------------------------------------------------------------------------------------------------


def d1(cells, readout):
    """In the corrected contest: with their scaling and their rates the nets were not given the same chance."""
    return [part for other in BACKBONES[1:] for part in ranking([main(cells, BACKBONES[0]), main(cells, other)], readout)]


def d2(cells, readout):
    vit = forensic(cells, "ViT", *AS_RUN)
    chance = 100 / classes_of(vit)
    return [contrast(f"{vit.name} − chance ({chance:.1f})", [(vit, 1.0)], readout, chance)]


def d3(cells, readout):
    """Least squares on the logarithm of the side: a weighted sum of accuracies, seeds and images paired."""
    sizes = resolutions(cells)
    if len(sizes) < 2:
        raise Undecided("one resolution has no slope")
    at = np.log2(np.array(sizes, dtype=float))
    weights = (at - at.mean()) / ((at - at.mean()) ** 2).sum()
    return [
        contrast(
            f"{backbone}: points a doubling of the side",
            [(at_size(cells, backbone, size), float(weight)) for size, weight in zip(sizes, weights, strict=True)],
            readout,
        )
        for backbone in BACKBONES
    ]


def d4(cells, readout):
    if not augmentations(cells):
        raise Undecided("no augmentation was added in this variant")
    plain = altered(cells, "")
    return [contrast(f"with {added} − without", [(altered(cells, added), 1.0), (plain, -1.0)], readout) for added in augmentations(cells)]


def d5(cells, readout):
    """Two datasets have no test images in common, so each run gives one number, what it gained, and the interval is over seeds alone."""

    def gained(rows) -> Estimate:
        values = np.array([[gain(record, readout) for record in row] for row in rows])
        return paired_values(values[:, 0], values[:, 1])

    if not pretexts(cells):
        raise Undecided("no pretext was trained in this variant")
    return [
        paired(f"gain of {name}: photographs − scenes", [pretext(cells, name, COMPANION), pretext(cells, name, SCENES)], gained)
        for name in pretexts(cells)
    ]


def gain(record, readout: str) -> float:
    """Points of accuracy that training added to the encoder's first weights."""
    found = [record.evaluations.get(name, {}).get("top1") for name in (readout, f"{readout}_untrained")]
    if None in found:
        raise Undecided(f"run {record.id} was not read out by {readout} before and after training")
    return found[0] - found[1]


def d6(cells, readout):
    """Whether the ViT learns with right scaling and a tested rate is what is asked: it may fail there too."""
    good, bad = (replace(forensic(cells, "ViT", *setting), excused=REASONS) for setting in (MAIN, AS_RUN))
    return [contrast(f"{good.name} − {bad.name}", [(good, 1.0), (bad, -1.0)], readout)]


def d7(cells, readout):
    found = counts(cells)
    if len(found) < 2:
        raise Undecided("one number of images shows no difference")
    few, many = found[0], found[-1]
    signed = [("ResNet", few, 1.0), ("ViT", few, -1.0), ("ResNet", many, -1.0), ("ViT", many, 1.0)]
    name = f"ResNet − ViT at {few:,} images, minus the same at {many:,}"
    return [contrast(name, [(of_count(cells, backbone, images), weight) for backbone, images, weight in signed], readout)]


CLAIMS = {"D1": d1, "D2": d2, "D3": d3, "D4": d4, "D5": d5, "D6": d6, "D7": d7}


def verdicts(study, cells: pd.DataFrame) -> pd.DataFrame:
    return judge_study(study.name, CLAIMS, cells, study.scope, study.first, readout=study.settings.readout)
