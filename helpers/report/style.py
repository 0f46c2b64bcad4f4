"""How every figure looks: one set of sizes, colours that stay apart for colour-blind readers, one colour a backbone.

matplotlib and seaborn take half a second to import, so they are imported where something is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 7.0  # inches, a page; text of 10 points stays legible at half of it

# Okabe and Ito's colours, told apart by readers with any of the common colour vision deficiencies.
BLUE, ORANGE, GREEN, YELLOW, SKY, VERMILION, PURPLE, BLACK = "#0072B2 #E69F00 #009E73 #F0E442 #56B4E9 #D55E00 #CC79A7 #000000".split()
GREY = "#777777"
BACKBONES = {"ResNet": BLUE, "ConvNeXt": ORANGE, "ViT": GREEN}
SERIES = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK, GREY)
MARKERS = "osD^vPX<>*"

SETTINGS = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "figure.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "studies",  # the same figure gives the same file
    "svg.fonttype": "none",  # words stay text, to be searched and read out; Verdana is as wide as the font they were laid out with
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
}


def use() -> None:
    """Set matplotlib up. Every canvas does; a notebook that draws on its own calls it once."""
    import matplotlib

    matplotlib.rcParams.update(SETTINGS)


def canvas(rows: int = 1, columns: int = 1, height: float = 3.6, width: float = WIDTH, **options) -> tuple[Figure, np.ndarray]:
    """A figure outside pyplot's register, so that nothing shows it twice or keeps it alive; its axes as a 2-D array."""
    from matplotlib.figure import Figure

    use()
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def class_colours(count: int) -> list[tuple[str, str]]:
    """(colour, marker) of each class. Past ten the colours repeat with the next marker, so no two classes look the same."""
    import seaborn as sns

    colours = sns.color_palette("colorblind", 10).as_hex()
    return [(colours[index % 10], MARKERS[(index + index // 10) % len(MARKERS)]) for index in range(count)]


def say_missing(axes: Axes, what: str, shared: bool = False, why: str = "missing:") -> None:
    """A panel that has no data says so. One that shares its vertical axis with others keeps its ticks, which are theirs too."""
    axes.text(0.5, 0.5, f"{why}\n{what}", ha="center", va="center", transform=axes.transAxes, color=GREY, fontsize=10)
    if not shared:
        axes.set(xticks=[], yticks=[])
