"""The tables of the grid of augmentations, from records alone: each returns (table, runs behind it)."""

import numpy as np
import pandas as pd

from helpers.judging.arms import Arm, accuracy, hits
from helpers.judging.claims import Undecided
from helpers.judging.statistics import TAILS, bootstrap_images
from helpers.report.recipe_words import in_words, plain
from helpers.report.report import MISSING
from helpers.studies.augmentation_grid.claims import (
    PAIRS,
    Ranked,
    ablated,
    both_orders,
    cell,
    drawn,
    grid_likeness,
    interval,
    means,
    pair_rank,
    published_grid,
)
from helpers.studies.augmentation_grid.runs import Place, config_of
from helpers.studies.augmentation_grid.settings import GRID, OPERATIONS, STRENGTHS, TELLING, Settings
from helpers.views import ViewSettings, make_views

Table = tuple[pd.DataFrame, list[str]]


def step_table(s: Settings) -> pd.DataFrame:
    """What each operation does in every cell: in words, and by the settings of its step."""
    rows = []
    for name in s.operations:
        settings = make_views(GRID, 32, **config_of(s, Place("grid", name, name)).views.options).settings
        values = {field: getattr(settings, field) for step in settings.order for field in STRENGTHS[step]}
        words = in_words(ViewSettings(count=1, **values)).partition("; ")[2]
        rows.append({"operation": name, "what it does": words, "settings": "; ".join(f"{k} {plain(v)}" for k, v in values.items())})
    return pd.DataFrame(rows)


def grid_table(cells: pd.DataFrame, readout: str) -> Table:
    """Ours | published of every cell, and of the rows' averages; a row with a missing cell has no average."""
    ours, theirs = means(cells, readout), published_grid()
    table = pd.DataFrame(index=ours.index)
    for second in OPERATIONS:
        flags = [f" ({flag})" if (flag := cell(cells, first, second).flag) else "" for first in OPERATIONS]
        table[second] = [f"{_one(mine)}{flag} | {his:.1f}" for mine, flag, his in zip(ours[second], flags, theirs[second], strict=True)]
    averages = zip(ours.mean(axis=1, skipna=False), theirs.mean(axis=1), strict=True)
    table["average"] = [f"{_one(mine)} | {his:.1f}" for mine, his in averages]
    return table.rename_axis("first \\ second").reset_index(), _runs(cells, "grid")


def pair_table(cells: pd.DataFrame, readout: str) -> Table:
    """The 21 unordered pairs, best first: mean of both orders, ours with its interval over test images, and published."""
    theirs, rows = published_grid(), []
    for pair in PAIRS:
        arms = both_orders(cells, pair)
        try:
            value, resampled = drawn(arms, readout)
            found = interval(100 * value.mean(), 100 * resampled.mean(axis=1))
        except Undecided:
            found = None
        rows.append(
            {
                "pair": " + ".join(pair),
                "ours": found.value if found else None,
                "95 % over images": _limits(found),
                "runs": sum(len(each.sound) for each in arms),
                "note": "; ".join(f"{each.name}: {each.flag}" for each in arms if each.flag),
                "published": round(float(theirs.loc[pair] + theirs.loc[pair[::-1]]) / 2, 2),
            }
        )
    table = pd.DataFrame(rows).sort_values("ours", ascending=False, kind="stable", na_position="last")
    table.insert(0, "rank", [n if found else MISSING for n, found in enumerate(table["ours"].notna(), start=1)])
    table["published rank"] = table["published"].rank(ascending=False).astype(int)
    return table, _runs(cells, "grid")


def agreement_table(cells: pd.DataFrame, readout: str) -> Table:
    """What the grid says in single numbers. Intervals are over test images and of these very runs: see the table of noise."""
    asked = {
        f"rank of {' + '.join(TELLING)} among the {len(PAIRS)} pairs": pair_rank,
        "rank correlation with the published grid (Spearman, 49 cells)": grid_likeness,
    }
    rows = []
    for name, estimate in asked.items():
        try:
            found, why = estimate(cells, readout), ""
        except Undecided as missing:
            found, why = None, str(missing)
        rows.append({"what": name, "ours": f"{found.value:g}" if found and found.value % 1 == 0 else _one(found and found.value, 2)})
        rows[-1] |= {"95 % over images": _limits(found), "note": why}
    return pd.DataFrame(rows), _runs(cells, "grid")


def noise_table(cells: pd.DataFrame, readout: str) -> Table:
    """What a cell's value is worth: the cells that were run more than once, and from which difference on two single runs differ."""
    rows, runs, squares, freedom = [], [], 0.0, 0
    for first in OPERATIONS:
        for second in OPERATIONS:
            found = cell(cells, first, second)
            measured = {seed: record.evaluations[readout]["top1"] for seed, record in sorted(found.records.items())}
            if len(measured) < 2:
                continue
            values = np.array(list(measured.values()))
            squares, freedom = squares + float(((values - values.mean()) ** 2).sum()), freedom + len(values) - 1
            low, high = bootstrap_images(hits(found.records[min(found.records)], readout))
            rows.append(
                {
                    "cell": found.name,
                    **{f"seed {seed}": value for seed, value in measured.items()},
                    "sd over seeds": float(values.std(ddof=1)),
                    "95 % over images, one run": f"± {(high - low) / 2:.2f}",
                }
            )
            runs += found.runs
    if not rows:
        return pd.DataFrame(columns=["cell", "sd over seeds"]), []
    pooled = (squares / freedom) ** 0.5
    rows.append({"cell": "all of these", "sd over seeds": pooled, "two single runs differ (95 %) from": _apart(pooled, freedom)})
    return pd.DataFrame(rows), runs


def _apart(sd: float, freedom: int) -> float:
    """How far apart two single runs must be for their seeds not to explain it: t of the pooled deviation of a difference."""
    from scipy.stats import t

    return float(t.ppf(TAILS[1], freedom) * 2**0.5 * sd)


def ablation_table(cells: pd.DataFrame, readout: str) -> Table:
    rows, runs = [], []
    for name in [part for part in dict.fromkeys(cells["part"]) if part != "grid"]:
        for value, arm in ablated(cells, name):
            found, over = accuracy(arm, readout)
            interval = f"[{found.low:.2f}, {found.high:.2f}]" if found.low is not None else None
            row = {"ablation": name, "value": str(value), "accuracy (%)": found.mean, "95 %": interval, "over": over, "n": found.n}
            rows.append(row | {"steps": _steps(arm), "training (s)": _seconds(arm), "note": arm.flag})
            runs += arm.runs
    return pd.DataFrame(rows), list(dict.fromkeys(runs))


def overhead_table(cells: pd.DataFrame) -> Table:
    """What a run takes beyond its own training steps: images, building, readouts. The start of its process and the writing of its
    record are not in it, and runs in several parts are left out, of which only the last part's time is known."""
    records = {row.run: row.record for row in cells.itertuples() if hasattr(row.record, "manifest")}
    whole = {run: record.manifest for run, record in records.items() if not record.manifest.get("resumed")}
    columns = ["runs", "in several parts", "whole run (s), median", "training (s), median", "beyond (s), median", "beyond (s), most"]
    if not whole:
        return pd.DataFrame(columns=columns), []
    seconds = np.array([manifest["seconds"] for manifest in whole.values()])
    training = np.array([manifest["training_seconds"] for manifest in whole.values()])
    beyond = seconds - training
    values = [len(whole), len(records) - len(whole), np.median(seconds), np.median(training), np.median(beyond), beyond.max()]
    return pd.DataFrame([dict(zip(columns, values, strict=True))]), list(whole)


def _one(value: float | None, digits: int = 1) -> str:
    return "missing" if value is None or np.isnan(value) else f"{value:.{digits}f}"


def _limits(found: Ranked | None) -> str:
    if found is None:
        return MISSING
    return f"[{found.low:g}, {found.high:g}]" if found.value % 1 == 0 and found.low % 1 == 0 else f"[{found.low:.2f}, {found.high:.2f}]"


def _runs(cells: pd.DataFrame, part: str) -> list[str]:
    own = cells[(cells["part"] == part) & cells["record"].notna()]
    return list(dict.fromkeys(own["run"]))


def _steps(arm: Arm) -> int | None:
    return next((int(record.metrics["step"].iloc[-1]) for record in arm.records.values() if "step" in record.metrics), None)


def _seconds(arm: Arm) -> float | None:
    values = [record.manifest["training_seconds"] for record in arm.records.values()]
    return float(np.mean(values)) if values else None
