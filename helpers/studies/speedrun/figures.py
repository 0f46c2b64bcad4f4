"""The race's figures, drawn from records alone; what was not run is marked missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from helpers.judging.statistics import summary
from helpers.report import style
from helpers.report.style import canvas, say_missing
from helpers.studies.speedrun.race import PARTS, breakdown, finish, raced
from helpers.studies.speedrun.rival import recorded
from helpers.studies.speedrun.tables import frontier

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def race_curves(cells: pd.DataFrame, target: float, scope: str) -> Figure:
    """kNN accuracy against wall time from process start, a line a seed, the target as a rule and each finish as a ring."""
    figure, ((axes,),) = canvas(height=3.8)
    records = raced(cells)
    for record, colour in zip(records, style.SERIES * len(records), strict=False):
        rows = record.metrics.dropna(subset="knn")
        axes.plot(rows["elapsed_seconds"], rows["knn"], "o-", ms=4, color=colour, label=f"seed {record.config['seed']}")
        if found := finish(record, target):
            axes.plot(found.seconds, found.knn, "o", ms=12, mfc="none", color=colour)
    if not records:
        say_missing(axes, "no valid raced run")
        return figure
    axes.axhline(target, color=style.BLACK, lw=1.2, ls="--", label=f"target, {target:g} %")
    axes.set(
        xlabel="wall time from process start (s)", ylabel="kNN, k = 10, cosine (% of test)", title=f"The race, n = {len(records)} [{scope}]"
    )
    axes.set_xlim(left=0)
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def frontier_curves(scope: str) -> Figure:
    """kNN accuracy against wall time on a logarithmic axis: every budget's runs, where they ended with their interval, and lightly's."""
    figure, ((axes,),) = canvas(height=4.2)
    drawn = False
    for (preset, s, cells), colour, marker in zip(frontier(), style.SERIES, "oD^v", strict=False):
        valid = raced(cells)
        for record in valid:
            rows = record.metrics.dropna(subset="knn")
            axes.plot(rows["elapsed_seconds"] / 60, rows["knn"], color=colour, lw=1)
        if not valid:
            continue
        drawn = True
        end = summary([record.metrics["knn"].iloc[-1] for record in valid])
        at = summary([record.metrics["elapsed_seconds"].iloc[-1] for record in valid]).mean / 60
        reach = None if end.low is None else [[end.mean - end.low], [end.high - end.mean]]
        label = f"{s.minutes:g} min ({preset}): {end.mean:.1f} %, n = {end.n}"
        axes.errorbar([at], [end.mean], yerr=reach, fmt=marker, ms=7, color=colour, capsize=4, label=label)
        axes.plot([s.minutes], [s.target], marker="_", ms=18, mew=2, color=style.BLACK, ls="none")
    reads = pd.DataFrame([read | {"seed": found["seed"]} for found in recorded() for read in found["reads"]])
    for seed in sorted(set(reads["seed"])) if len(reads) else []:
        rows = reads[reads["seed"] == seed]
        axes.plot(rows["seconds"] / 60, rows["knn"], "s--", ms=5, color=style.GREY, label=f"lightly's SimCLR, seed {seed}")
    if not drawn:
        say_missing(axes, "no valid raced run")
        return figure
    axes.set(
        xscale="log",
        xlabel="wall time from process start (minutes); bars mark the targets",
        ylabel="kNN, k = 10, cosine (% of test)",
        title=f"How far two cores go [{scope}]",
    )
    ticks = [0.5, 1, 2, 4, 8, 15, 30, 60]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def breakdown_bars(cells: pd.DataFrame, target: float, scope: str) -> Figure:
    """Where the wall time up to the target went, a bar a seed."""
    records = raced(cells)
    figure, ((axes,),) = canvas(height=1.6 + 0.45 * max(len(records), 1))
    if not records:
        say_missing(axes, "no valid raced run")
        return figure
    spent = [breakdown(record, target) for record in records]
    left = [0.0] * len(records)
    for part, colour in zip(PARTS, style.SERIES, strict=False):
        widths = [each[part] for each in spent]
        axes.barh(range(len(records)), widths, left=left, height=0.6, color=colour, label=part)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(records)), [f"seed {record.config['seed']}" for record in records])
    axes.invert_yaxis()
    axes.set(xlabel="wall time (s)", title=f"Where the time went, up to the target [{scope}]")
    figure.legend(loc="outside lower center", ncols=len(PARTS))
    return figure
