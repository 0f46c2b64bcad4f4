"""The figures of label efficiency, drawn from records alone. What was not read is marked missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers.insight import kept
from helpers.insight.pictures import draw_neighbour_rows
from helpers.judging.claims import Undecided, read_claims
from helpers.judging.statistics import bootstrap_images, summary
from helpers.report import style
from helpers.report.style import canvas, say_missing
from helpers.runs.labels import AT_RANDOM, NEAREST
from helpers.studies.label_efficiency.claims import (
    BATCH,
    FROZEN,
    METHODS,
    RANDOM,
    SCRATCH,
    TEMPERATURE,
    TUNED,
    near,
    on_the_way,
    percent,
    published,
    reading,
    runs_of,
    temperature,
    worth,
)
from helpers.studies.label_efficiency.settings import Settings, about

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS = {
    TUNED: (style.BLUE, "o", "-"),
    FROZEN: (style.SKY, "s", "-"),
    SCRATCH: (style.VERMILION, "D", "--"),
    RANDOM: (style.GREY, "v", ":"),
}


def fraction_curves(cells: pd.DataFrame, s: Settings) -> Figure:
    """Accuracy against the fraction of labels, top-1 and top-3; on the left what SimCLR's labels are worth to supervision alone."""
    figure, ((left, right),) = canvas(1, 2, height=4.9, width=10.5, sharey=True)
    for ax, top in ((left, 1), (right, 3)):
        drawn = [_curve(ax, cells, s, method, top, place) for place, method in enumerate(METHODS)]
        if not any(drawn):
            say_missing(ax, "readings with few labels", shared=True)
        ax.set_xscale("log")
        ax.set_xticks(s.fractions, [percent(fraction) for fraction in s.fractions])
        ax.minorticks_off()
        ax.set_xlim(0.8 * s.fractions[0], 1.25 * s.fractions[-1])
        ax.set(xlabel="share of the training images that have a label", title=f"top-{top}")
        ax.yaxis.set_tick_params(labelleft=True)
    told = _draw_worth(left, cells, s)
    left.set_ylabel("test accuracy (%)")
    handles = [left.plot([], [], marker + line, color=colour, label=method)[0] for method, (colour, marker, line) in LOOKS.items()]
    theirs = f"published, {percent(published()['fraction'])} (ResNet-50)"
    handles.append(left.plot([], [], "o", mfc="white", mec=style.BLACK, label=theirs)[0])
    figure.legend(handles=handles, loc="outside lower center", ncols=5, columnspacing=1.2, handletextpad=0.5)
    figure.suptitle(f"Accuracy against labels [{about(s)}]\n{_bars(cells, s)}{told}")
    return figure


def _curve(ax: Axes, cells: pd.DataFrame, s: Settings, method: str, top: int, place: int) -> bool:
    """Points a little apart, so that intervals do not hide each other; the text's figure as an empty marker."""
    colour, marker, line = LOOKS[method]
    apart = 1.035 ** (place - 1.5)
    found = [(fraction * apart, reading(cells, method, fraction, top)) for fraction in s.fractions]
    found = [(at, each) for at, each in found if each.mean is not None]
    if found:
        middle = np.array([each.mean for _, each in found])
        reach = np.array([[each.mean - each.low, each.high - each.mean] for _, each in found]).T
        ax.errorbar([at for at, _ in found], middle, yerr=np.maximum(reach, 0), fmt=marker + line, color=colour, ms=5, capsize=2.5, lw=1.6)
    who, readout = METHODS[method]
    ax.plot(published()["fraction"] * apart, published()["accuracy"][who][readout][f"top{top}"], marker, mfc="white", mec=colour, ms=6)
    return bool(found)


def _draw_worth(ax: Axes, cells: pd.DataFrame, s: Settings) -> str:
    """From SimCLR's point across to the curve of supervision from scratch and down to its fraction; what it says, for the title."""
    try:
        found = worth(cells, TUNED, s.reference)
    except Undecided:
        return ""
    level = reading(cells, TUNED, s.reference).mean
    ax.plot([s.reference, found.value], [level, level], color=style.BLACK, lw=1, ls=(0, (4, 2)))
    ax.axvline(found.value, color=style.BLACK, lw=1, ls=(0, (4, 2)), zorder=0)
    ax.axvspan(found.low, found.high, color=style.BLACK, alpha=0.08, lw=0)
    return (
        f"\nSimCLR, fine-tuned, with {percent(s.reference)} of the labels = from scratch with {found.words()} of them (dashed, grey band)"
    )


def _bars(cells: pd.DataFrame, s: Settings) -> str:
    found = reading(cells, TUNED, s.reference)
    if found.mean is None:
        return "missing: " + found.note
    each = f"{found.draws} label draws each" if found.draws > 1 else "one label draw each"
    more = "" if found.runs > 1 else "; over test images at 100 %"
    runs = f"n = {found.runs} run{'s' if found.runs > 1 else ''}"
    return f"{runs}, {each}, {s.label_steps:,} steps or more on them; bars: 95 % over {found.over}{more}"


def epoch_curves(cells: pd.DataFrame, s: Settings) -> Figure:
    """Accuracy with few labels against contrastive epochs, between supervision with few labels and with all."""
    figure, ((ax,),) = canvas(height=4.6, width=7.4)
    few, drawn = percent(s.reference), 0
    for readout, method in (("finetune", TUNED), ("linear", FROZEN)):
        colour, marker, line = LOOKS[method]
        found = _way(cells, readout, s.reference)
        if found:
            drawn += 1
            middle, low, high = zip(*found.values(), strict=True)
            ax.plot(list(found), middle, marker + line, color=colour, ms=5, label=f"{method}, {few} of the labels")
            ax.fill_between(list(found), low, high, color=colour, alpha=0.15, lw=0)
    for fraction, colour, line in ((s.reference, LOOKS[SCRATCH][0], "--"), (1.0, style.PURPLE, "-.")):
        found = reading(cells, SCRATCH, fraction)
        if found.mean is not None:
            drawn += 1
            ax.axhline(found.mean, color=colour, ls=line, lw=1.6, label=f"{SCRATCH}, {percent(fraction)} of the labels")
            ax.axhspan(found.low, found.high, color=colour, alpha=0.1, lw=0)
    if not drawn:
        say_missing(ax, "readings on the way")
    ax.set(xlabel="contrastive epochs before the labels are used", ylabel="test accuracy, top-1 (%)")
    runs = len(runs_of(cells).records)
    over = "runs" if runs > 1 else "images or draws"
    curves = f"n = {runs}; curves: one label draw, {s.label_steps:,} steps or more; shaded: 95 % over {over}"
    ax.set_title(f"What contrastive training adds, epoch by epoch\n[{about(s)}]\n{curves}")
    if drawn:
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def _way(cells: pd.DataFrame, readout: str, reference: float) -> dict[int, tuple[float, float, float]]:
    """(mean, low, high) at every epoch that all runs were read at; runs without a reading are left out."""
    ways = []
    for record in runs_of(cells).sound:
        try:
            ways.append(dict(zip(*on_the_way(record, readout, reference), strict=True)))
        except Undecided:
            continue
    found = {}
    for epoch in sorted(set.intersection(*(set(way) for way in ways))) if ways else []:
        each = summary([100 * way[epoch].mean() for way in ways])
        found[int(epoch)] = (each.mean, *((each.low, each.high) if each.n > 1 else bootstrap_images(ways[0][epoch])))
    return found


def loss_curves(cells: pd.DataFrame, s: Settings) -> Figure:
    """The contrastive loss of every run by epoch, and where the text's levels off."""
    figure, ((ax,),) = canvas(height=4.0)
    found = runs_of(cells)
    for place, (seed, record) in enumerate(sorted(found.records.items())):
        ax.plot(
            record.metrics["epoch"], record.metrics["loss"], color=style.SERIES[place % len(style.SERIES)], label=f"seed {seed}", lw=1.4
        )
    margin = read_claims()["L4"].margin
    ax.axhspan(published()["loss"] - margin, published()["loss"] + margin, color=style.BLACK, alpha=0.07, lw=0)
    ax.axhline(published()["loss"], color=style.BLACK, ls="--", lw=1.4, label=f"published, levels off near {published()['loss']}")
    if not found.records:
        say_missing(ax, "loss curves", shared=True)
    else:
        record = next(iter(found.records.values()))
        batch = record.config["training"]["batch_size"] * record.config["training"]["accumulate"]
        same = (batch, temperature(record)) == (BATCH, TEMPERATURE)
        note = "as published" if same else "not as published, so levels are not to be compared"
        ax.text(0.98, 0.97, f"batch {batch}, temperature {temperature(record):g}: {note}", transform=ax.transAxes, ha="right", va="top")
    ax.set(xlabel="contrastive epoch", ylabel="loss, mean over the epoch (nats)")
    ax.set_title(f"Contrastive loss, n = {len(found.records)}; grey: what counts as near\n[{about(s)}]")
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def neighbour_figure(cells: pd.DataFrame, s: Settings) -> Figure:
    """Random test images and their nearest training images, and below failures: images without a neighbour of their class."""
    record = next((each for each in runs_of(cells).records.values() if "neighbours.images" in each.arrays), None)
    if record is None:
        figure, ((ax,),) = canvas(height=3)
        say_missing(ax, "neighbours of test images")
        figure.suptitle(f"Nearest neighbours\n[{about(s)}]")
        return figure
    labels, found = record.arrays["neighbours.labels"], record.arrays["neighbours.found"]
    images = kept(record.arrays["neighbours.images"])
    images = images.reshape(*found.shape, *images.shape[1:])
    names = [str(record.manifest["classes"][int(label)]) for label in labels]
    shown = min(AT_RANDOM, len(labels))
    names = [("" if row < shown else "failure:\n") + name for row, name in enumerate(names)]
    figure, axes = canvas(len(found), 1 + found.shape[1], height=1.05 * len(found) + 1.3, width=7)
    draw_neighbour_rows(axes, kept(record.arrays["neighbours.queries"]), images, found == labels[:, None], names)
    after, before = near(record, "trained"), near(record, "untrained")
    figure.suptitle(f"The {NEAREST} training images nearest to a test image, SimCLR (one run)\n[{about(s)}]")
    figure.supxlabel(
        f"by cosine similarity, nearest first; dashed and crossed: another class. Top {shown} rows: drawn at random;\n"
        f"failures: drawn from the {100 * (after == 0).mean():.0f} % of test images with no neighbour of their class.\n"
        f"Of the class over all {len(after):,} test images: {100 * after.mean():.0f} %, untrained {100 * before.mean():.0f} %",
        fontsize=9.5,
    )
    return figure
