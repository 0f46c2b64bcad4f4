"""The tables of label efficiency. Each function returns (frame, ids of the runs behind it); what was not read stands there as missing."""

import numpy as np
import pandas as pd

from helpers.judging.arms import same_images
from helpers.judging.claims import Undecided
from helpers.judging.statistics import paired_difference
from helpers.runs.labels import NEAREST
from helpers.studies.label_efficiency.claims import (
    FROZEN,
    METHODS,
    RANDOM,
    SCRATCH,
    TUNED,
    label_count,
    near,
    percent,
    published,
    reading,
    runs_of,
    worth,
)
from helpers.studies.label_efficiency.settings import Settings

TRAIN = "top-1 on the labelled images (%)"
Table = tuple[pd.DataFrame, list[str]]


def accuracy_table(cells: pd.DataFrame, s: Settings) -> Table:
    """Every way to use every fraction of the labels, top-1 and top-3; the text's figures beside those of its fraction;
    and, where runs kept it, the accuracy on the labelled images."""
    rows = []
    for method in METHODS:
        for fraction in s.fractions:
            first, third = (reading(cells, method, fraction, top) for top in (1, 3))
            theirs = _theirs(method) if np.isclose(fraction, published()["fraction"]) else {}
            rows.append(
                {
                    "method": method,
                    "labels": percent(fraction),
                    "labelled images": label_count(cells, fraction),
                    "top-1 (%)": first.mean,
                    "low": first.low,
                    "high": first.high,
                    TRAIN: _on_the_labelled(cells, method, fraction),
                    "top-3 (%)": third.mean,
                    "published top-1": theirs.get("top1"),
                    "published top-3": theirs.get("top3"),
                    "runs": first.runs,
                    "draws a run": first.draws,
                    "interval over": first.over,
                    "deviation over draws": first.spread,
                    "note": first.note,
                }
            )
    frame = pd.DataFrame(rows)
    return (frame.drop(columns=TRAIN) if frame[TRAIN].isna().all() else frame), _runs(cells)


def published_table(cells: pd.DataFrame, s: Settings) -> Table:
    """The text's table, ours beside it: end to end and frozen, top-1 and top-3."""
    rows = []
    for name, tuned, frozen in (("SimCLR", TUNED, FROZEN), ("random init", SCRATCH, RANDOM)):
        row = {"encoder": name}
        for way, method in (("end to end", tuned), ("frozen, linear", frozen)):
            for top in (1, 3):
                found = reading(cells, method, s.reference, top)
                ours = "missing" if found.mean is None else f"{found.mean:.1f} [{found.low:.1f}, {found.high:.1f}]"
                row[f"{way}, top-{top}"] = f"{ours} | {_theirs(method)[f'top{top}']}"
        rows.append(row)
    return pd.DataFrame(rows), _runs(cells)


def saved_table(cells: pd.DataFrame, s: Settings) -> Table:
    """The fraction of labels that supervision from scratch needs to be as good as SimCLR."""
    rows = []
    for method in (TUNED, FROZEN):
        for fraction in [each for each in s.fractions if each < 1]:
            row = {
                "SimCLR": method,
                "with labels": percent(fraction),
                "from scratch needs [95 %]": "missing",
                "labels saved [95 %]": "missing",
            }
            try:
                found = worth(cells, method, fraction)
                row |= {"from scratch needs [95 %]": found.words(), "labels saved [95 %]": found.saved(fraction)}
                row |= {"runs": found.runs, "note": "over test images" if found.runs == 1 else "over runs and test images"}
            except Undecided as why:
                row |= {"runs": 0, "note": str(why)}
            rows.append(row)
    return pd.DataFrame(rows), _runs(cells)


def neighbour_table(cells: pd.DataFrame) -> Table:
    """How often the nearest training images are of a test image's class, before training and after."""
    found, rows = runs_of(cells), []
    for name, who in (("SimCLR", "trained"), ("untrained", "untrained")):
        row = {"encoder": name, f"precision at {NEAREST} (%)": None, "low": None, "high": None}
        row |= {"all of the class (%)": None, "none of the class (%)": None, "runs": 0, "note": "no run"}
        if found.records:
            try:
                same_images("neighbours", [found.sound])
                shares = np.array([near(record, who) for record in found.sound])
                estimate = paired_difference(shares, 0.0)
                row |= {f"precision at {NEAREST} (%)": estimate.value, "low": estimate.low, "high": estimate.high}
                row |= {
                    "all of the class (%)": 100 * float((shares == 1).mean()),
                    "none of the class (%)": 100 * float((shares == 0).mean()),
                }
                row |= {"runs": estimate.seeds, "note": found.flag if who == "trained" else ""}
            except Undecided as why:
                row["note"] = str(why)
        rows.append(row)
    return pd.DataFrame(rows), _runs(cells)


def loss_table(cells: pd.DataFrame) -> Table:
    """Each run's loss at the end, beside the published one."""
    rows = [
        {
            "seed": seed,
            "batch": record.config["training"]["batch_size"],
            "epochs": len(record.metrics),
            "first epoch": float(record.metrics["loss"].iloc[0]),
            "halfway": float(record.metrics["loss"].iloc[(len(record.metrics) - 1) // 2]),
            "last epoch": float(record.metrics["loss"].iloc[-1]),
            "published": published()["loss"],
        }
        for seed, record in sorted(runs_of(cells).records.items())
    ]
    return pd.DataFrame(rows, columns=["seed", "batch", "epochs", "first epoch", "halfway", "last epoch", "published"]), _runs(cells)


def _on_the_labelled(cells: pd.DataFrame, method: str, fraction: float) -> float | None:
    """Over runs and draws."""
    name, kept = "labels.{}.{}_train".format(*METHODS[method]), []
    for record in runs_of(cells, method).sound:
        if name in record.arrays:
            kept.append(record.arrays[name][np.isclose(record.arrays["labels.fractions"], fraction)])
    return float(np.concatenate(kept).mean()) if kept else None


def _theirs(method: str) -> dict:
    who, readout = METHODS[method]
    return published()["accuracy"][who][readout]


def _runs(cells: pd.DataFrame) -> list[str]:
    return list(runs_of(cells).runs)
