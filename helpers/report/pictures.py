"""Pictures that several studies draw from a run's record: what lies nearest to a test image, and a map of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from helpers.insight import Layout, kept
from helpers.insight.pictures import draw_neighbour_rows, draw_thumbnail_map
from helpers.report import style
from helpers.report.style import canvas, say_missing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def neighbour_figure(record, name: str, scope: str) -> Figure:
    """Test images and the training images nearest to them by Euclidean distance."""
    arrays = getattr(record, "arrays", {})
    if "neighbours.euclidean.images" not in arrays:
        figure, ((ax,),) = canvas(height=3)
        say_missing(ax, f"neighbours of {name}")
        figure.suptitle(f"Nearest neighbours, {name} [{scope}]")
        return figure
    labels, found = np.asarray(arrays["neighbours.labels"]), np.asarray(arrays["neighbours.euclidean.labels"])
    figure, axes = canvas(len(found), 1 + found.shape[1], height=1.05 * len(found) + 1.1, width=7)
    images = kept(arrays["neighbours.euclidean.images"])
    images = images.reshape(*found.shape, *images.shape[1:])
    titles = [class_name(record, label) for label in labels]
    draw_neighbour_rows(axes, kept(arrays["neighbours.queries"]), images, found == labels[:, None], titles)
    agree = ", ".join(f"{metric} {float(arrays[f'neighbours.{metric}.precision']):.0f} %" for metric in ("euclidean", "cosine"))
    counted = int(arrays.get("neighbours.counted", 0)) or "some"
    figure.suptitle(f"Nearest training images, {name} (one run)\n[{scope}]")
    figure.supxlabel(
        f"by Euclidean distance, nearest first; dashed and crossed: another class\nof the query's class over {counted} queries: {agree}",
        fontsize=9.5,
    )
    return figure


def map_figure(record, name: str, scope: str) -> Figure:
    """t-SNE of one run's test features, some of them as thumbnails framed in their class's colour."""
    arrays = getattr(record, "arrays", {})
    figure, ((ax,),) = canvas(height=7.2, width=7)
    ax.set_title(f"Test features of {name} (t-SNE, one run)\n[{scope}]")
    if "map.images" not in arrays or "tsne" not in arrays:
        say_missing(ax, f"map of {name}")
        return figure
    classes = record.manifest["classes"]
    looks = style.class_colours(len(classes))
    layout = Layout(np.asarray(arrays["map.rows"]), np.asarray(arrays["map.positions"]), float(arrays["map.width"]))
    draw_thumbnail_map(ax, arrays["tsne"], arrays["tsne.labels"], kept(arrays["map.images"]), layout, looks)
    ax.set(xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)")
    handles = [ax.plot([], [], marker, color=colour, ms=7, label=label)[0] for (colour, marker), label in zip(looks, classes, strict=True)]
    small = {"fontsize": 8, "columnspacing": 0.8, "handletextpad": 0.1} if len(classes) > 12 else {}
    figure.legend(handles=handles[:30], loc="outside lower center", ncols=5, **small)
    return figure


def class_name(record, index: int) -> str:
    return str(record.manifest["classes"][int(index)])
