"""The tables of the study of scenes, from records alone: each returns (table, runs behind it). What was not run stands there, missing."""

import numpy as np
import pandas as pd

from helpers.evaluation.metrics import per_class
from helpers.judging.arms import Arm, accuracy, measured
from helpers.report.costs import found_by, trials_of
from helpers.studies.aid_remote_sensing import claims as aid
from helpers.studies.aid_remote_sensing.runs import SETTINGS
from helpers.studies.aid_remote_sensing.settings import AS_RUN, BACKBONES, COMPANION, CONTRAST, SCENES, TESTED, THEIRS, Settings

Table = tuple[pd.DataFrame, list[str]]


def forensic_table(cells: pd.DataFrame, readout: str) -> Table:
    """Scaling x rate x backbone, with what each net was worth before training and what was published for it as it was run."""
    rows, runs = [], []
    for backbone in BACKBONES:
        for setting in SETTINGS:
            found = aid.forensic(cells, backbone, *setting)
            theirs = aid.published()["accuracy"].get(backbone) if setting == AS_RUN else None
            row = {"backbone": backbone, "scaling": setting[0], "rate": setting[1]} | measured(found, readout)
            row |= {"mean over classes": mean_class(found, readout), "linear": accuracy(found, "linear")[0].mean}
            row |= {"untrained": accuracy(aid.untrained(found), f"{readout}_untrained")[0].mean, "max rate": _rate(found)}
            row |= {"published, last": theirs and theirs["last"], "published, maximum": theirs and theirs["maximum"]}
            rows.append(row | {"note": _note(found, readout)})
            runs += found.runs
    return pd.DataFrame(rows), runs


def rate_table(cells: pd.DataFrame) -> Table:
    """The rate that each range test chose, or trials, and how; beside it the one that was published, and how the trials read."""
    rows, runs = [], []
    tested = cells[(cells["rate"] == TESTED) & (cells["pretext"] == CONTRAST)]
    tested = tested.drop_duplicates(["backbone", "images", "data", "optimizer"])
    for row in tested.itertuples():
        resolved = getattr(row.record, "manifest", {}).get("resolved", {})
        rows.append(
            {
                "backbone": row.backbone,
                "images": f"{row.images:,} photographs" if row.data == COMPANION else "scenes",
                "what": row.optimizer,
                "max rate": resolved.get("rate"),
                "rate at lowest loss": resolved.get("rate_at_minimum"),
                "found by": found_by(resolved),
                "published max rate": aid.published()["maximum_rate"].get(row.backbone) if row.scaling == THEIRS else None,
            }
            | {f"at {rate}": value for rate, value in resolved.get("trials", {}).items()}
        )
        runs += [name for name in (row.run, row.test) if name] if resolved else []
    return pd.DataFrame(rows), list(dict.fromkeys([*runs, *trials_of(tested)]))


def reference_table(cells: pd.DataFrame, readout: str) -> Table:
    """Each backbone untrained, by contrast and with labels: all images alike, and every class alike, for classes differ in size."""
    rows, runs = [], []
    for backbone in BACKBONES:
        own = aid.main(cells, backbone)
        theirs = {"contrast": f"{aid.published()['accuracy'][backbone]['last']:g}", "with labels": aid.published()["supervised"]["says"]}
        for what, found, suffix in (
            ("untrained", aid.untrained(own), "_untrained"),
            ("contrast", own, ""),
            ("with labels", aid.supervised(cells, backbone), ""),
        ):
            row = {"backbone": backbone, "trained": what} | measured(found, readout + suffix)
            row |= {"mean over classes": None if suffix else mean_class(found, readout)}
            row |= {"linear": accuracy(found, f"linear{suffix}")[0].mean}
            row |= {"linear, mean over classes": None if suffix else mean_class(found, "linear")}
            rows.append(row | {"published": theirs.get(what), "note": _note(found, readout)})
            runs += found.runs
    return pd.DataFrame(rows), list(dict.fromkeys(runs))


def class_table(cells: pd.DataFrame, readout: str) -> Table:
    """Accuracy of each class under each backbone, hardest first, with how many test images it has."""
    arms = [aid.main(cells, backbone) for backbone in BACKBONES]
    found = {each.name: class_accuracies(each, readout) for each in arms}
    there = {name: values for name, values in found.items() if values is not None}
    if not there:
        return pd.DataFrame(columns=["class", "test images", *BACKBONES]), []
    record = next(record for each in arms for record in each.records.values())
    labels = np.asarray(record.arrays["labels"])
    names = record.manifest["classes"]
    table = pd.DataFrame({"class": names, "test images": np.bincount(labels, minlength=len(names))})
    for name, values in found.items():
        table[name] = np.nan if values is None else values
    order = table[list(there)].mean(axis=1).sort_values(kind="stable").index
    return table.loc[order].reset_index(drop=True), [run for each in arms for run in each.runs]


def resolution_table(cells: pd.DataFrame, readout: str) -> Table:
    rows, runs = [], []
    for backbone in BACKBONES:
        for size in aid.resolutions(cells):
            found = aid.at_size(cells, backbone, size)
            before = accuracy(aid.untrained(found), f"{readout}_untrained")[0].mean
            stems = [record.manifest.get("stem") for record in found.records.values()]
            row = {"backbone": backbone, "side (px)": size, "stem": stems[0] if stems else None}
            row |= measured(found, readout) | {"mean over classes": mean_class(found, readout)}
            rows.append(row | {"untrained": before, "max rate": _rate(found), "note": _note(found, readout)})
            runs += found.runs
    return pd.DataFrame(rows), runs


def pretext_table(cells: pd.DataFrame, readout: str) -> Table:
    """Rotation and patches as augmentation of contrast, and rotation and inpainting as pretexts of their own."""
    rows, runs = [], []
    asked = [
        ("contrast" + (f" with {added}" if added else ""), SCENES, aid.altered(cells, added)) for added in ("", *aid.augmentations(cells))
    ]
    asked += [(f"{name} as pretext", data, aid.pretext(cells, name, data)) for name in aid.pretexts(cells) for data in (SCENES, COMPANION)]
    for what, data, found in asked:
        before = accuracy(aid.untrained(found), f"{readout}_untrained")[0].mean
        row = {"trained by": what, "on": data} | measured(found, readout)
        row |= {"mean over classes": mean_class(found, readout), "untrained": before}
        after = row["accuracy"]
        row["gained"] = None if before is None or after is None else after - before
        rows.append(row | {"linear": accuracy(found, "linear")[0].mean, "note": _note(found, readout)})
        runs += found.runs
    return pd.DataFrame(rows), list(dict.fromkeys(runs))


def count_table(cells: pd.DataFrame, readout: str) -> Table:
    """Few photographs and many, in equally many steps, and what the nets trained on many are worth on scenes."""
    rows, runs = [], []
    for backbone in BACKBONES:
        for images in aid.counts(cells):
            found = aid.of_count(cells, backbone, images)
            if not found.records and not ((cells["part"] == "count") & (cells["backbone"] == backbone) & (cells["images"] == images)).any():
                continue
            steps = [int(record.metrics["step"].iloc[-1]) for record in found.records.values() if "step" in record.metrics]
            row = {"backbone": backbone, "photographs": images, "steps": steps[0] if steps else None}
            rows.append(row | measured(found, readout) | {"linear": accuracy(found, "linear")[0].mean, "note": _note(found, readout)})
            runs += found.runs
    return pd.DataFrame(rows), runs


def transfer_table(cells: pd.DataFrame, s: Settings, readout: str) -> Table:
    """Encoders trained on many photographs and probed on scenes, beside those trained on scenes and those not trained at all."""
    rows, runs = [], []
    size, images = s.companion.image_size, max(aid.counts(cells), default=0)
    near = min(aid.resolutions(cells), key=lambda side: abs(np.log(side / size)), default=size)
    for backbone in BACKBONES:
        there = aid.of_count(cells, backbone, images)
        for what, found, suffix, side in (
            ("nothing", aid.untrained(there), "_transfer_untrained", size),
            (f"{s.companion.dataset}, {images:,} images", there, "_transfer", size),
            *((f"scenes, {side} px", aid.at_size(cells, backbone, side), "", side) for side in dict.fromkeys((near, s.image_size))),
        ):
            row = {"backbone": backbone, "encoder trained on": what, "read out at (px)": side}
            rows.append(
                row
                | measured(found, readout + suffix)
                | {"linear": accuracy(found, f"linear{suffix}")[0].mean, "note": _note(found, readout)}
            )
            runs += found.runs
    return pd.DataFrame(rows), list(dict.fromkeys(runs))


def class_accuracies(found: Arm, readout: str) -> np.ndarray | None:
    """Accuracy of each class in percent, mean over the sound runs; None where none has predictions."""
    values = [
        per_class(record.arrays[f"{readout}.predictions"], record.arrays["labels"], len(record.manifest["classes"]))
        for record in found.sound
        if f"{readout}.predictions" in record.arrays
    ]
    return np.mean(values, axis=0) if values else None


def mean_class(found: Arm, readout: str) -> float | None:
    """Accuracy with every class counting alike, whatever its size."""
    values = class_accuracies(found, readout)
    return None if values is None else float(np.nanmean(values))


def _rate(found: Arm) -> float | None:
    return next((record.manifest.get("resolved", {}).get("rate") for record in found.records.values()), None)


def _note(found: Arm, readout: str) -> str:
    """What a reader of the number must know: missing or collapsed runs, and a rate that no range test chose."""
    if not found.records:
        return "missing"
    resolved = [record.manifest.get("resolved", {}) for record in found.records.values()]
    guessed = any(each.get("range_test") and each.get("rate_at_minimum") is None for each in resolved)
    return "; ".join(part for part in (found.flagged(readout), "no minimum in its range test: default rate" if guessed else "") if part)
