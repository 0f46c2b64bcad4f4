"""Scenes themselves: samples at every resolution, drawn from the data; and which classes are taken for which, from records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from helpers.insight.pictures import draw_confusion
from helpers.judging.arms import confusion_of
from helpers.report.style import canvas, say_missing
from helpers.runs.config import Data
from helpers.runs.material import material
from helpers.studies.aid_remote_sensing import claims as aid
from helpers.studies.aid_remote_sensing.runs import scenes
from helpers.studies.aid_remote_sensing.settings import Settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 6  # classes


def sample_figure(s: Settings) -> Figure:
    """One test image of some classes, a row a resolution, the finest on top: what is lost before any net sees it."""
    sizes = sorted(s.resolutions, reverse=True)
    found = {size: material(Data(**scenes(s, size))) for size in sizes}
    images = found[sizes[0]]
    labels = images.test.labels[images.test_indices]
    chosen = np.unique(np.linspace(0, len(images.dataset.classes) - 1, SHOWN).astype(int))
    rows = [images.test_indices[np.flatnonzero(labels == label)[0]] for label in chosen if (labels == label).any()]
    figure, axes = canvas(len(sizes), len(rows), height=1.45 * len(sizes) + 0.9, width=1.35 * len(rows) + 0.9)
    for line, size in zip(axes, sizes, strict=True):
        for ax, row in zip(line, rows, strict=True):
            ax.imshow(found[size].test.images[row].transpose(1, 2, 0), interpolation="none")
            ax.set(xticks=[], yticks=[])
            ax.grid(False)
        line[0].set_ylabel(f"{size} px")
    for ax, row in zip(axes[0], rows, strict=True):
        ax.set_title(images.dataset.classes[images.test.labels[row]], fontsize=9)
    came = "" if images.dataset.name == "embedded" else f", from images of {images.dataset.side} px"
    figure.suptitle(f"The same test images at each resolution of this study [{s.dataset}{came}]")
    return figure


def confusion_figure(cells: pd.DataFrame, backbone: str, readout: str, scope: str) -> Figure:
    """Confusion of a backbone in the corrected contest, over its seeds."""
    figure, ((ax,),) = canvas(height=7.2, width=8)
    found = aid.main(cells, backbone)
    matrix, classes, used = confusion_of([found], readout)
    if used:
        draw_confusion(ax, matrix, classes)
    else:
        say_missing(ax, f"predictions of {backbone}")
    lost = f", {found.collapsed} collapsed" if found.collapsed else ""
    ax.set_title(f"Which scenes are taken for which: {backbone}, {readout}, mean over {len(used)} runs{lost}\n[{scope}]")
    return figure


def pictured(cells: pd.DataFrame, backbone: str):
    """The first run of a backbone that kept pictures; None where there is none."""
    return next((record for _, record in sorted(aid.main(cells, backbone).records.items()) if "map.images" in record.arrays), None)
