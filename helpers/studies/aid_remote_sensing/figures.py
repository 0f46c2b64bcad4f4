"""The figures of the study of scenes, drawn from records alone. What was not run is marked missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers.judging.arms import Arm, accuracy
from helpers.judging.claims import Undecided
from helpers.report import style
from helpers.report.marks import absent, counted, curve, key, point
from helpers.report.style import canvas, say_missing
from helpers.studies.aid_remote_sensing import claims as aid
from helpers.studies.aid_remote_sensing.runs import SETTINGS
from helpers.studies.aid_remote_sensing.settings import ALTERED_ON, AS_RUN, BACKBONES, COMPANION, CORRECT, SCENES, TESTED
from helpers.studies.aid_remote_sensing.tables import class_table, mean_class

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INTERVALS = "lines: 95 % interval over seeds; over test images where n = 1"
DAGGERS = "† collapsed runs left out, ‡ every run collapsed"


def forensic_plot(cells: pd.DataFrame, readout: str, scope: str) -> Figure:
    """A panel a backbone: the four settings of scaling and rate, the untrained net, chance, and what was published for one of them."""
    figure, (panels,) = canvas(1, 3, height=4.4, width=9, sharey=True)
    names = ["correct\ntested", "correct\ntheirs", "theirs\ntested", "theirs\ntheirs"]
    for ax, backbone in zip(panels, BACKBONES, strict=True):
        seeds = []
        for place, setting in enumerate(SETTINGS):
            found = aid.forensic(cells, backbone, *setting)
            seeds.append(_count(found))
            point(ax, place, found, readout, style.BACKBONES[backbone], "s" if setting[0] == CORRECT else "o", setting[1] == TESTED)
            before = accuracy(aid.untrained(found), f"{readout}_untrained")[0].mean
            if before is not None:
                ax.plot([place - 0.3, place + 0.3], [before, before], color=style.GREY, ls=":", lw=1.6)
        theirs = aid.published()["accuracy"].get(backbone)
        place = SETTINGS.index(AS_RUN)
        if theirs:
            ax.plot(place + 0.22, theirs["last"], "D", mfc="none", color=style.BLACK, ms=8)
        _chance(ax, aid.forensic(cells, backbone, *AS_RUN), cells)
        ax.set_xticks(range(4), [f"{name}\n{n}" for name, n in zip(names, seeds, strict=True)])
        ax.set(xlim=(-0.5, 3.5), title=backbone)
    panels[0].set_ylabel(f"test accuracy, {readout} (%)")
    panels[1].set_xlabel("input scaling, and below it the maximum rate")
    handles = [
        key("published on AID, as it was run", style.BLACK, "D", inside="none"),
        key("the same net untrained", style.GREY, "", ":"),
        key("chance", style.VERMILION, "", "--"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, title=f"{INTERVALS}; {DAGGERS}", title_fontsize=9.5)
    figure.suptitle(f"Is it the architecture? Scaling x rate x backbone\n[{scope}]")
    return figure


def backbone_plot(cells: pd.DataFrame, readout: str, scope: str) -> Figure:
    """Each backbone untrained, by contrast and with labels: overall accuracy, and the mean over classes beside it."""
    figure, ((ax,),) = canvas(height=4.0)
    for place, backbone in enumerate(BACKBONES):
        own, labelled = aid.main(cells, backbone), aid.supervised(cells, backbone)
        colour = style.BACKBONES[backbone]
        for shift, found, suffix, marker in ((-0.25, aid.untrained(own), "_untrained", "v"), (0, own, "", "o"), (0.25, labelled, "", "s")):
            point(ax, place + shift, found, readout + suffix, colour, marker)
            balanced = None if suffix else mean_class(found, readout)
            if balanced is not None:
                ax.plot(place + shift + 0.09, balanced, "_", color=style.BLACK, ms=11, mew=2)
        theirs = aid.published()["accuracy"].get(backbone)
        if theirs:
            ax.plot(place, theirs["last"], "D", mfc="none", color=style.BLACK, ms=8)
    ax.set_xticks(range(len(BACKBONES)), [f"{each}\n{_count(aid.main(cells, each))}" for each in BACKBONES])
    labels = min(len(aid.supervised(cells, backbone).records) for backbone in BACKBONES)
    handles = [
        key(name, style.GREY, marker) for marker, name in (("v", "untrained"), ("o", "contrast"), ("s", f"with labels (n = {labels})"))
    ]
    handles += [key("mean over classes", style.BLACK, "_"), key("published on AID (contrast)", style.BLACK, "D", inside="none")]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, handletextpad=0.2, columnspacing=1.0)
    ax.set(xlim=(-0.5, len(BACKBONES) - 0.5), xlabel=INTERVALS, ylabel=f"test accuracy, {readout} (%)")
    ax.set_title(f"Accuracy by backbone, right scaling and tested rate\n[{scope}]")
    return figure


def class_plot(cells: pd.DataFrame, readout: str, scope: str) -> Figure:
    """Accuracy of every class, the hardest on top, a mark a backbone."""
    table, _ = class_table(cells, readout)
    figure, ((ax,),) = canvas(height=max(3.0, 1.6 + 0.21 * len(table)))
    ax.set_title(f"Which scenes are hard: accuracy by class, {readout}\n[{scope}]")
    if not len(table):
        say_missing(ax, "predictions of the corrected contest")
        return figure
    for backbone, marker in zip(BACKBONES, "osD", strict=True):
        runs = len(aid.main(cells, backbone).records)
        ax.plot(table[backbone], range(len(table)), marker, color=style.BACKBONES[backbone], ms=5, label=f"{backbone} (n = {runs})")
    names = [f"{row['class']} ({row['test images']})" for _, row in table.iterrows()]
    ax.set_yticks(range(len(table)), names, fontsize=8.5)
    ax.set(xlabel="accuracy of the class (%), mean over seeds", ylabel="class (test images)", xlim=(-2, 102))
    ax.set_ylim(len(table) - 0.4, -0.6)
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def resolution_plot(cells: pd.DataFrame, readout: str, scope: str) -> Figure:
    """Accuracy against the image's side, a line a backbone, each beside the same net untrained."""
    from matplotlib.ticker import NullFormatter

    figure, ((ax,),) = canvas(height=4.0)
    sizes = aid.resolutions(cells)
    for shift, backbone, marker in zip((0.985, 1.0, 1.015), BACKBONES, "osD", strict=True):
        arms = [aid.at_size(cells, backbone, size) for size in sizes]
        found = [accuracy(each, readout)[0] for each in arms]
        before = [accuracy(aid.untrained(each), f"{readout}_untrained")[0].mean for each in arms]
        at, colour = np.array(sizes) * shift, style.BACKBONES[backbone]
        seeds = [each.n for each in found if each.n]
        gone = f", {len(found) - len(seeds)} sizes missing" if 0 < len(seeds) < len(found) else ""
        curve(ax, at, found, colour, marker, f"{backbone} (n = {counted(seeds)}){gone}" if seeds else f"{backbone} (missing)")
        ax.plot(at, [np.nan if each is None else each for each in before], ":", color=colour, lw=1.5)
    if not any(aid.at_size(cells, backbone, size).records for backbone in BACKBONES for size in sizes):
        say_missing(ax, "every resolution", shared=True)
    ax.plot([], [], ":", color=style.GREY, label="the same nets untrained")
    ax.set_xscale("log")
    ax.set_xticks(sizes, [str(size) for size in sizes])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel=f"side of the image (pixels, log scale)\n{INTERVALS}", ylabel=f"test accuracy, {readout} (%)")
    ax.set_ylim(bottom=0)  # an interval of two seeds may reach below
    ax.set_title(f"Does resolution hold them back?\n[{scope}]")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def pretext_plot(cells: pd.DataFrame, readout: str, scope: str, companion: str) -> Figure:
    """Left: an augmentation added to contrast. Right: what a pretext adds to the untrained net, on scenes and on photographs."""
    figure, ((left, right),) = canvas(1, 2, height=4.0, width=8.6)
    names = ["", *aid.augmentations(cells)]
    for place, added in enumerate(names):
        point(left, place, aid.altered(cells, added), readout, style.BLUE, "o")
    left.set_xticks(range(len(names)), [f"{added or 'neither'}\n{_count(aid.altered(cells, added))}" for added in names])
    left.set(xlim=(-0.5, len(names) - 0.5), ylabel=f"test accuracy, {readout} (%)", title="added to contrast's views, scenes")
    ticks = []
    for place, name in enumerate(aid.pretexts(cells)):
        for shift, data, colour, marker in ((-0.12, COMPANION, style.ORANGE, "s"), (0.12, SCENES, style.BLUE, "o")):
            found = aid.pretext(cells, name, data)
            gains = _gains(found, readout)
            if not gains:
                absent(right, place + shift)
            right.plot([place + shift] * len(gains), gains, marker, color=colour, alpha=0.5, ms=5)
            if gains:
                right.plot([place + shift - 0.07, place + shift + 0.07], [np.mean(gains)] * 2, color=colour, lw=2.5)
        ticks.append(f"{name}\n{_count(aid.pretext(cells, name, SCENES))}")
    right.axhline(0, color=style.GREY, lw=1)
    right.set_xticks(range(len(ticks)), ticks)
    right.set(xlim=(-0.5, len(ticks) - 0.5), ylabel="points over the untrained net", title="as a pretext of its own")
    for colour, marker, label in ((style.ORANGE, "s", f"{companion}, seen from the front"), (style.BLUE, "o", "scenes")):
        right.plot([], [], marker, color=colour, label=label)
    figure.legend(
        *right.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        title=f"left, {INTERVALS}; right: marks single runs, bar their mean",
        title_fontsize=9.5,
    )
    figure.suptitle(f"Rotation and patches: augmentation or pretext? {ALTERED_ON}\n[{scope}]")
    return figure


def count_plot(cells: pd.DataFrame, readout: str, scope: str) -> Figure:
    """Accuracy on few photographs and on many, in equally many steps."""
    figure, ((ax,),) = canvas(height=3.8)
    found = aid.counts(cells)
    for shift, backbone, marker in zip((-0.06, 0, 0.06), BACKBONES, "osD", strict=True):
        arms = [(place, aid.of_count(cells, backbone, images)) for place, images in enumerate(found)]
        there = [(place + shift, each) for place, each in arms if each.records]
        if not there:
            continue
        name = f"{backbone} (n = {min(len(each.records) for _, each in there)})"
        curve(ax, [x for x, _ in there], [accuracy(each, readout)[0] for _, each in there], style.BACKBONES[backbone], marker, name)
    if not any(aid.of_count(cells, backbone, images).records for backbone in BACKBONES for images in found):
        say_missing(ax, "runs on few and on many photographs")
    else:
        ax.set_xticks(range(len(found)), [f"{images:,}" for images in found])
        ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    ax.set(xlabel=f"photographs trained on, in equally many steps\n{INTERVALS}", ylabel=f"test accuracy, {readout} (%)")
    ax.margins(x=0.2)
    ax.set_title(f"Is it the number of images?\n[{scope}]")
    return figure


def _gains(found: Arm, readout: str) -> list[float]:
    gains = []
    for record in found.records.values():
        try:
            gains.append(aid.gain(record, readout))
        except Undecided:
            continue
    return gains


def _count(found: Arm) -> str:
    """Of how many runs a mark is made; a dagger where collapsed runs are left out, two where there are no others."""
    lost = found.collapsed
    return f"(n = {len(found.sound)}{'' if not lost else '‡' if lost == len(found.records) else '†'})"


def _chance(ax: Axes, found: Arm, cells: pd.DataFrame) -> None:
    """A line where guessing lies, once any run tells how many classes there are."""
    told = [each for each in (found, *(aid.main(cells, backbone) for backbone in BACKBONES)) if each.records]
    if told:
        ax.axhline(100 / aid.classes_of(told[0]), color=style.VERMILION, ls="--", lw=1)
