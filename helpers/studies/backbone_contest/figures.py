"""The contest's figures, drawn from records alone. Each returns a Figure; what was not run is marked missing, not left out.

`scope` goes into every title: embedded, reduced or paper, with the dataset where that helps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers.judging.arms import accuracy
from helpers.judging.claims import Undecided
from helpers.report import style
from helpers.report.marks import absent, curve, key, point
from helpers.report.style import canvas, say_missing
from helpers.studies.backbone_contest import claims as contest
from helpers.studies.backbone_contest.settings import ALONE, BACKBONES, REFERENCE, TRIPLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INTERVALS = "bars: 95 % interval over seeds; over test images where n = 1"


def accuracy_by_backbone(cells: pd.DataFrame, readout: str, scope: str) -> Figure:
    """Each backbone under the reference optimizer, interval and single seeds; the published figures in a panel of their own scale."""
    figure, ((ours, theirs),) = canvas(columns=2, height=3.6)
    counts = {backbone: len(contest.entrant(cells, backbone).records) for backbone in BACKBONES}
    for place, backbone in enumerate(BACKBONES):
        point(ours, place, contest.entrant(cells, backbone), readout, style.BACKBONES[backbone])
        theirs.plot(place, contest.published()["accuracy"][backbone][REFERENCE], "D", mfc="none", color=style.BACKBONES[backbone], ms=8)
    ours.set_xticks(range(3), [f"{backbone}\n(n = {n})" for backbone, n in counts.items()])
    ours.set(ylabel=f"test accuracy, {readout} (%)", title=f"ours [{scope}]")
    theirs.set_xticks(range(3), BACKBONES)
    theirs.set(ylabel="test accuracy (%)", title="published")
    for axes in (ours, theirs):
        axes.set_xlim(-0.5, 2.5)
    figure.suptitle(f"Accuracy by backbone, {REFERENCE}")
    figure.supxlabel(INTERVALS, fontsize=9.5)
    return figure


def optimizer_plot(cells: pd.DataFrame, readout: str, scope: str) -> Figure:
    """Backbones side by side under each optimizer; the published figures below, at a scale of their own."""
    figure, panels = canvas(rows=2, height=5.4)
    ours, theirs = panels[:, 0]
    names = contest.optimizers(cells)
    for shift, backbone in zip((-0.2, 0, 0.2), BACKBONES, strict=True):
        colour = style.BACKBONES[backbone]
        for place, optimizer in enumerate(names):
            point(ours, place + shift, contest.entrant(cells, backbone, optimizer), readout, colour)
            published = contest.published()["accuracy"][backbone].get(optimizer)
            if published is not None:
                theirs.plot(place + shift, published, "D", mfc="none", color=colour, ms=7)
    for axes in (ours, theirs):
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)
    ours.set(ylabel=f"{readout} (%)", title=f"Test accuracy by optimizer, ours [{scope}]")
    theirs.set(ylabel="published (%)", title="Published")
    figure.supxlabel(INTERVALS, fontsize=9.5)
    _legend_of_backbones(ours, "ooo")
    return figure


def learning_curves(cells: pd.DataFrame, scope: str, optimizer: str = REFERENCE) -> Figure:
    """Loss and kNN accuracy by epoch: mean over seeds, range over seeds shaded."""
    from matplotlib.ticker import MaxNLocator  # here, as a notebook imports this module before it has anything to draw

    figure, (panels,) = canvas(1, 2, height=3.4)
    for axes, column, label in zip(panels, ("loss", "knn"), ("contrastive loss (nats)", "test kNN, k = 200, T = 0.1 (%)"), strict=True):
        for backbone in BACKBONES:
            arm = contest.entrant(cells, backbone, optimizer)
            curves = [record.metrics.set_index("epoch")[column].dropna() for record in arm.records.values() if column in record.metrics]
            curves = pd.concat(curves, axis=1) if curves else pd.DataFrame()
            name = f"{backbone} (n = {curves.shape[1]})" if len(curves) else f"{backbone} (missing)"
            axes.plot(
                curves.index,
                curves.mean(axis=1),
                color=style.BACKBONES[backbone],
                label=name,
                marker=style.MARKERS[BACKBONES.index(backbone)],
                markevery=0.1,
                ms=5,
            )
            if curves.shape[1] > 1:
                axes.fill_between(curves.index, curves.min(axis=1), curves.max(axis=1), color=style.BACKBONES[backbone], alpha=0.2, lw=0)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].legend()
    figure.suptitle(f"Learning curves, {optimizer}; shaded: range over seeds [{scope}]")
    return figure


def tsne_panels(cells: pd.DataFrame, classes: tuple[str, ...], scope: str) -> Figure:
    """Test features of the three backbones as maps, one seed each, the same colour and marker for a class throughout."""
    figure, (panels,) = canvas(1, 3, height=3.9, width=9)
    looks = style.class_colours(len(classes))
    for axes, backbone in zip(panels, BACKBONES, strict=True):
        shown = next((r for r in contest.entrant(cells, backbone).records.values() if "tsne" in r.arrays), None)
        axes.set_title(backbone)
        axes.set(xticks=[], yticks=[], xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2" if axes is panels[0] else "")
        if shown is None:
            say_missing(axes, f"map of {backbone}")
            continue
        points, labels = np.asarray(shown.arrays["tsne"], dtype=np.float32), np.asarray(shown.arrays["tsne.labels"])
        for index, (colour, marker) in enumerate(looks):
            axes.plot(*points[labels == index].T, marker, color=colour, ms=3, mew=0, alpha=0.8, rasterized=True)
    handles = [panels[0].plot([], [], marker, color=colour, ms=7, label=f"{i} {classes[i]}")[0] for i, (colour, marker) in enumerate(looks)]
    figure.legend(handles=handles[:30], loc="outside lower center", ncols=5)
    figure.suptitle(f"Test features by class [{scope}]")
    return figure


def cka_matrix(cells: pd.DataFrame, scope: str) -> Figure:
    """Debiased linear CKA between the backbones' test features: mean over paired seeds, range beneath."""
    import seaborn as sns

    figure, ((axes,),) = canvas(height=3.8, width=5.2)
    arms = [contest.entrant(cells, backbone) for backbone in BACKBONES]
    means, notes, seeds = np.full((3, 3), np.nan), np.full((3, 3), "", dtype=object), 0
    for i, j in np.ndindex(3, 3):
        shared = sorted(set(arms[i].records) & set(arms[j].records))
        try:
            found = [contest.alikeness([arms[i].records[s], arms[j].records[s]])[0, 1] for s in shared] if i != j else [1.0] * len(shared)
        except Undecided:
            found = []
        if found:
            means[i, j], seeds = np.mean(found), max(seeds, len(found))
            notes[i, j] = f"{means[i, j]:.2f}" + (f"\n{min(found):.2f} to {max(found):.2f}" if len(found) > 1 and i != j else "")
    sns.heatmap(means, annot=notes, fmt="", vmin=0, vmax=1, cmap="cividis", ax=axes, xticklabels=BACKBONES, yticklabels=BACKBONES)
    _mark_missing(axes, means)
    axes.collections[0].colorbar.set_label("debiased linear CKA (1 = alike)")
    axes.set_title(f"How alike the features are, n = {seeds} [{scope}]")
    return figure


def fairness_plot(cells: pd.DataFrame, readout: str, scope: str) -> Figure:
    """The fairness test the paper argues for: ViT under one and three pretexts, ResNet under both."""
    bars = contest.fairness_arms(cells)
    figure, ((axes,),) = canvas(height=3.4 + 0.7 * (len(bars) - 4))
    prior = contest.published()["prior"]
    theirs = {("ViT", TRIPLE): prior["sit_vit"], ("ResNet", ALONE): prior["simclr_resnet56"]}
    for place, (backbone, pretext) in enumerate(bars):
        arm = contest.pretext_arm(cells, backbone, pretext)
        found, _ = accuracy(arm, readout)
        if found.n:
            axes.barh(place, found.mean, color=style.BACKBONES[backbone], alpha=0.75, height=0.6)
            if found.low is not None:
                axes.plot([found.low, found.high], [place, place], color="black")
        else:
            axes.text(1, place, "missing", va="center", color=style.GREY)
        if (backbone, pretext) in theirs:
            axes.plot(
                theirs[backbone, pretext]["accuracy"],
                place,
                "D",
                mfc="none",
                color="black",
                ms=8,
                label="published" if place == 1 else None,
            )
    counts = [len(contest.pretext_arm(cells, *bar).records) for bar in bars]
    names = [f"{b}, {contest.SHORT[p]} (n = {n})" for (b, p), n in zip(bars, counts, strict=True)]
    axes.set_yticks(range(len(bars)), names)
    axes.set(
        xlim=(0, 100),
        ylim=(len(bars) - 0.4, -0.6),
        title=f"One pretext or three [{scope}]",
        xlabel=f"test accuracy, {readout} (%)\n{INTERVALS}",
    )
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


def rate_sensitivity(cells: pd.DataFrame, readout: str, scope: str) -> Figure:
    """Accuracy at multiples of the range-tested rate, one-cycle against fixed."""
    from matplotlib.ticker import NullFormatter

    swept = cells[cells["part"] == "sensitivity"]
    backbones = [backbone for backbone in BACKBONES if (swept["backbone"] == backbone).any()]
    figure, (panels,) = canvas(1, len(backbones) or 1, height=3.6, sharey=True)
    if not backbones:
        say_missing(panels[0], "wrong rates", why="not part of this variant:")
    for axes, backbone in zip(panels, backbones, strict=False):
        for schedule, colour, marker in (("one-cycle", style.BLUE, "o"), ("fixed", style.VERMILION, "s")):
            factors = sorted(set(swept.loc[(swept["backbone"] == backbone) & (swept["schedule"] == schedule), "rate_factor"].astype(float)))
            found = [(factor, accuracy(contest.rate_arm(cells, backbone, schedule, factor), readout)[0]) for factor in factors]
            there = [each.n for _, each in found if each.n]
            gone = len(found) - len(there)
            name = f"{schedule} ({gone or 'all'} missing)" if gone or not there else f"{schedule} (n = {max(there)})"
            curve(axes, factors, [each for _, each in found], colour, marker, name)
        axes.set(xscale="log", xlabel="multiple of the range-tested rate", title=backbone)
        axes.set_xticks([0.1, 1, 10], ["1/10", "1", "10"])
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.legend()
    panels[0].set_ylabel(f"test accuracy, {readout} (%)")
    figure.supxlabel(INTERVALS, fontsize=10)
    figure.suptitle(f"What a wrong rate costs [{scope}]")
    return figure


def peak_plot(cells: pd.DataFrame, scope: str) -> Figure:
    """Best epoch on the test set against the last epoch, every run of the contest; the published pairs as diamonds."""
    figure, ((axes,),) = canvas(height=3.6)
    names = contest.optimizers(cells)
    logged = {(each["backbone"], each["optimizer"]): each for each in contest.published()["logged"]}
    for place, optimizer in enumerate(names):
        for shift, backbone in zip((-0.22, 0, 0.22), BACKBONES, strict=True):
            colour = style.BACKBONES[backbone]
            ends = contest.ends(contest.entrant(cells, backbone, optimizer))
            axes.plot(
                [place + shift] * len(ends), [peak - last for peak, last in ends], style.MARKERS[BACKBONES.index(backbone)], color=colour
            )
            if not ends:
                absent(axes, place + shift)
            if theirs := logged.get((backbone, optimizer)):
                axes.plot(place + shift + 0.08, theirs["maximum"] - theirs["last"], "D", mfc="none", color=colour, ms=7)
    axes.set_xticks(range(len(names)), names)
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(-0.05, None), xlabel="optimizer; one mark a run")
    axes.set(ylabel="best epoch − last epoch\n(points of kNN)", title=f"What choosing the epoch on test would add [{scope}]")
    _legend_of_backbones(axes, style.MARKERS)
    return figure


def _mark_missing(axes: Axes, values: np.ndarray) -> None:
    """Name the empty cells of a heat map, which seaborn leaves blank."""
    axes.grid(False)
    for i, j in np.argwhere(np.isnan(values)):
        axes.text(j + 0.5, i + 0.5, "missing", ha="center", va="center", color=style.GREY)


def _legend_of_backbones(axes: Axes, markers: str) -> None:
    """Beside the marks, not on them."""
    keys = [key(name, style.BACKBONES[name], marker) for name, marker in zip(BACKBONES, markers, strict=False)]
    axes.legend(handles=[*keys, key("published", "black", "D", inside="none")], loc="upper left", bbox_to_anchor=(1.0, 1.0))
