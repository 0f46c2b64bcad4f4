"""The figures of the study of MoCo v3, drawn from records alone; those of curves stand in curves.py. What was not run is marked missing."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers.judging.arms import Arm, accuracy, arm, before
from helpers.report import style
from helpers.report.marks import absent, counted, key, point, unlearned
from helpers.report.style import canvas, say_missing
from helpers.studies.moco_v3_stability import claims
from helpers.studies.moco_v3_stability.curves import LOOKS, USUAL, count, curve_plot, lost_plot, stability_plot, usual_of
from helpers.studies.moco_v3_stability.runs import MEANT, passes
from helpers.studies.moco_v3_stability.settings import (
    ADAMW,
    BATCH_NORM,
    BYOL,
    EQUAL,
    FROZEN,
    INSTDISC,
    LEARNED,
    LINE,
    LONG,
    SHORT,
    SIMCLR,
    SIMSIAM,
    SUPERVISED,
    SWAV,
    V1,
    V2,
    V2_PLUS,
    V3,
    Settings,
)
from helpers.studies.moco_v3_stability.tables import changes_of, fine_tuned, origin_of
from helpers.studies.moco_v3_stability.transfers import STARTS, UNTRAINED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INTERVALS = "lines: 95 % interval over seeds; over test images where n = 1"
COLOURS = {INSTDISC: style.GREY, SIMCLR: style.ORANGE, V1: style.SKY, V2: style.BLUE, V2_PLUS: style.PURPLE}
COLOURS |= {BYOL: style.GREEN, SIMSIAM: style.GREY, SWAV: style.VERMILION, V3: style.BLACK}
MARKS = {INSTDISC: "*", SIMCLR: "s", V1: "v", V2: "^", V2_PLUS: "P", BYOL: "D", SIMSIAM: "<", SWAV: "X", V3: "o"}
SHIFTS = {SHORT: -0.25, LONG: 0.0, EQUAL: 0.25}
KINDS = {"usual": (USUAL, style.BLACK, "o"), "change": ("one thing changed", style.BLUE, "s")}
KINDS |= {"rate": ("the highest rate", style.VERMILION, "^"), "batch": ("another batch", style.ORANGE, "P")}
KINDS |= {"method": ("another method", style.GREEN, "D")}
BEGUN = {V3: (style.BLUE, "o"), SUPERVISED: (style.BLACK, "^"), UNTRAINED: (style.GREY, "s")}

__all__ = ["change_plot", "cost_plot", "curve_plot", "line_plot", "lost_plot", "rate_plot", "stability_plot", "transfer_plot"]


def rate_plot(cells: pd.DataFrame, s: Settings, scope: str) -> Figure:
    """Left: ours by optimizer and patches. Right: the published ViT-B. Places are logarithms, so that rates far apart have room."""
    figure, ((left, right),) = canvas(1, 2, height=4.6, width=9, width_ratios=(3, 2))
    shown, tried, runs = [look for look in LOOKS if look[0] in s.vit.rates], [], []
    for series, shift in zip(shown, (-0.06, 0.06, 0.0, 0.0), strict=False):
        colour, marker = LOOKS[series]
        arms = [(rate, claims.vit(cells, series[0], rate, series[1], batch=s.vit.batches[0])) for rate in s.vit.rates[series[0]]]
        _through(left, [(rate, accuracy(found, s.readout)[0].mean) for rate, found in arms], colour, shift)
        for rate, found in arms:
            point(left, np.log10(rate) + shift, found, s.readout, colour, marker)
            tried, runs = [*tried, rate], [*runs, len(found.sound)]
    _untrained(left, usual_of(cells, s), s.readout)
    published = []
    for words, row in claims.published()["rates"].items():
        colour, marker = LOOKS[words.partition(",")[0], FROZEN if "frozen" in words else LEARNED]
        theirs = [(float(rate), value) for rate, value in row.items()]
        _through(right, theirs, colour, 0.0, marker)
        published += [rate for rate, _ in theirs]
    _rate_axis(left, tried)
    _rate_axis(right, published)
    left.set(ylabel=f"test accuracy, {s.readout} (%)", title=f"ours, n = {counted(runs)}")
    right.set(ylabel="ImageNet accuracy, linear (%)", title="published: ViT-B")
    handles = [key(f"{name}, {patches} patches" if name == ADAMW else name, *LOOKS[name, patches], "-") for name, patches in shown]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, title=f"ours, {INTERVALS}", title_fontsize=9.5)
    figure.suptitle(f"How much the rate matters\n[{scope}]")
    return figure


def _through(ax: Axes, values: list, colour: str, shift: float, marker: str = "") -> None:
    heights = [np.nan if value is None else value for _, value in values]
    ax.plot([np.log10(rate) + shift for rate, _ in values], heights, "-", marker=marker or None, color=colour, lw=1.2)


def _rate_axis(ax: Axes, rates: list[float]) -> None:
    rates = sorted({*rates})
    ax.set_xticks(np.log10(rates), [f"{rate:g}" for rate in rates], rotation=90)
    ax.set(xlim=(np.log10(rates[0]) - 0.2, np.log10(rates[-1]) + 0.2), xlabel=f"rate for a batch of {MEANT} (logarithmic)")


def change_plot(cells: pd.DataFrame, s: Settings, scope: str) -> Figure:
    """The usual ViT first, then what one change, another batch or another method makes of it; its own height goes through as a line."""
    figure, ((ax,),) = canvas(height=5.4, width=9)
    told = changes_of(cells, s)
    for place, (kind, _, found, _, _) in enumerate(told):
        point(ax, place, found, s.readout, *KINDS[kind][1:])
    usual = usual_of(cells, s)
    if (height := accuracy(usual, s.readout)[0].mean) is not None:
        ax.axhline(height, color=style.BLACK, lw=0.8, zorder=0)
    _untrained(ax, usual, s.readout)
    ax.set_xticks(range(len(told)), [f"{fill(name, 18)} ({count(found)})" for _, name, found, _, _ in told], rotation=60, ha="right")
    ax.set(xlim=(-0.6, len(told) - 0.4), ylabel=f"test accuracy, {s.readout} (%)")
    handles = [key(*KINDS[kind]) for kind in dict.fromkeys(kind for kind, *_ in told)]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, title=INTERVALS, title_fontsize=9.5, columnspacing=1.2)
    ax.set_title(f"One thing changed, other batches, other methods\n[{scope}]")
    return figure


def line_plot(cells: pd.DataFrame, s: Settings, scope: str) -> Figure:
    """Left: the methods by length. Middle: the same against operations. Right: the published accuracies against epochs."""
    figure, ((left, middle, right),) = canvas(1, 3, height=5.2, width=10.5, width_ratios=(1.7, 1, 1))
    runs = []
    for place, method in enumerate(LINE):
        ends = []
        for length in (SHORT, LONG, EQUAL):
            found = claims.line(cells, method, length)
            if length == EQUAL and passes(method) == passes(SIMCLR):
                continue
            look = {"colour": COLOURS[method], "marker": MARKS[method], "filled": length != EQUAL}
            point(left, place + SHIFTS[length], found, s.readout, **look)
            runs.append(len(found.sound))
            ends += [(length, *_spent(found, s.readout))] if found.records else []
        _against(middle, [end for end in ends if None not in end], COLOURS[method], MARKS[method])
    _untrained(left, claims.line(cells, V3), s.readout)
    left.set_xticks(range(len(LINE)), LINE, rotation=60, ha="right")
    left.set(xlim=(-0.5, len(LINE) - 0.5), ylabel=f"test accuracy, {s.readout} (%)", title=f"ours, n = {counted(runs)}")
    if not middle.lines:
        say_missing(middle, "operations of the line")
    else:
        _few_ticks(middle)
    middle.set(xlabel="training (PFLOP)", ylabel=f"test accuracy, {s.readout} (%)", title="ours, means")
    for method, row in claims.published()["line"].items():
        epochs = sorted(int(each) for each in row if each.isdigit())
        right.plot(epochs, [row[str(each)] for each in epochs], "-", marker=MARKS[method], color=COLOURS[method], lw=1.2)
    _few_ticks(right, epochs)
    right.set(xlabel="epochs of ImageNet", ylabel="ImageNet accuracy, linear (%)", title="published: ResNet-50")
    handles = [key(method, COLOURS[method], MARKS[method], "-") for method in LINE]
    handles += [key("as many operations as SimCLR's long", style.GREY, "o", inside="white")]
    title = f"left to right: {s.line.short} epochs, {s.line.long} epochs, equal operations (open); {INTERVALS}"
    figure.legend(handles=handles, loc="outside lower center", ncols=5, title=title, title_fontsize=9.5)
    figure.suptitle(f"The line of methods at equal epochs and at equal operations\n[{scope}]")
    return figure


def _spent(found: Arm, readout: str) -> tuple[float | None, float | None]:
    """(operations of its training, accuracy) of an arm."""
    flops = next(iter(found.records.values())).manifest.get("training_flops")
    return flops and flops / 1e15, accuracy(found, readout)[0].mean


def _against(ax: Axes, ends: list[tuple], colour: str, marker: str) -> None:
    both = [(cost, height) for length, cost, height in ends if length != EQUAL]
    ax.plot(*zip(*both, strict=True), "-", marker=marker, color=colour, lw=1.2) if both else None
    for length, cost, height in ends:
        if length == EQUAL:
            ax.plot(cost, height, marker, color=colour, mfc="white")


def transfer_plot(cells: pd.DataFrame, s: Settings, scope: str) -> Figure:
    """Left: ours by dataset and share of labels, a mark a start. Right: the published ViT-B with all labels."""
    figure, ((left, right),) = canvas(1, 2, height=4.6, width=9, sharey=True)
    told, theirs = fine_tuned(cells, s), claims.published()["transfer"]
    groups = list(dict.fromkeys((dataset, fraction) for dataset, fraction, _ in told))
    for shift, start in zip((-0.2, 0.0, 0.2), STARTS, strict=True):
        colour, marker = BEGUN[start]
        origin = origin_of(cells, s, start)
        for place, group in enumerate(groups):
            found = told[*group, start]
            point(left, place + shift, found, "finetune", colour, marker)
            if found.records and origin and origin.doubts(s.readout) and (height := accuracy(found, "finetune")[0].mean) is not None:
                unlearned(left, place + shift, height)
        for place, row in enumerate(theirs.values()):
            right.plot(place + shift, row[start], marker, color=colour, ms=7) if start in row else absent(right, place + shift)
    if not groups:
        say_missing(left, "other images to fine-tune on", shared=True)
    left.set_xticks(range(len(groups)), [f"{dataset}\n{100 * fraction:g} % of labels" for dataset, fraction in groups], rotation=30)
    right.set_xticks(range(len(theirs)), list(theirs), rotation=30)
    left.set(xlim=(-0.5, max(len(groups), 1) - 0.5), ylabel="test accuracy, fine-tuned (%)")
    left.set_title(f"ours, n = {counted([len(found.records) for found in told.values()])}")
    right.set_title("published: ViT-B")
    handles = [key(f"begins from {start}" if start != UNTRAINED else "begins untrained", *BEGUN[start]) for start in STARTS]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, title=INTERVALS, title_fontsize=9.5)
    figure.suptitle(f"Pretrained with labels or without, fine-tuned on other images\n[{scope}]")
    return figure


def cost_plot(cells: pd.DataFrame, s: Settings, scope: str) -> Figure:
    """Left: our ViTs against their parameters. Right: the published ones against multiply-adds, as no parameters are published there."""
    figure, ((left, right),) = canvas(1, 2, height=4.2, width=9)
    nets = {s.vit.called: usual_of(cells, s)} | {name: arm(cells, name, part="sizes", arm=name) for name in s.sizes}
    there = {name: found for name, found in nets.items() if found.records}
    sizes = {name: np.log10(next(iter(found.records.values())).manifest["parameters"] / 1e6) for name, found in there.items()}
    for place, name in enumerate(sorted(there, key=sizes.get)):
        found, size, reference = there[name], sizes[name], before(there[name], s.readout)
        point(left, size, found, s.readout, style.BLUE)
        height, over = accuracy(found, s.readout)[0].mean or 0.0, (18, -26)[place % 2]  # above and below in turn, as sizes lie close
        left.annotate(name, (size, height), xytext=(0, over), textcoords="offset points", ha="center", fontsize=9)
        if found.name == USUAL and (normed := claims.changed(cells, BATCH_NORM)).records:
            point(left, size + 0.05, normed, s.readout, style.ORANGE, "s")
        if reference is not None:
            left.plot(size, reference, "o", color=style.GREY, mfc="white", ms=7)
    if there:
        _of_powers(left)
    else:
        say_missing(left, ", ".join(nets))
    left.set(xlabel="parameters (millions, logarithmic)", ylabel=f"test accuracy, {s.readout} (%)")
    left.set_title(f"ours by MoCo v3, n = {counted([len(found.sound) for found in nets.values()])}")
    for words, colour, marker in (("linear", style.BLUE, "o"), ("with_batch_norm", style.ORANGE, "s")):
        rows = claims.published()["sizes"].values()
        right.plot([row["gmacs"] for row in rows], [row[words] for row in rows], "-", marker=marker, color=colour, lw=1.2)
    for name, row in claims.published()["sizes"].items():
        right.annotate(name, (row["gmacs"], row["linear"]), xytext=(0, -8), textcoords="offset points", ha="center", va="top", fontsize=9)
    _few_ticks(right)
    left.margins(0.15)
    right.margins(0.15)
    right.set(xlabel="multiply-adds of an image (G, logarithmic)", ylabel="ImageNet accuracy, linear (%)", title="published")
    handles = [key("MoCo v3", style.BLUE, "o"), key("with batch norm in the MLP blocks", style.ORANGE, "s")]
    handles += [key("untrained", style.GREY, "o", inside="white")]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, title=INTERVALS, title_fontsize=9.5)
    figure.suptitle(f"Do larger ViTs reach more?\n[{scope}]")
    return figure


def _untrained(ax: Axes, found: Arm, readout: str) -> None:
    """A line where the same net lies before training."""
    value = before(found, readout)
    if value is not None:
        ax.axhline(value, color=style.GREY, ls=":", lw=1.4)
        ax.text(0.01, value, "untrained", transform=ax.get_yaxis_transform(), va="bottom", fontsize=9, color=style.GREY)


def _few_ticks(ax: Axes, at: list[int] | None = None) -> None:
    """A logarithmic axis whose ticks are plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())
    if at:
        ax.set_xticks(at, [f"{each}" for each in at])
        ax.minorticks_off()


def _of_powers(ax: Axes) -> None:
    """Plain numbers on an axis whose places are logarithms."""
    ax.margins(0.25)
    low, high = ax.get_xlim()
    if high - low < 0.4:
        low, high = (low + high) / 2 - 0.2, (low + high) / 2 + 0.2
    ticks = [digit * 10.0**power for power in range(int(np.floor(low)), int(np.ceil(high)) + 1) for digit in (1, 2, 5)]
    ax.set_xticks(np.log10(ticks), [f"{each:g}" for each in ticks])
    ax.set_xlim(low, high)
