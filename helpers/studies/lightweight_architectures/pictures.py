"""The lightweight study's pictures: what a run looks at and calls alike, which classes are mixed up, what a tint does. From records alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers.insight import flips, kept
from helpers.insight.pictures import draw_confusion, draw_saliency_rows
from helpers.judging.arms import confusion_of, has_collapsed
from helpers.report import style
from helpers.report.pictures import class_name
from helpers.report.style import canvas, say_missing
from helpers.studies.lightweight_architectures.cells import ALIASES, entrant, grid
from helpers.studies.lightweight_architectures.classes import TINTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAPS = {"gradient": "gradient", "smooth": "SmoothGrad"}


def pictured(cells: pd.DataFrame, technique: str, net: str):
    """The first run of a technique on a net that kept pictures; None where there is none."""
    records = entrant(cells, technique, net).records
    return next(
        (record for _, record in sorted(records.items()) if "map.images" in record.arrays or "examples.best.images" in record.arrays), None
    )


def saliency_figure(record, name: str, scope: str) -> Figure:
    """The surest right answers and the worst mistakes of one run's linear probe, with two kinds of maps of what they hang on."""
    arrays = getattr(record, "arrays", {})
    kinds = {
        "best": "surest right answers, probability of the class",
        "worst": "worst mistakes: true → predicted, probability of the true class",
    }
    counts = {kind: len(arrays.get(f"examples.{kind}.true", ())) for kind in kinds}
    figure = _titled(f"What {name} looks at (one run, linear probe) [{scope}]", height=7.6)
    for part, (kind, title) in zip(figure.subfigures(2, 1), kinds.items(), strict=True):
        count = counts[kind] if f"examples.{kind}.images" in arrays else 0
        part.suptitle(title, fontsize=10.5)
        axes = part.subplots(1 + len(MAPS), max(count, 1), squeeze=False) if count else part.subplots(squeeze=False)
        if not count:
            say_missing(axes[0, 0], f"{kind} examples of {name}")
            continue
        maps = {shown: kept(arrays[f"examples.{kind}.{key}"]) for key, shown in MAPS.items()}
        draw_saliency_rows(axes, kept(arrays[f"examples.{kind}.images"]), maps, _titles(record, kind))
    return figure


def confusion_figure(cells: pd.DataFrame, technique: str, readout: str, scope: str) -> Figure:
    """Confusion of one technique, over all nets and seeds."""
    figure, ((ax,),) = canvas(height=5.2, width=6.6)
    arms = grid(cells, (technique,))
    matrix, classes, used = confusion_of(arms, readout)
    if used:
        draw_confusion(ax, matrix, classes)
    else:
        say_missing(ax, f"predictions of {technique}")
    lost = sum(arm.collapsed for arm in arms)
    left_out = f", {lost} collapsed" if lost else ""
    ax.set_title(f"Confusion under {technique}, {readout}; mean over {len(used)} runs{left_out}\n(nets x seeds) [{scope}]")
    return figure


def tint_figure(cells: pd.DataFrame, scope: str) -> Figure:
    """What the linear probe's predictions flip to when all test images are tinted: mean over runs, a bar for the deviation over them."""
    figure, panels = canvas(2, 1, height=5.4, width=8)
    records = [record for arm in grid(cells) for record in arm.records.values() if not has_collapsed(record)]
    for ax, (colour, target) in zip(panels[:, 0], TINTS.items(), strict=True):
        shares, classes = _flip_shares([each for each in records if f"tinted.{colour}" in each.arrays], colour)
        ax.set_title(f"tinted {colour} (the paper: towards {target}), n = {len(shares)} runs")
        if not len(shares):
            say_missing(ax, f"predictions of images tinted {colour}")
            continue
        named = [name in ALIASES[target] for name in classes]
        reach = shares.std(axis=0, ddof=1) if len(shares) > 1 else None
        bars = ax.bar(range(len(classes)), shares.mean(axis=0), yerr=reach, color=style.SKY, ecolor=style.GREY, edgecolor="white")
        for bar, hit in zip(bars, named, strict=True):
            if hit:
                bar.set(facecolor=style.VERMILION, hatch="//")
        ax.set_xticks(range(len(classes)), classes, rotation=30 if len(classes) > 8 else 0)
        ax.set(ylabel="flips to it (%)", ylim=(0, None))
    figure.suptitle(f"Does colour decide? Flips of the linear probe under a tint [{scope}]")
    told = "of the images not called the class before; bars: mean over runs\nlines: ± one deviation over runs; hatched: the paper's class"
    figure.supxlabel(told, fontsize=9.5)
    return figure


def _flip_shares(records: list, colour: str) -> tuple[np.ndarray, list[str]]:
    """Percent of flips to each class [runs, classes]."""
    shares, classes = [], []
    for record in records:
        classes = record.manifest["classes"]
        before, after = record.arrays["linear.predictions"], record.arrays[f"tinted.{colour}"]
        shares.append([flips(before, after, classes, name)["to_target"] for name in classes])
    return np.array(shares), classes


def _titled(title: str, height: float) -> Figure:
    from matplotlib.figure import Figure

    style.use()
    figure = Figure(figsize=(style.WIDTH, height), layout="constrained")
    figure.suptitle(title)
    return figure


def _titles(record, kind: str) -> list[str]:
    arrays = record.arrays
    true, predicted, sure = (np.asarray(arrays[f"examples.{kind}.{name}"]) for name in ("true", "predicted", "probability"))
    if kind == "best":
        return [f"{class_name(record, a)}\n{p:.2f}" for a, p in zip(true, sure, strict=True)]
    return [f"{class_name(record, a)} →\n{class_name(record, b)}, {p:.2f}" for a, b, p in zip(true, predicted, sure, strict=True)]
