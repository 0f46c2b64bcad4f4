"""Marks that several studies' figures are made of: an arm with its interval, a line of arms, what was not run, keys of a legend."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from helpers.judging.arms import Arm, accuracy
from helpers.judging.statistics import Summary
from helpers.report import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

UNLEARNED = "✗"


def point(axes: Axes, place: float, arm: Arm, readout: str, colour: str, marker: str = "o", filled: bool = True) -> None:
    """Mean with its interval and single runs; "missing" at the axis where nothing was run."""
    value, _ = accuracy(arm, readout)
    if not value.n:
        return absent(axes, place)
    if value.low is not None:
        axes.plot([place, place], [value.low, value.high], color=colour, lw=2)
    single = [record.evaluations[readout]["top1"] for record in arm.sound if "top1" in record.evaluations.get(readout, {})]
    if len(single) > 1:
        axes.plot([place - 0.08] * len(single), single, ".", color=colour, alpha=0.6)
    axes.plot(place, value.mean, marker, color=colour, ms=7, mfc=colour if filled else "white")
    if replace(arm, excused=()).doubts(readout):  # also where a claim excuses it
        unlearned(axes, place, value.mean)


def unlearned(axes: Axes, place: float, height: float) -> None:
    """The sign of what cannot stand for what it was trained to be, beside its mark, and once in each panel what the sign says."""
    axes.annotate(UNLEARNED, (place, height), xytext=(6, 0), textcoords="offset points", va="center", color=style.VERMILION)
    words = f"{UNLEARNED} not learned"
    if words not in [text.get_text() for text in axes.texts]:
        axes.text(0.99, 0.99, words, transform=axes.transAxes, ha="right", va="top", fontsize=9, color=style.VERMILION)


def curve(axes: Axes, at: Sequence[float], found: Sequence[Summary], colour: str, marker: str, label: str) -> None:
    """A line through means, broken where one is missing, each with its interval."""
    axes.plot(at, [np.nan if each.mean is None else each.mean for each in found], marker=marker, color=colour, label=label)
    for x, each in zip(at, found, strict=True):
        if each.low is not None:
            axes.plot([x, x], [each.low, each.high], color=colour, alpha=0.65)


def absent(axes: Axes, place: float) -> None:
    look = {"rotation": 90, "ha": "center", "va": "bottom", "color": style.GREY, "fontsize": 9}
    axes.text(place, 0.03, "missing", transform=axes.get_xaxis_transform(), **look)


def key(name: str, colour: str, marker: str, line: str = "", inside: str | None = None):
    """A legend's entry, the same whether or not anything like it was drawn."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, marker=marker or None, ls=line or "none", mfc=inside or colour, label=name)


def counted(counts: Sequence[int]) -> str:
    """How many runs stand behind the marks of a figure: "3", or "1 to 3"."""
    low, high = min(counts, default=0), max(counts, default=0)
    return f"{low}" if low == high else f"{low} to {high}"
