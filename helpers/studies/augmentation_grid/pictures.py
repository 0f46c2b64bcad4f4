"""What the views of every cell look like, drawn by the code that trains; and the same by hand, in JupyterLab."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from helpers.core.seeds import generator
from helpers.report import style
from helpers.report.style import canvas
from helpers.runs.material import Material, material
from helpers.studies.augmentation_grid.runs import Place, config_of
from helpers.studies.augmentation_grid.settings import GRID, Settings
from helpers.views import make_views, unnormalised
from helpers.views.render import resized

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NINE = 9
# What a person may turn in the preview: a step's strength, its limits and what it is called.
SLIDERS = {
    "Crop": ("crop_scale", 0.05, 1.0, "smallest share of the area"),
    "Cutout": ("cutout_side", 0.1, 1.0, "side of the square"),
    "Color": ("brightness", 0.0, 1.0, "share of the study's strength"),
    "Noise": ("noise_sigma", 0.01, 0.5, "deviation"),
    "Blur": ("blur_sigma", 0.1, 4.0, "largest deviation (pixels)"),
}


def pictures(s: Settings, count: int) -> tuple[torch.Tensor, Material]:
    """Test images, evenly from the start to the end of the set: the first ones are often of one class."""
    images = material(config_of(s, Place("grid", *s.operations[:1] * 2)).data)
    rows = images.test_indices[np.linspace(0, len(images.test_indices) - 1, count).astype(int)]
    return torch.from_numpy(np.ascontiguousarray(images.test.images[rows])), images


def views_of(s: Settings, first: str, second: str, images: torch.Tensor, **changes) -> torch.Tensor:
    """One altered view of each image, in [0, 1], as [n, H, W, 3]: those a run of that cell would train on."""
    config = config_of(s, Place("grid", first, second))
    views = make_views(GRID, s.image_size or images.shape[-1], **config.views.options | changes)
    made, _ = views(images, generator("cpu", 0))
    return unnormalised(made, views.settings).permute(0, 2, 3, 1)


def cell_pictures(s: Settings) -> Figure:
    """One view of one image for every cell; on the left of each row the image itself. Of nine views the middle one by how much it
    differs from the image: colours are left alone in one of five."""
    images, _ = pictures(s, 1)
    side = len(s.operations)
    figure, axes = canvas(side, side + 1, height=1.0 * side + 0.9, width=1.0 * (side + 1) + 0.9)
    plain = images[0].permute(1, 2, 0) / 255
    for i, first in enumerate(s.operations):
        _show(axes[i, 0], plain.numpy())
        axes[i, 0].set_ylabel(first, rotation=0, ha="right", va="center")
        for j, second in enumerate(s.operations):
            views = views_of(s, first, second, images.repeat(NINE, 1, 1, 1))
            apart = (views - _sized(plain, views)).abs().mean((1, 2, 3))
            _show(axes[i, j + 1], views[apart.argsort()[NINE // 2]].numpy())
            if i == 0:
                axes[i, j + 1].set_title(second, fontsize=10)
    axes[0, 0].set_title("image", fontsize=10)
    figure.suptitle(
        f"One test image in every cell [{s.dataset}]\nrows: first step, columns: second; the middle of nine views by difference"
    )
    return figure


def pair_pictures(s: Settings, first: str, second: str, count: int = 8, **changes) -> Figure:
    """Images, and a few views of each by these two steps in this order."""
    images, _ = pictures(s, count)
    rows = [images.permute(0, 2, 3, 1).numpy()]
    repeated = images.repeat(3, 1, 1, 1)
    rows += list(views_of(s, first, second, repeated, **changes).unflatten(0, (3, count)).numpy())
    figure, axes = canvas(len(rows), count, height=4.4, width=9)
    for r, row in enumerate(rows):
        for ax, picture in zip(axes[r], row, strict=True):
            _show(ax, picture)
        axes[r, 0].set_ylabel("image" if r == 0 else f"view {r}")
    order = first if first == second else f"{first}, then {second}"
    figure.suptitle(f"{count} test images and three views of each: {order} [{s.dataset}]")
    return figure


def preview(s: Settings):
    """Two steps and their strength under sliders; the views redraw. For JupyterLab: a batch shows pair_pictures alone."""
    from IPython.display import display
    from ipywidgets import Dropdown, FloatSlider, Output, VBox

    first = Dropdown(options=s.operations, value=s.operations[0], description="first")
    second = Dropdown(options=s.operations, value=s.operations[min(2, len(s.operations) - 1)], description="second")
    sliders, out = {name: _slider(s, FloatSlider, name) for name in SLIDERS if name in s.operations}, Output()

    def redraw(_=None) -> None:
        shown = {first.value, second.value}
        for name, slider in sliders.items():
            slider.layout.display = "" if name in shown else "none"
        changes = {key: value for name in shown & set(sliders) for key, value in changes_of(s, name, sliders[name].value).items()}
        with out:
            out.clear_output(wait=True)
            display(pair_pictures(s, first.value, second.value, **changes))

    for control in (first, second, *sliders.values()):
        control.observe(redraw, names="value")
    redraw()
    return VBox([first, second, *sliders.values(), out])


def _slider(s: Settings, kind, name: str):
    setting, low, high, text = SLIDERS[name]
    held = _held(s)
    value = {"Crop": held.crop_scale[0], "Color": 1.0, "Blur": held.blur_sigma[1]}.get(name, getattr(held, setting))
    look = {"description_width": "initial"}
    return kind(value=value, min=low, max=high, step=(high - low) / 20, description=f"{name}: {text}", continuous_update=False, style=look)


def changes_of(s: Settings, name: str, value: float) -> dict:
    """The settings of the views for an operation at a strength; of the colours, a share of the study's."""
    held = _held(s)
    if name == "Crop":
        return {"crop_scale": (value, held.crop_scale[1])}
    if name == "Color":
        return {key: value * getattr(held, key) for key in ("brightness", "contrast", "saturation", "hue")}
    if name == "Blur":
        return {"blur_sigma": (held.blur_sigma[0], max(value, held.blur_sigma[0]))}
    return {SLIDERS[name][0]: value}


def _held(s: Settings):
    """The settings that the study's runs have."""
    return make_views(GRID, 32, **s.strengths).settings


def _sized(picture: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
    """The picture [H, W, 3] at the views' size."""
    return resized(picture.permute(2, 0, 1)[None], views.shape[1])[0].permute(1, 2, 0)


def _show(ax, picture: np.ndarray) -> None:
    ax.imshow(picture, interpolation="none")
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set(visible=True, color=style.GREY, linewidth=0.5)
