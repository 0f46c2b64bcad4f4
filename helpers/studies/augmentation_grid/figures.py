"""The figures of the grid of augmentations, drawn from records alone. What was not run is marked missing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers.judging.arms import Arm, accuracy, listed
from helpers.judging.claims import Undecided
from helpers.report import style
from helpers.report.marks import UNLEARNED, counted, unlearned
from helpers.report.style import canvas, say_missing
from helpers.studies.augmentation_grid.claims import ablated, cell, grid_likeness, means, pair_rank, published_grid, untrained
from helpers.studies.augmentation_grid.settings import OPERATIONS, TELLING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {
    "batch size": "batch size (images)",
    "temperature": "temperature",
    "projector width": "width of the projector's hidden layer",
    "colour strength": "strength of the colour jitter",
    "left out": "left out of the full recipe",
    "views": "views of each image",
}
LOGARITHMIC = ("batch size", "temperature", "projector width")


def grid_heatmaps(cells: pd.DataFrame, readout: str, scope: str) -> Figure:
    """Ours beside the published grid, each on its own scale of colour, since levels of other data and nets are not to be compared."""
    figure, ((left, right),) = canvas(1, 2, height=5.2, width=11)
    ours = means(cells, readout)
    seeds = _seeds(cells)
    lazy = np.array([[bool(_bare(cells, a, b).doubts(readout)) for b in OPERATIONS] for a in OPERATIONS])
    _heatmap(left, ours, figure, lazy)
    _heatmap(right, published_grid(), figure)
    before = untrained(cells, readout)
    lost = [each.name for row in OPERATIONS for column in OPERATIONS if (each := cell(cells, row, column)).collapsed]
    left.set_title(f"ours: {scope}\n{readout}, {seeds}" + (f"; untrained {before:.1f}" if before is not None else ""))
    right.set_title("published: ImageNet\nlinear")
    figure.suptitle("One branch made in two steps, the other left as it is" + _alike(cells, readout))
    told = ["second step; on the diagonal the step alone", f"{UNLEARNED} not learned" if lazy.any() else ""]
    figure.supxlabel(". ".join(filter(None, [*told, f"Collapsed: {listed(lost)}" if lost else ""])), fontsize=10)
    figure.supylabel("first step", fontsize=10)
    return figure


def _bare(cells: pd.DataFrame, first: str, second: str) -> Arm:
    """A cell by which it can be told whether it has learned, whatever claims excuse."""
    return replace(cell(cells, first, second), excused=())


def _seeds(cells: pd.DataFrame) -> str:
    """How often each cell was run."""
    return f"n = {counted([len(cell(cells, first, second).records) for first in OPERATIONS for second in OPERATIONS])} a cell"


def _heatmap(ax, frame: pd.DataFrame, figure, lazy: np.ndarray | None = None) -> None:
    """The 49 cells, and the rows' averages a little apart on the right."""
    values = frame.to_numpy(dtype=float)
    averages = values.mean(axis=1, keepdims=True)
    shown = np.hstack([values, np.full((len(values), 1), np.nan), averages])
    low, high = (np.nanmin(values), np.nanmax(values)) if np.isfinite(values).any() else (0.0, 1.0)
    drawn = ax.pcolormesh(np.r_[np.arange(8) - 0.5, 7.0, 8.0], np.arange(8) - 0.5, shown, cmap="cividis", vmin=low, vmax=high)
    for i, j in np.ndindex(values.shape):
        _number(ax, j, i, values[i, j], low, high, UNLEARNED if lazy is not None and lazy[i, j] else "")
    for i in range(len(values)):
        _number(ax, 7.5, i, averages[i, 0], low, high)
    ax.set_xticks([*range(len(OPERATIONS)), 7.5], [*OPERATIONS, "average"], rotation=35, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(OPERATIONS)), list(OPERATIONS))
    ax.invert_yaxis()
    ax.grid(False)
    figure.colorbar(drawn, ax=ax, label="accuracy (%)")


def _number(ax, x: float, y: float, value: float, low: float, high: float, sign: str = "") -> None:
    if np.isnan(value):
        ax.text(x, y, "—", ha="center", va="center", color=style.GREY)
    else:
        light = value > low + 0.55 * (high - low)
        ax.text(x, y, f"{value:.1f}{sign}", ha="center", va="center", color="black" if light else "white", fontsize=9)


def _alike(cells: pd.DataFrame, readout: str) -> str:
    try:
        rank, like = pair_rank(cells, readout), grid_likeness(cells, readout)
    except Undecided as why:
        return f"\n{why}"
    pair = " + ".join(TELLING)
    return (
        f"\n{pair} is number {rank.value:g} of 21 pairs [{rank.low:g}, {rank.high:g}]\n"
        f"rank correlation of the 49 cells {like.value:.2f} [{like.low:.2f}, {like.high:.2f}] (95 % over test images, of these runs)"
    )


def row_averages(cells: pd.DataFrame, readout: str, scope: str) -> Figure:
    """Each operation by the average of its row, ours and published, as the talk's last column has it."""
    figure, ((ax,),) = canvas(height=3.8)
    ours, theirs = means(cells, readout).mean(axis=1, skipna=False), published_grid().mean(axis=1)
    for place, name in enumerate(theirs[ours.notna()].sort_values().index):
        ax.plot(theirs[name], ours[name], "o", color=style.BLUE)
        above = place % 2  # in turns, so that neighbours' names stay apart
        ax.annotate(name, (theirs[name], ours[name]), xytext=(6, 4 if above else -12), textcoords="offset points")
    absent = list(ours.index[ours.isna()])
    if len(absent) == len(ours):
        say_missing(ax, "rows with all their cells")
    ax.margins(0.12)
    ax.set(xlabel="published average of the row (%), ImageNet", ylabel=f"our average (%), {readout}")
    note = f"\nmissing, for want of a cell: {', '.join(absent)}" if absent else ""
    ax.set_title(f"What each operation is worth as the first of two; {_seeds(cells)}\n[{scope}]{note}")
    return figure


def ablation_curves(cells: pd.DataFrame, readout: str, scope: str) -> Figure:
    """A panel an ablation of the full recipe, one scale of accuracy: mean with its 95 % interval, over seeds or over test images."""
    figure, axes = canvas(2, 3, height=6.0, width=10, sharey=True)
    before, full = untrained(cells, readout), _unchanged(cells)
    for ax, (name, label) in zip(axes.flat, LABELS.items(), strict=True):
        ax.set_xlabel(label)
        arms = ablated(cells, name)
        found = [(value, *accuracy(arm, readout), full in arm.runs) for value, arm in arms]
        if not any(summary.n for _, summary, _, _ in found):
            say_missing(ax, name, shared=True, why="missing:" if arms else "not part of this variant:")
            ax.set_xticks([])
            continue
        if before is not None:
            ax.axhline(before, color=style.GREY, ls=":", lw=1.5)
        numeric = all(isinstance(value, int | float) for value, *_ in found)
        at = [value if numeric else place for place, (value, *_) in enumerate(found)]
        middle = np.array([np.nan if summary.mean is None else summary.mean for _, summary, _, _ in found])
        reach = np.array([[_reach(summary, "low"), _reach(summary, "high")] for _, summary, _, _ in found]).T
        ax.errorbar(at, middle, yerr=reach, fmt="o-" if numeric else "o", color=style.BLUE, capsize=3)
        for x, y, (_, _, _, unchanged) in zip(at, middle, found, strict=True):
            if unchanged:
                ax.plot(x, y, "D", ms=9, mfc="none", mec=style.VERMILION, mew=1.5)
        for x, y, (_, arm) in zip(at, middle, arms, strict=True):
            if arm.doubts(readout):
                unlearned(ax, x, y)
        if name in LOGARITHMIC:
            ax.set_xscale("log", base=2 if name != "temperature" else 10)
        gone = ["" if summary.n else "\nmissing" for _, summary, _, _ in found]
        labels = [f"{value:g}{none}" if numeric else f"{value}{none}" for (value, *_), none in zip(found, gone, strict=True)]
        ax.set_xticks(at, labels, rotation=0 if numeric else 20)
        ax.minorticks_off()
        over = " or ".join(dict.fromkeys(over for _, _, over, _ in found if over))
        ax.set_title(f"n = {counted([summary.n for _, summary, _, _ in found if summary.n])}, bars over {over or 'nothing'}")
    for ax in axes[:, 0]:
        ax.set_ylabel(f"test accuracy, {readout} (%)")
    figure.suptitle(f"One thing changed in the full recipe; bars: 95 % interval\n[{scope}]")
    lines = "; dotted: the untrained encoder" if before is not None else ""
    figure.supxlabel(f"diamond: the recipe unchanged, with as many of its runs as a panel's n{lines}", fontsize=10)
    return figure


def _unchanged(cells: pd.DataFrame) -> str | None:
    """The first seed's run of the full recipe: the one that stands in most ablations."""
    shared = cells[cells["part"] != "grid"].groupby("run")["part"].nunique()
    return shared.idxmax() if len(shared) and shared.max() > 1 else None


def _reach(summary, side: str) -> float:
    limit = getattr(summary, side)
    return 0.0 if limit is None else abs(limit - summary.mean)
