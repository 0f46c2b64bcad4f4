"""The figures of the study of views, drawn from records alone. What was not run is marked missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers.evaluation.backgrounds import KINDS
from helpers.evaluation.corruptions import CORRUPTIONS, FAMILIES, SEVERITIES
from helpers.evaluation.robustness import BACKGROUNDS
from helpers.evaluation.shifts import SHIFTS
from helpers.judging.arms import Arm, before
from helpers.judging.statistics import Summary, summary
from helpers.report import style
from helpers.report.marks import absent, counted, curve, key, point
from helpers.report.style import canvas, say_missing
from helpers.studies.relic_views import claims as views
from helpers.studies.relic_views.runs import passes
from helpers.studies.relic_views.settings import (
    ARMS,
    BYOL,
    FORMS,
    IMAGES,
    NO_LARGE,
    NO_SMALL,
    PASSES,
    RELIC,
    RIVALS,
    SIMCLR,
    SMALL,
    SUPERVISED,
    WHOLE,
    Settings,
)
from helpers.studies.relic_views.tables import corruptions_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OVER_SEEDS = "lines: 95 % interval over seeds"
INTERVALS = f"{OVER_SEEDS}; over test images where n = 1"
COLOURS = {
    WHOLE: style.BLUE,
    SIMCLR: style.ORANGE,
    BYOL: style.GREEN,
    SUPERVISED: style.BLACK,
    RELIC: style.SKY,
    SMALL: style.VERMILION,
    NO_SMALL: style.PURPLE,
    NO_LARGE: style.GREY,
}
MARKS = {WHOLE: "o", SIMCLR: "s", BYOL: "D", SUPERVISED: "^", RELIC: "v", SMALL: "P", NO_SMALL: "X", NO_LARGE: "<"}
COMPARED = (WHOLE, SIMCLR, BYOL, SUPERVISED)


def ladder_plot(cells: pd.DataFrame, s: Settings, scope: str) -> Figure:
    """A mark an arm, the rungs first and then what the whole is without one of its parts."""
    figure, ((ax,),) = canvas(height=4.2)
    for place, name in enumerate(ARMS):
        found = views.of(cells, name)
        point(ax, place, found, s.readout, style.BLUE if name in (WHOLE, RELIC) else style.SKY, "o" if place < 4 else "s")
    _untrained(ax, views.of(cells, WHOLE), s.readout)
    names = [f"{name.replace(', ', chr(10)).replace('views', chr(10) + 'views')}\n{_count(views.of(cells, name))}" for name in ARMS]
    ax.set_xticks(range(len(ARMS)), names)
    ax.axvline(3.5, color=style.GREY, lw=0.8)
    ax.set(xlim=(-0.5, len(ARMS) - 0.5), xlabel=f"rungs of the ladder, and the whole without a part\n{INTERVALS}")
    ax.set_ylabel(f"test accuracy, {s.readout} (%)")
    ax.set_title(f"What each part of ReLICv2 adds\n[{scope}]")
    return figure


def rival_plot(cells: pd.DataFrame, s: Settings, scope: str) -> Figure:
    """Left: the methods at equal images seen and at equally many passes. Right: what they reached on the way, against passes."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure, ((left, right),) = canvas(1, 2, height=4.2, width=9, sharey=True)
    ticks = []
    for place, name in enumerate(COMPARED):
        found = views.of(cells, name)
        point(left, place - 0.15, found, s.readout, COLOURS[name], MARKS[name])
        ticks.append(f"{name}\n{_count(found)}")
        if name in RIVALS:
            longer = views.of(cells, name, spent=PASSES)
            point(left, place + 0.2, longer, s.readout, COLOURS[name], MARKS[name], filled=False)
            ticks[-1] += f"\nlonger {_count(longer)}"
    _untrained(left, views.of(cells, WHOLE), s.readout)
    left.set_xticks(range(len(COMPARED)), ticks)
    left.set(xlim=(-0.5, len(COMPARED) - 0.4), ylabel=f"test accuracy, {s.readout} (%)", title="at the end")
    for name in COMPARED:
        for spent, line in ((IMAGES, "-"), (PASSES, "--")):
            if name != WHOLE or spent == IMAGES:
                _way(right, views.of(cells, name, spent=spent), passes(s, name), COLOURS[name], MARKS[name], line)
    right.set(xscale="log", xlabel="passes through the encoder (millions of images)", title="on the way, mean over runs")
    right.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    right.xaxis.set_minor_formatter(NullFormatter())
    handles = [key(name, COLOURS[name], MARKS[name]) for name in COMPARED]
    handles += [key("equal images seen", style.GREY, "o", "-"), key("equal passes", style.GREY, "o", "--", inside="white")]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, title=INTERVALS, title_fontsize=9.5, columnspacing=1.0)
    figure.suptitle(f"Several views and masks, or longer training?\n[{scope}]")
    return figure


def _way(ax, found: Arm, cost: float, colour: str, marker: str, line: str) -> None:
    """Linear accuracy at the readings on the way, against the passes until then."""
    runs = [record for record in found.sound if "linear" in record.metrics and record.metrics["linear"].notna().any()]
    if not runs:
        return
    read = pd.concat([record.metrics.dropna(subset="linear")[["epoch", "linear"]] for record in runs]).groupby("epoch")["linear"].mean()
    at = read.index.to_numpy() * runs[0].manifest["train_images"] * cost / 1e6
    ax.plot(at, read.to_numpy(), line, marker=marker, color=colour, mfc=colour if line == "-" else "white")


def net_plot(cells: pd.DataFrame, s: Settings, scope: str) -> Figure:
    figure, ((ax,),) = canvas(height=3.8)
    names = views.nets(cells)
    for place, net in enumerate(names):
        for shift, name in ((-0.12, WHOLE), (0.12, SUPERVISED)):
            point(ax, place + shift, views.of(cells, name, net), s.readout, COLOURS[name], MARKS[name])
    pairs = {net: [_count(views.of(cells, name, net)) for name in (WHOLE, SUPERVISED)] for net in names}
    ax.set_xticks(range(len(names)), [f"{net}\n{' '.join(dict.fromkeys(counts))}" for net, counts in pairs.items()])
    ax.set(xlim=(-0.6, len(names) - 0.4), xlabel=INTERVALS, ylabel=f"test accuracy, {s.readout} (%)")
    handles = [key(name, COLOURS[name], MARKS[name]) for name in (WHOLE, SUPERVISED)]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    ax.set_title(f"Without labels or with them, the same net, equal images seen\n[{scope}]")
    return figure


def form_plot(cells: pd.DataFrame, s: Settings, scope: str) -> Figure:
    figure, ((ax,),) = canvas(height=3.6)
    names = (WHOLE, *FORMS)
    for place, name in enumerate(names):
        point(ax, place, views.of(cells, name), s.readout, style.BLUE if name == WHOLE else style.ORANGE, "o")
    ax.set_xticks(range(len(names)), [f"{name}\n{_count(views.of(cells, name))}" for name in names])
    ax.set(xlim=(-0.5, len(names) - 0.5), xlabel=INTERVALS, ylabel=f"test accuracy, {s.readout} (%)")
    ax.set_title(f"As it is here, and with one thing as it was published\n[{scope}]")
    return figure


def corruption_plot(cells: pd.DataFrame, scope: str) -> Figure:
    """A panel a family: accuracy against severity, a line a method; severity 0 is the image untouched."""
    figure, axes = canvas(1, len(FAMILIES), height=3.7, width=9, sharey=True)
    for ax, (family, names) in zip(axes[0], FAMILIES.items(), strict=True):
        rows = [CORRUPTIONS.index(name) for name in names]
        for name in COMPARED:
            found = _read(views.of(cells, name))
            if not found.records:
                continue
            clean = summary([record.evaluations["robust"]["top1"] for record in found.records.values()])
            each = [corruptions_of(_alone(found, seed))[rows].mean(0) for seed in found.records]
            curve(ax, [0, *SEVERITIES], [clean, *(summary(values) for values in np.transpose(each))], COLOURS[name], MARKS[name], name)
        ax.set(title=family, xlabel="severity", xticks=[0, *SEVERITIES])
    if not any(_read(views.of(cells, name)).records for name in COMPARED):
        say_missing(axes[0][0], "runs read out on altered images", shared=True)
    axes[0][0].set_ylabel("test accuracy, linear (%)")
    figure.legend(handles=_keys(cells, COMPARED), loc="outside lower center", ncols=4, title=OVER_SEEDS, title_fontsize=9.5)
    figure.suptitle(f"Accuracy under corruptions, by family\n[{scope}]")
    return figure


def shift_plot(cells: pd.DataFrame, scope: str) -> Figure:
    """A panel a group: accuracy untouched and under each level, for the whole, what it is without a part, and SimCLR."""
    shown = (WHOLE, NO_SMALL, NO_LARGE, SIMCLR)
    figure, axes = canvas(1, len(SHIFTS), height=4.4, width=9, sharey=True)
    for ax, (group, levels) in zip(axes[0], SHIFTS.items(), strict=True):
        for shift, name in zip((-0.24, -0.08, 0.08, 0.24), shown, strict=True):
            found = _read(views.of(cells, name))
            told = [record.evaluations["robust"] for record in found.records.values()]
            _mark(ax, shift, summary([each["top1"] for each in told]), COLOURS[name], MARKS[name])
            for place, level in enumerate(levels, start=1):
                _mark(ax, place + shift, summary([each[group][level] for each in told]), COLOURS[name], MARKS[name])
        names = [level.replace("another image's", "other").replace("turned by ", "+ ") for level in levels]
        ax.set_xticks(range(len(levels) + 1), ["untouched", *names], rotation=90)
        ax.set(title=group)
    axes[0][0].set_ylabel("test accuracy, linear (%)")
    figure.legend(handles=_keys(cells, shown), loc="outside lower center", ncols=4, title=OVER_SEEDS, title_fontsize=9.5)
    figure.suptitle(f"Partly hidden, smaller or larger, of another look\n[{scope}]")
    return figure


def background_plot(cells: pd.DataFrame, scope: str) -> Figure:
    """Accuracy by what is left of an image, with masks in training and without; supervised and SimCLR beside them."""
    shown = (WHOLE, SMALL, SIMCLR, SUPERVISED)
    figure, ((ax,),) = canvas(height=4.4, width=8)
    for shift, name in zip((-0.24, -0.08, 0.08, 0.24), shown, strict=True):
        found = _read(views.of(cells, name))
        for place, kind in enumerate(KINDS):
            _mark(ax, place + shift, _backgrounds(found, kind), COLOURS[name], MARKS[name])
    ax.set_xticks(range(len(KINDS)), [kind.replace(" ", "\n") for kind in KINDS])
    ax.set(xlim=(-0.5, len(KINDS) - 0.5), ylabel="test accuracy, linear (%)", xlabel=OVER_SEEDS)
    names = {WHOLE: "ReLICv2 (with masks)", SMALL: "the same without masks"}
    figure.legend(handles=_keys(cells, shown, names), loc="outside lower center", ncols=2)
    ax.set_title(f"What is read from the background\n[{scope}]")
    return figure


def label_plot(table: pd.DataFrame, scope: str) -> Figure:
    """Accuracy against the share of labels, frozen and fine-tuned, a line a method."""
    figure, ((left, right),) = canvas(1, 2, height=3.8, width=8.4, sharey=True)
    there = table.dropna(subset="frozen") if "frozen" in table else table.iloc[:0]
    for name in COMPARED:
        own = there[there["method"] == name]
        at = own["labels"].str.rstrip(" %").astype(float) if len(own) else []
        for ax, how in ((left, "frozen"), (right, "fine-tuned")):
            if len(own):
                ax.plot(at, own[how], marker=MARKS[name], color=COLOURS[name])
    if len(there):
        scratch = there[there["method"] == there["method"].iloc[0]]
        right.plot(scratch["labels"].str.rstrip(" %").astype(float), scratch["from scratch"], ":", color=style.GREY)
        shares = sorted({float(each.rstrip(" %")) for each in there["labels"]})
    for ax, how in ((left, "frozen, a linear probe"), (right, "trained end to end")):
        if not len(there):
            say_missing(ax, "runs read out with few labels", shared=True)
            continue
        ax.set(xscale="log", xlabel="labels (% of the training images)", title=how)
        ax.set_xticks(shares, [f"{share:g}" for share in shares])
        ax.minorticks_off()
    left.set_ylabel("test accuracy (%)")
    handles = [key(name, COLOURS[name], MARKS[name]) for name in COMPARED] + [key("from scratch", style.GREY, "", ":")]
    runs = counted([int(n) for n in there["n"]]) if len(there) else 0
    figure.legend(handles=handles, loc="outside lower center", ncols=5, title=f"n = {runs} a method", title_fontsize=9.5)
    figure.suptitle(f"With few labels\n[{scope}]")
    return figure


def _read(found: Arm) -> Arm:
    """The runs of an arm that were read out on altered images."""
    sound = {id(record) for record in found.sound}
    kept = {seed: record for seed, record in found.records.items() if id(record) in sound and "robust" in record.evaluations}
    return Arm(found.name, kept)


def _alone(found: Arm, seed: int) -> Arm:
    return Arm(found.name, {seed: found.records[seed]})


def _backgrounds(found: Arm, kind: str) -> Summary:
    return summary([record.evaluations["robust"][BACKGROUNDS][kind] for record in found.records.values()])


def _mark(ax, place: float, value: Summary, colour: str, marker: str) -> None:
    if not value.n:
        return absent(ax, place)
    if value.low is not None:
        ax.plot([place, place], [value.low, value.high], color=colour, lw=1.6)
    ax.plot(place, value.mean, marker, color=colour, ms=6)


def _keys(cells: pd.DataFrame, names, words: dict | None = None) -> list:
    told = words or {}
    return [key(f"{told.get(name, name)} {_count(_read(views.of(cells, name)))}", COLOURS[name], MARKS[name]) for name in names]


def _untrained(ax, found: Arm, readout: str) -> None:
    """A line where the same net lies before training."""
    value = before(found, readout)
    if value is not None:
        ax.axhline(value, color=style.GREY, ls=":", lw=1.4)
        ax.text(0.01, value, "untrained", transform=ax.get_yaxis_transform(), va="bottom", fontsize=9, color=style.GREY)


def _count(found: Arm) -> str:
    lost = found.collapsed
    return f"(n = {len(found.sound)}{'' if not lost else '‡' if lost == len(found.records) else '†'})"
