"""Drawing on axes that the caller made: maps with thumbnails, saliency, neighbours, confusion. Nothing here is told by colour alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from helpers.insight.thumbnails import Layout

RIGHT, WRONG = "#0072B2", "#D55E00"  # blue and vermilion, apart for colour-blind readers; wrong ones are dashed and crossed too
CLIPPED = 99  # percentile of a saliency map shown as white: a few pixels would otherwise leave the rest black
SHOWN = 0.72  # share of its square's width that a thumbnail takes; the dots of the others are seen around it
NUMBERED = 12  # classes up to which a confusion matrix has room for numbers


def draw_thumbnail_map(ax: Axes, points, labels, thumbs, layout: Layout, looks) -> None:
    """Every point as a dot of its class, and over them the thumbnails of `layout`, with a frame and a corner mark of their class.

    `thumbs` are the pictures of layout.rows, in their order; `looks` the (colour, marker) of each class.
    """
    points, labels = np.asarray(points, dtype=np.float32), np.asarray(labels)
    for index, (colour, marker) in enumerate(looks):
        ax.plot(*points[labels == index].T, marker, color=colour, ms=3.5, mew=0, alpha=0.6, rasterized=True)
    half = SHOWN / 2 * layout.width
    for picture, (x, y), label in zip(thumbs, layout.positions, labels[layout.rows], strict=True):
        # One by one with the dots: images that matplotlib joins behind rasterized dots end up at the wrong places of an SVG.
        ax.imshow(picture, extent=(x - half, x + half, y - half, y + half), zorder=2, interpolation="none", rasterized=True)
        colour, marker = looks[label]
        _frame_at(ax, x, y, half, colour)
        ax.plot(x - half, y + half, marker, color=colour, ms=6, mec="white", mew=0.7, zorder=4)
    _bare(ax)
    low, high = np.minimum(points.min(0), layout.positions.min(0) - half), np.maximum(points.max(0), layout.positions.max(0) + half)
    margin = 0.02 * (high - low).max()
    ax.set(xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin), aspect="equal")


def draw_saliency_rows(axes, images, maps: dict, titles) -> None:
    """Images in the first row and under each its map by every method. `axes` is [1 + methods, images], `maps` name to [n, H, W]."""
    for column, (picture, title) in enumerate(zip(images, titles, strict=True)):
        _bare(axes[0, column]).imshow(picture, interpolation="none")
        axes[0, column].set_title(title, fontsize="medium")
        for row, values in enumerate(maps.values(), 1):
            shown = np.asarray(values[column], dtype=np.float32)
            _bare(axes[row, column]).imshow(shown, cmap="inferno", vmin=0, vmax=np.percentile(shown, CLIPPED) or 1, interpolation="none")
    for row, name in enumerate(["image", *maps]):
        axes[row, 0].set_ylabel(name)


def draw_neighbour_rows(axes, queries, neighbours, right, titles) -> None:
    """Each query and, right of it, its neighbours, nearest first. `axes` is [n, 1 + k], `neighbours` [n, k, s, s, 3].

    `right` [n, k] says which neighbours are of the query's class: those have a solid frame, the others a dashed one and a cross.
    """
    for row, (query, found, matches, title) in enumerate(zip(queries, neighbours, right, titles, strict=True)):
        _bare(axes[row, 0]).imshow(query, interpolation="none")
        axes[row, 0].set_ylabel(title, rotation=0, ha="right", va="center")
        for ax, picture, match in zip(axes[row, 1:], found, matches, strict=True):
            _bare(ax).imshow(picture, interpolation="none")
            for spine in ax.spines.values():
                spine.set(
                    visible=True, color=RIGHT if match else WRONG, linewidth=2.5, linestyle="-" if match else (0, (2, 1)), capstyle="butt"
                )
            if not match:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
                ax.text(0.94, 0.94, "×", transform=ax.transAxes, ha="right", va="top", color=WRONG, weight="bold", bbox=box)
    axes[0, 0].set_title("query", fontsize="medium")
    for place, ax in enumerate(axes[0, 1:], 1):
        ax.set_title(str(place), fontsize="medium")


def draw_confusion(ax: Axes, matrix, names) -> None:
    """Percent of each true class by predicted class; the numbers themselves where there is room, from half a percent on."""
    matrix = np.asarray(matrix, dtype=np.float64)
    shares = 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    drawn = ax.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    if len(names) <= NUMBERED:
        for row, column in zip(*np.nonzero(shares >= 0.5), strict=True):
            share = shares[row, column]
            ax.text(column, row, f"{share:.0f}", ha="center", va="center", color="white" if share > 55 else "black", fontsize="small")
    size = "small" if len(names) <= NUMBERED else 6.5
    ax.set_xticks(range(len(names)), names, rotation=90 if len(names) > NUMBERED else 40, ha="center" if len(names) > NUMBERED else "right")
    ax.set_yticks(range(len(names)), names)
    ax.tick_params(length=0, labelsize=size)
    ax.set(xlabel="predicted", ylabel="true")
    ax.grid(False)
    ax.figure.colorbar(drawn, ax=ax, label="% of the true class", shrink=0.8)


def _bare(ax: Axes) -> Axes:
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax


def _frame_at(ax: Axes, x: float, y: float, half: float, colour: str) -> None:
    from matplotlib.patches import Rectangle

    ax.add_patch(Rectangle((x - half, y - half), 2 * half, 2 * half, fill=False, edgecolor=colour, linewidth=1.5, zorder=3))
