"""The lightweight study's figures of accuracy, cost and collapse, drawn from records alone. What was not run is marked missing.

`scope` goes into every title: embedded, reduced or paper, with the dataset where that helps. Runs that collapsed are left out of
means and drawn apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers.judging.arms import Arm, accuracy, has_collapsed
from helpers.judging.claims import Undecided
from helpers.report import style
from helpers.report.marks import UNLEARNED, counted, key
from helpers.report.style import canvas, say_missing
from helpers.studies.lightweight_architectures.cells import (
    NETS,
    READOUTS,
    TECHNIQUES,
    curve,
    entrant,
    plain_nets,
    published_grid,
    untrained,
    with_all,
)
from helpers.studies.lightweight_architectures.costs import cost_rows, pareto
from helpers.training.watch import FLAT, NARROW

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLAIN_LOOK = (style.GREY, "X")
TECHNIQUE_LOOKS = dict(
    zip(TECHNIQUES, zip((style.ORANGE, style.SKY, style.PURPLE, style.BLUE, style.GREEN), "s^Dvo", strict=True), strict=True)
)
NET_LOOKS = dict(zip(NETS, zip((style.ORANGE, style.SKY, style.BLACK, style.BLUE, style.VERMILION), "s^ovD", strict=True), strict=True))
COSTS = {
    "MACs (M)": "multiply-adds of an image (millions)",
    "parameters (M)": "parameters (millions)",
    "latency (ms)": "latency of one image (ms)",
    "energy (Wh)": "energy of a run (Wh)",
}


def accuracy_curves(cells: pd.DataFrame, readout: str, scope: str, panels: str = "technique") -> Figure:
    """Accuracy against pretraining epochs, a panel a technique with a line a net, or (panels = "net") the other way round."""
    from matplotlib.ticker import MaxNLocator  # here, as a notebook imports this module before it has anything to draw

    nets = [*NETS, *plain_nets(cells)]
    by_net = panels == "net"
    titles, lines = (nets, TECHNIQUES) if by_net else (TECHNIQUES, nets)
    rows = -(-(len(titles) + (len(titles) < 6)) // 3)
    figure, axes = canvas(rows, 3, height=2.6 * rows + 1.2, width=9, sharey=True)
    most = 0
    for place, title in enumerate(titles):
        ax = axes.flat[place]
        ax.set_title(title)
        for line in lines:
            technique, net = (line, title) if by_net else (title, line)
            most = max(most, _curve(ax, entrant(cells, technique, net), readout, _looks(line)))
        before = accuracy(untrained(cells, "BYOL", title), f"{readout}_untrained")[0].mean if by_net else None
        if before is not None:
            ax.axhline(before, color=style.GREY, ls=":", lw=1.5)
        if not ax.lines:
            say_missing(ax, title, shared=True)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if place + 3 >= len(titles):
            ax.set_xlabel("pretraining epochs")
    for ax in axes.flat[len(titles) :]:
        ax.set_axis_off()
    handles = [key(name, *_looks(name), "-") for name in lines]
    handles += [key("untrained", style.GREY, "", ":")] if by_net else []
    handles += [key("a collapsed run", style.BLACK, "x", "--")]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    figure.supylabel(f"test accuracy, {READOUTS.get(readout, readout)} (%)", fontsize=10)
    figure.suptitle(f"Downstream accuracy along the pretraining [{scope}]\nmean over seeds (n = {most} at most), shaded: their range")
    return figure


def grid_heatmaps(cells: pd.DataFrame, readout: str, scope: str) -> Figure:
    """Ours beside theirs, one scale of colour; the rank correlation over the cells that both have."""
    nets = [*NETS, *plain_nets(cells)]
    arms = [[entrant(cells, technique, net) for net in nets] for technique in TECHNIQUES]
    means = np.array([[accuracy(arm, readout)[0].mean for arm in row] for row in arms], dtype=float)
    flags = np.array([["†" if arm.collapsed else UNLEARNED if arm.doubts(readout) else "" for arm in row] for row in arms])
    theirs = published_grid().to_numpy()
    figure, ((ours, paper),) = canvas(1, 2, height=4.4, width=10, sharey=True, width_ratios=(len(nets), len(NETS)))
    high = np.nanmax(np.append(means, theirs))
    for ax, values, marks, names in ((ours, means, flags, nets), (paper, theirs, None, NETS)):
        drawn = ax.imshow(values, cmap="cividis", vmin=0, vmax=high, aspect="auto")
        for i, j in np.ndindex(values.shape):
            if np.isnan(values[i, j]):
                ax.text(j, i, "missing", ha="center", va="center", color=style.GREY, fontsize=9)
            else:
                told = f"{values[i, j]:.1f}{marks[i, j]}" if marks is not None else f"{values[i, j]:.0f}"
                ax.text(j, i, told, ha="center", va="center", color="black" if values[i, j] > 0.6 * high else "white")
        ax.set_xticks(range(len(names)), [name.replace("-lite0", "\n-lite0").replace("V2", "\nV2") for name in names], fontsize=9)
        ax.set_yticks(range(len(TECHNIQUES)), TECHNIQUES)
        ax.grid(False)
    figure.colorbar(drawn, ax=paper, label="accuracy (%)")
    ours.set_title(f"ours, last checkpoint, {readout}; n = {counted([accuracy(arm, readout)[0].n for row in arms for arm in row])}")
    paper.set_title("published, maximum; n = 1")
    figure.suptitle(f"Technique x net{_alike(means[:, : len(NETS)], theirs)} [{scope}]")
    figure.supxlabel(
        f"mean over seeds without collapsed runs; † some or all runs of the cell collapsed; {UNLEARNED} not learned", fontsize=9.5
    )
    return figure


def cost_fronts(cells: pd.DataFrame, readout: str, scope: str, *, region: str | None = None, intensity: float | None = None) -> Figure:
    """Accuracy against arithmetic, size, latency and energy (carbon above it), a mark a technique on a net, with the Pareto front."""
    figure, panels = canvas(2, 2, height=6.8, width=9, sharey=True)
    nets = [*NETS, *plain_nets(cells)]
    points = []
    for technique in TECHNIQUES:
        for net in nets:
            arm = entrant(cells, technique, net)
            mean = accuracy(arm, readout)[0].mean
            if mean is not None:
                costs = cost_rows(arm.sound, region=region, intensity=intensity)
                points.append(
                    {
                        "technique": technique,
                        "net": net,
                        "accuracy": mean,
                        "collapsed": arm.lost,
                        "energy is": costs["energy is"].iloc[0].partition(":")[0],
                        **costs[[*COSTS, "CO2 (kg)"]].mean(),
                    }
                )
    frame = pd.DataFrame(points, columns=["technique", "net", "accuracy", "collapsed", "energy is", *COSTS, "CO2 (kg)"])
    for ax, (column, label) in zip(panels.flat, COSTS.items(), strict=True):
        ways = " and ".join(sorted(set(frame["energy is"]))) if column == "energy (Wh)" else ""
        ax.set_xlabel(f"{label}, {ways}" if ways else label)
        shown = frame[frame[column].notna()]
        if not len(shown):
            say_missing(ax, label, shared=True)
            continue
        for row in shown.to_dict("records"):
            _mark(ax, row[column], row["accuracy"], row["technique"], row["net"], row["collapsed"])
        front = pareto(shown[column].to_numpy(), shown["accuracy"].to_numpy())
        ax.plot(shown[column].to_numpy()[front], shown["accuracy"].to_numpy()[front], color=style.GREY, lw=1.2, zorder=0)
        ax.set_xscale("log")
        _few_ticks(ax.xaxis)
    if len(frame) and frame["energy (Wh)"].notna().any():
        kg = (frame["CO2 (kg)"] / frame["energy (Wh)"]).median()
        above = panels[1, 1].secondary_xaxis("top", functions=(lambda wh: 1000 * kg * wh, lambda g: g / (1000 * kg)))
        above.set_xlabel("CO2 equivalents (g)")
        _few_ticks(above.xaxis)
    for ax in panels[:, 0]:
        ax.set_ylabel(f"test accuracy, {readout} (%)")
    handles = [key(name, TECHNIQUE_LOOKS[name][0], "o", "") for name in TECHNIQUES]
    handles += [key(net, style.BLACK, NET_LOOKS.get(net, PLAIN_LOOK)[1], "") for net in nets]
    handles.append(key("Pareto front (hollow: collapsed)", style.GREY, "", "-"))
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    seeds = counted([len(entrant(cells, technique, net).records) for technique in TECHNIQUES for net in NETS])
    figure.suptitle(f"Accuracy against what it costs; means over seeds (n = {seeds}) [{scope}]")
    return figure


def frozen_against_tuned(cells: pd.DataFrame, scope: str) -> Figure:
    """The same encoders frozen and fine-tuned; hollow: collapsed, or grey: before training."""
    figure, ((ax,),) = canvas(height=4.6, width=7)
    nets = [*NETS, *plain_nets(cells)]
    seen, runs = [], []
    for net in nets:
        marker = NET_LOOKS.get(net, PLAIN_LOOK)[1]
        for technique in TECHNIQUES:
            both = with_all(entrant(cells, technique, net), *READOUTS)
            found = [accuracy(both, readout)[0] for readout in READOUTS]
            if any(each.n == 0 for each in found):
                continue
            seen += [each.mean for each in found]
            colour = TECHNIQUE_LOOKS[technique][0]
            for each, (x, y) in zip(found, ((1, 0), (0, 1)), strict=True):
                if each.n > 1:
                    reach = each.high - each.mean
                    ax.errorbar(found[0].mean, found[1].mean, xerr=reach * x, yerr=reach * y, color=colour, alpha=0.35, lw=1, zorder=1)
            _mark(ax, found[0].mean, found[1].mean, technique, net, both.lost)
            runs.append(found[1].n)
        before = [accuracy(untrained(cells, "BYOL", net), f"{readout}_untrained")[0].mean for readout in READOUTS]
        if None not in before:
            ax.plot(*before, marker, color=style.GREY, mfc="none", ms=7, zorder=2)
            seen += before
    if seen:
        ax.axline((min(seen), min(seen)), slope=1, color=style.GREY, lw=1, ls=":")
    else:
        say_missing(ax, "runs read out both ways")
    ax.set(xlabel="frozen: linear probe (%)", ylabel="fine-tuned (%)")
    handles = [key(name, TECHNIQUE_LOOKS[name][0], "o", "") for name in TECHNIQUES]
    handles += [key(net, style.BLACK, NET_LOOKS.get(net, PLAIN_LOOK)[1], "") for net in nets]
    handles += [key("untrained", style.GREY, "o", "", "none"), key("collapsed", style.ORANGE, "o", "", "none")]
    figure.legend(handles=handles, loc="outside right center")
    ax.set_title(f"Frozen and fine-tuned accuracy [{scope}]")
    figure.supxlabel(f"means over the seeds read both ways (n = {counted(runs)}), bars: 95 % interval; dotted: equal", fontsize=9.5)
    return figure


def collapse_curves(cells: pd.DataFrame, scope: str) -> Figure:
    """Every run's spread, effective rank and first-layer gradient by epoch, with the lines below which a run counts as collapsed."""
    columns = {
        "spread": ("spread x √d (1 = even)", NARROW),
        "effective_rank": ("effective rank (directions)", FLAT),
        "first_layer_gradient": ("gradient norm, first layer", None),
    }
    figure, (panels,) = canvas(1, 3, height=3.8, width=9)
    present = [row for row in cells.drop_duplicates("run").itertuples() if hasattr(row.record, "metrics")]
    for ax, (column, (label, limit)) in zip(panels, columns.items(), strict=True):
        ax.set(xlabel="epoch", ylabel=label)
        for row in (each for each in present if column in each.record.metrics):
            values, lost = row.record.metrics, has_collapsed(row.record)
            look = {"color": TECHNIQUE_LOOKS[row.pretext][0] if row.pretext in TECHNIQUE_LOOKS else style.GREY, "lw": 1.2 if lost else 0.7}
            ends = {"ls": "--", "marker": "x", "markevery": [-1], "alpha": 1.0} if lost else {"alpha": 0.6}
            ax.plot(values["epoch"], values[column], **look, **ends)
        if not ax.lines:
            say_missing(ax, label)
        elif column != "spread" and all((line.get_ydata() > 0).all() for line in ax.lines):
            ax.set_yscale("log")
        if limit is not None and ax.lines:
            ax.axhline(limit, color=style.BLACK, ls=":", lw=1.2)
    handles = [key(name, TECHNIQUE_LOOKS[name][0], "", "-") for name in TECHNIQUES]
    handles += [key("collapsed", style.BLACK, "x", "--"), key("counts as collapsed below", style.BLACK, "", ":")]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    lost = sum(has_collapsed(row.record) for row in present)
    figure.suptitle(f"Collapse watch: one line a run, n = {len(present)}, {lost} collapsed [{scope}]")
    return figure


def _curve(ax: Axes, arm: Arm, readout: str, look: tuple[str, str]) -> int:
    """Mean and range of the sound runs, each collapsed one by itself; how many are in the mean."""
    colour, marker = look
    sound = []
    for record in arm.records.values():
        try:
            line = curve(record, readout)
        except Undecided:
            continue
        if has_collapsed(record):
            ax.plot(line.index, line, "x--", color=colour, lw=1, ms=5, alpha=0.8)
        else:
            sound.append(line)
    if sound:
        lines = pd.concat(sound, axis=1)
        ax.plot(lines.index, lines.mean(axis=1), color=colour, marker=marker, ms=5)
        ax.fill_between(lines.index, lines.min(axis=1), lines.max(axis=1), color=colour, alpha=0.15, lw=0)
    return len(sound)


def _looks(name: str) -> tuple[str, str]:
    return TECHNIQUE_LOOKS.get(name) or NET_LOOKS.get(name, PLAIN_LOOK)


def _alike(ours: np.ndarray, theirs: np.ndarray) -> str:
    both = ~np.isnan(ours)
    if both.sum() < 3 or np.ptp(ours[both]) == 0:
        return ""
    from scipy.stats import spearmanr

    return f": rank correlation with the published {spearmanr(ours[both], theirs[both]).statistic:.2f} over {both.sum()} cells"


def _few_ticks(axis) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axis.set_major_formatter(lambda value, place: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def _mark(ax: Axes, x: float, y: float, technique: str, net: str, collapsed: bool) -> None:
    """A technique's colour and a net's marker, hollow where every run collapsed."""
    colour, marker = TECHNIQUE_LOOKS[technique][0], NET_LOOKS.get(net, PLAIN_LOOK)[1]
    look = {"mfc": "none", "mec": colour, "mew": 1.5} if collapsed else {"mec": "white", "mew": 0.6}
    ax.plot(x, y, marker, color=colour, ms=7, zorder=3, **look)
