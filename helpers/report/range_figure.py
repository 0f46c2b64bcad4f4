"""Range-test curves: loss against rate, coarse and then fine, with the lowest loss and the rates the runs took from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers.report import style
from helpers.report.style import canvas, say_missing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STAGES = (("coarse", style.SKY), ("fine", style.BLUE))


def range_test_curves(tests: pd.DataFrame, cells: pd.DataFrame, scope: str, parts: tuple[str, ...] = ("contest", "fairness")) -> Figure:
    """One panel a backbone and optimizer. `tests`: backbone, optimizer, run, record a row; the rates taken are those of the cells of
    these parts."""
    from matplotlib.lines import Line2D  # here, as a notebook imports this module before it has anything to draw

    backbones = [backbone for backbone in style.BACKBONES if (tests["backbone"] == backbone).any()] or list(style.BACKBONES)
    optimizers = list(dict.fromkeys(tests["optimizer"]))
    figure, panels = canvas(
        len(backbones), max(1, len(optimizers)), height=1.1 + 2.6 * len(backbones), width=max(7.0, 3.5 * len(optimizers))
    )
    for row, backbone in enumerate(backbones):
        for axes, optimizer in zip(panels[row], optimizers or ["no optimizer"], strict=True):
            axes.set_title(f"{backbone}, {optimizer}")
            here = tests[(tests["backbone"] == backbone) & (tests["optimizer"] == optimizer)]
            record = next((each for each in here["record"] if hasattr(each, "evaluations")), None)
            if len(here) == 0:
                axes.set_title(f"{backbone}, {optimizer}:\nno run asked for one")
                axes.set_axis_off()
            elif record is None:
                say_missing(axes, f"range test of {backbone}, {optimizer}")
            else:
                _draw(axes, record, _taken(cells[cells["part"].isin(parts)], record.id))
    for axes in panels[-1]:
        axes.set_xlabel("learning rate (log scale)")
    for axes in panels[:, 0]:
        axes.set_ylabel("training loss (nats)")
    stages = [Line2D([], [], color=colour, label=f"{stage} sweep") for stage, colour in STAGES]
    figure.legend(handles=stages, loc="outside lower center", ncols=2)
    figure.suptitle(f"Range tests: smoothed mean over seeds, faint: single seeds\n[{scope}]")
    return figure


def _taken(cells: pd.DataFrame, test: str) -> dict[str, float]:
    """{optimizer: maximum rate} of the runs that took theirs from this test."""
    used = {}
    for row in cells.itertuples():
        resolved = getattr(row.record, "manifest", {}).get("resolved", {})
        if resolved.get("range_test") == test:
            used[row.optimizer] = resolved["rate"]
    return used


def _draw(axes: Axes, record, taken: dict[str, float]) -> None:
    seen = []
    for stage, colour in STAGES:
        if f"{stage}.rates" not in record.arrays:
            continue
        rates, losses = (np.asarray(record.arrays[f"{stage}.{name}"], dtype=float) for name in ("rates", "losses"))
        for raw in np.atleast_2d(np.asarray(record.arrays.get(f"{stage}.raw", np.empty((0, len(rates)))), dtype=float)):
            axes.plot(rates[: len(raw)], np.where(np.isfinite(raw), raw, np.nan)[: len(rates)], color=colour, alpha=0.25, lw=0.7)
        axes.plot(rates[: len(losses)], np.where(np.isfinite(losses), losses, np.nan), color=colour)
        seen.append(losses[np.isfinite(losses)])
    axes.set_xscale("log")
    _fit(axes, np.concatenate(seen) if seen else np.array([]))
    result = record.evaluations["range_test"]
    if result["minimum"] == "found":
        axes.axvline(result["rate_at_minimum"], color=style.BLACK, ls=":", label=f"lowest loss at {result['rate_at_minimum']:.2g}")
    else:
        axes.plot([], [], " ", label="no minimum: default rate")
    for (name, rate), line in zip(taken.items(), ("-", "--", "-."), strict=False):
        axes.axvline(rate, color=style.VERMILION, ls=line, lw=1.4, label=f"{name}: max {rate:.2g}")
    axes.legend(
        fontsize=9, loc="upper center", handlelength=1.4, borderpad=0.1, labelspacing=0.2, frameon=True, framealpha=0.9, edgecolor="none"
    )


def _fit(axes: Axes, losses: np.ndarray) -> None:
    """Show where the curve turns, with room for the legend above; an exploding end would press all else flat."""
    if len(losses):
        low, high = losses.min(), min(losses.max(), 3 * np.median(losses))
        room = 0.08 * (high - low) or 0.1
        axes.set_ylim(low - room, high + 7 * room)
