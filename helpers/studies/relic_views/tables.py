"""The tables of the study of views, from records alone: each returns (table, runs behind it). What was not run stands there, missing."""

import numpy as np
import pandas as pd

from helpers.evaluation.backgrounds import KINDS
from helpers.evaluation.corruptions import CORRUPTIONS
from helpers.evaluation.robustness import BACKGROUNDS, CORRUPTED
from helpers.evaluation.shifts import SHIFTS
from helpers.judging.arms import Arm, accuracy, before, measured
from helpers.judging.claims import Part, Undecided
from helpers.judging.wording import in_words
from helpers.runs.labels import LOST
from helpers.studies.relic_views import claims as views
from helpers.studies.relic_views.runs import passes, views_of
from helpers.studies.relic_views.settings import (
    ARMS,
    FORMS,
    IMAGES,
    PASSES,
    RIVALS,
    SUPERVISED,
    WHOLE,
    Settings,
)

Table = tuple[pd.DataFrame, list[str]]
HARDNESS = f"mCE, {SUPERVISED} = 100"


def rate_table(cells: pd.DataFrame, s: Settings) -> Table:
    """Every rate that was tried, read on training images that were held out, and the preset's."""
    tried = cells[cells["part"] == "rates"]
    rows, runs = [], []
    for name in dict.fromkeys(tried["arm"]):
        own = tried[tried["arm"] == name]
        row = {"method": name, "preset": s.rates.get(name, s.rates["ReLIC"])}
        for found in own.itertuples():
            told = getattr(found.record, "evaluations", {}).get("linear", {}).get("top1")
            row[f"at {found.rate:g}"] = told
            runs += [found.run] if told is not None else []
        rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else ["method", "preset"]), runs


def ladder_table(cells: pd.DataFrame, s: Settings) -> Table:
    """Each arm of the ladder: what it sees, what a step costs, what it learned."""
    rows, runs = [], []
    for name in ARMS:
        found, seen = views.of(cells, name), views_of(s, name)
        row = {"arm": name, "large views": seen["count"], "small views": seen["small"], "masked": seen["mask"]}
        row |= {"passes an image": passes(s, name)} | measured(found, s.readout)
        rows.append(
            row | {"kNN": accuracy(found, "knn200_t0.1")[0].mean, "untrained": before(found, s.readout), "note": _note(found, s.readout)}
        )
        runs += found.runs
    return pd.DataFrame(rows), runs


def rival_table(cells: pd.DataFrame, s: Settings) -> Table:
    """The whole beside its rivals, at equal images seen and at equal arithmetic; both are shown of each."""
    rows, runs = [], []
    for name, spent in ((WHOLE, IMAGES), *((rival, spent) for spent in (IMAGES, PASSES) for rival in RIVALS)):
        found = views.of(cells, name, spent=spent)
        record = next(iter(found.records.values()), None)
        row = {"method": name, "equal": "" if name == WHOLE else spent, "passes an image": passes(s, name)}
        row |= {"epochs": None, "images seen": None, "training PFLOP": None, "minutes": None}
        if record:
            epochs, images = len(record.metrics), record.manifest["train_images"]
            row |= {"epochs": epochs, "images seen": epochs * images, "minutes": record.manifest["training_seconds"] / 60}
            flops = record.manifest.get("training_flops")
            row["training PFLOP"] = flops and flops / 1e15
        rows.append(row | measured(found, s.readout) | {"kNN": accuracy(found, "knn200_t0.1")[0].mean, "note": _note(found, s.readout)})
        runs += found.runs
    return pd.DataFrame(rows).astype({"epochs": "Int64", "images seen": "Int64"}), runs


def net_table(cells: pd.DataFrame, s: Settings) -> Table:
    """The whole and supervised training of each net, at equal images seen."""
    rows, runs = [], []
    for net in views.nets(cells):
        own, labelled = (views.of(cells, name, net) for name in (WHOLE, SUPERVISED))
        record = next(iter({**own.records, **labelled.records}.values()), None)
        about = record.manifest if record else {}
        row = {"net": net, "parameters": about.get("parameters"), "multiply-adds": about.get("macs")}
        row |= {"ReLICv2": accuracy(own, s.readout)[0].mean, "supervised": accuracy(labelled, s.readout)[0].mean}
        row |= {"n": len(own.records), "untrained": before(own, s.readout), "published": views.published()["linear"].get(net)}
        rows.append(
            row | {"difference [95 %]": _difference(views.minus(cells, own, labelled, s.readout))} | {"note": _note(own, s.readout)}
        )
        runs += [*own.runs, *labelled.runs]
    return pd.DataFrame(rows), runs


def form_table(cells: pd.DataFrame, s: Settings) -> Table:
    """The whole as it is here, and with one thing as it was published."""
    whole = views.of(cells, WHOLE)
    rows, runs = [], [*whole.runs]
    for name in (WHOLE, *FORMS):
        found = views.of(cells, name)
        row = {"arm": name} | measured(found, s.readout)
        row["minus ReLICv2 [95 %]"] = None if name == WHOLE else _difference(views.minus(cells, found, whole, s.readout))
        rows.append(row | {"note": _note(found, s.readout)})
        runs += found.runs
    return pd.DataFrame(rows), runs


def corruption_table(cells: pd.DataFrame) -> Table:
    """Accuracy under each corruption, mean over five severities, and what it comes to: the share kept, and the error beside supervised
    training's, corruption by corruption (mCE)."""
    arms = [each for each in views.every_arm(cells) if _read(each)]
    usual = next((each for each in arms if each.name == SUPERVISED), None)
    rows = []
    for each in arms:
        told = corruptions_of(each)
        row = {"arm": each.name, "n": len(_read(each)), "untouched": _mean(each, "top1")}
        row |= {"all 15": told.mean(), "share kept (%)": share_kept(each)}
        row[HARDNESS] = mean_corruption_error(each, usual) if usual else None
        rows.append(row | dict(zip(CORRUPTIONS, told.mean(1), strict=True)))
    return pd.DataFrame(rows, columns=None if rows else ["arm"]), [record.id for each in arms for record in _read(each)]


def shift_table(cells: pd.DataFrame) -> Table:
    """Accuracy under each level of occlusion, scale and style."""
    arms = [each for each in views.every_arm(cells) if _read(each)]
    rows = []
    for each in arms:
        row = {"arm": each.name, "n": len(_read(each)), "untouched": _mean(each, "top1")}
        for group, levels in SHIFTS.items():
            row |= {f"{group}: {level}": _mean(each, group, level) for level in levels}
        rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else ["arm"]), [record.id for each in arms for record in _read(each)]


def background_table(cells: pd.DataFrame) -> Table:
    """Accuracy on foreground, background and both exchanged, over the images that have both; the gap is mixed same minus mixed random."""
    arms = [each for each in views.every_arm(cells) if _read(each)]
    rows = []
    for each in arms:
        row = {"arm": each.name, "n": len(_read(each)), "images": int(_mean(each, "with_background") or 0)}
        rows.append(row | {kind: _mean(each, BACKGROUNDS, kind) for kind in KINDS} | {"gap": _gap(each)})
    return pd.DataFrame(rows, columns=None if rows else ["arm"]), [record.id for each in arms for record in _read(each)]


def label_table(cells: pd.DataFrame) -> Table:
    """Frozen and fine-tuned with few labels, for what was read out so; the same net from scratch beside it."""
    rows, runs = [], []
    for name in (WHOLE, *RIVALS):
        found = [record for record in views.of(cells, name).sound if "labels.fractions" in record.arrays]
        if not found:
            rows.append({"method": name, "note": "missing"})
            continue
        for fraction in dict.fromkeys(float(each) for each in found[0].arrays["labels.fractions"]):
            row = {"method": name, "labels": f"{100 * fraction:g} %", "n": len(found)}
            for told, who, how in (
                ("frozen", "trained", "linear"),
                ("fine-tuned", "trained", "finetune"),
                ("from scratch", "untrained", "finetune"),
            ):
                row[told] = float(np.mean([_few(record, who, how, fraction) for record in found]))
            rows.append(row)
        runs += [record.id for record in found]
    return pd.DataFrame(rows), runs


def _few(record, who: str, how: str, fraction: float) -> float:
    chosen = np.isclose(record.arrays["labels.fractions"], fraction)
    ranks = record.arrays[f"labels.{who}.{how}"][chosen]
    ranks = ranks[~(ranks == LOST).all(axis=1)]  # a draw whose fine-tuning diverged
    return 100 * float((ranks == 0).mean()) if len(ranks) else float("nan")


# -- what is read from an arm's records ---------------------------------------------------------------------------------


def corruptions_of(found: Arm) -> np.ndarray:
    """Accuracies [15, 5] in percent, mean over the runs."""
    return np.mean([[record.evaluations["robust"][CORRUPTED][name] for name in CORRUPTIONS] for record in _read(found)], axis=0)


def share_kept(found: Arm) -> float:
    rows = np.array([[views.shares(record, CORRUPTED).mean(), views.altered(record, "clean").mean()] for record in _read(found)])
    return float(views.kept(rows).mean())


def mean_corruption_error(found: Arm, usual: Arm) -> float:
    """Errors summed over severities over those of the usual net, mean over corruptions, in percent."""
    own, theirs = (100 - corruptions_of(each) for each in (found, usual))
    return 100 * float((own.sum(1) / theirs.sum(1)).mean())


def _read(found: Arm) -> list:
    """The runs that were read out on altered images."""
    return [record for record in found.sound if "robust" in record.evaluations]


def _mean(found: Arm, *keys: str) -> float | None:
    values = []
    for record in _read(found):
        told = record.evaluations["robust"]
        for name in keys:
            told = told.get(name) if told is not None else None
        values.append(told)
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _gap(found: Arm) -> float | None:
    try:
        gaps = [views.gaps(record).mean() for record in _read(found)]
    except Undecided:
        return None
    return 100 * float(np.mean(gaps)) if gaps else None


def _difference(part: Part) -> str:
    if part.estimate is None or part.estimate.low is None:
        return part.missing or "missing"
    return in_words(part.estimate.value, part.estimate.low, part.estimate.high)


def _note(found: Arm, readout: str) -> str:
    return found.flagged(readout) if found.records else "missing"
