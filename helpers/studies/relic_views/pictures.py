"""Views, masks and altered images as pictures, made by the code that trains and reads; and how good the masks are, in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from helpers.core.errors import UserError
from helpers.core.seeds import generator
from helpers.data.embedded import draw
from helpers.evaluation.backgrounds import KINDS, recomposed, swappable
from helpers.evaluation.corruptions import CORRUPTIONS, corrupted
from helpers.evaluation.masks import grabcut_masks, overlap, saliency_masks, true_masks
from helpers.evaluation.shifts import SHIFTS, shifted
from helpers.report.style import canvas
from helpers.runs.config import Data
from helpers.runs.material import Material, material
from helpers.studies.relic_views.runs import views_of
from helpers.studies.relic_views.settings import WHOLE, Settings
from helpers.views import make_views, unnormalised

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 6  # images
COMPARED = 200  # images, by which masks are measured


def images_of(s: Settings, count: int) -> tuple[torch.Tensor, np.ndarray, Material]:
    """Test images, evenly from the start to the end of the set, with their places in it."""
    found = material(Data(**s.data()))
    rows = found.test_indices[np.linspace(0, len(found.test_indices) - 1, count).astype(int)]
    return torch.from_numpy(np.ascontiguousarray(found.test.images[rows])), rows, found


def view_figure(s: Settings) -> Figure:
    """A row an image: itself, what stands out in it, its large views with every second one masked, its small views."""
    images, _, _ = images_of(s, SHOWN)
    options = views_of(s, WHOLE) | {"alternate": {"mask": 1.0}, "mask": 0.0}
    recipe = make_views(s.views, images.shape[-1], **options)
    made = [unnormalised(view, recipe.settings) for view in recipe(images, generator("cpu", 0))]
    masks = saliency_masks(images)
    columns = [("image", images.float() / 255), ("mask", masks.expand(-1, 3, -1, -1))]
    columns += [(f"large{', masked' if view % 2 else ''}", made[view]) for view in range(s.large)]
    columns += [("small", view) for view in made[s.large :]]
    figure = _grid(columns)
    figure.suptitle(f"Views and masks [{s.dataset}]; in training {100 * s.mask:g} % of the large views are masked")
    return figure


def altered_figure(s: Settings) -> Figure:
    """One image under the 15 corruptions at severity 3, under every shift, and before other backgrounds."""
    images, rows, found = images_of(s, 24)
    draws = generator("cpu", "robustness", "pictures")
    shown = [(name, corrupted(images, name, 3, draws)[1]) for name in CORRUPTIONS]
    words = {"occlusion": "{} hidden", "scale": "{} as large"}
    for group, levels in SHIFTS.items():
        shown += [(words.get(group, "{}").format(level), shifted(images, group, level, draws)[1]) for level in levels]
    masks = saliency_masks(images) if s.masks == "saliency" else true_masks(s.dataset, "test", s.data_options, s.image_size, rows)
    labels = torch.from_numpy(np.asarray(found.test.labels[rows], dtype=np.int64))
    before = recomposed(images, labels, masks, draws)
    shown += [(kind, before[kind][1]) for kind in KINDS]
    columns = 9
    lines = -(-len(shown) // columns)
    figure, axes = canvas(lines, columns, height=1.25 * lines + 0.5, width=1.05 * columns)
    for ax in axes.flat:
        ax.axis("off")
    for ax, (name, picture) in zip(axes.flat, shown, strict=False):
        ax.imshow(picture.permute(1, 2, 0).numpy(), interpolation="none")
        ax.set_title(name.replace("_", " ").replace("another image's colours", "other colours"), fontsize=7.5)
    figure.suptitle(f"One image as it is read out: corrupted (severity 3), shifted, taken apart [{s.dataset}]")
    return figure


def mask_table(s: Settings) -> pd.DataFrame:
    """How well the masks lie over true ones of drawn images and, on the study's own, over GrabCut's; and what simpler masks come to.

    GrabCut is told that the border is background, and of many small photographs it then leaves no object: these are left out."""
    rows = []
    for background in ("plain", "own"):
        drawn, _, truth = draw(COMPARED, background=background, seed=1)
        images, truth = torch.from_numpy(drawn), torch.from_numpy(truth)[:, None].float() / 255
        rows.append({"images": f"drawn, background {background}", "held against": "true masks"} | _overlaps(images, truth))
    if s.dataset != "embedded":
        images, _, _ = images_of(s, COMPARED)
        row = {"images": f"{s.dataset}, test, where GrabCut finds an object", "held against": "GrabCut"}
        try:
            cut = grabcut_masks(images)
            found = swappable(cut)
            rows.append(row | _overlaps(images[found], cut[found]))
        except UserError as error:
            rows.append(row | {"number": None, "note": str(error)})
    return pd.DataFrame(rows)


def _overlaps(images: torch.Tensor, truth: torch.Tensor) -> dict:
    """Mean intersection over union: of saliency, of the whole image, and of a central square as large as saliency's masks."""
    masks = saliency_masks(images)
    side = images.shape[-1]
    away = (torch.arange(side) + 0.5 - side / 2).abs()
    reach = (masks > 0.5).float().mean((1, 2, 3)).sqrt() * side / 2
    square = (torch.maximum(away[:, None], away)[None] <= reach[:, None, None])[:, None].float()
    found = {"saliency": masks, "whole image": torch.ones_like(masks), "central square": square}
    return {"number": len(images)} | {name: float(overlap(each, truth).mean()) for name, each in found.items()}


def _grid(columns: list[tuple[str, torch.Tensor]]) -> Figure:
    count = len(columns[0][1])
    figure, axes = canvas(count, len(columns), height=1.0 * count + 0.8, width=1.05 * len(columns))
    for column, (name, pictures) in enumerate(columns):
        axes[0, column].set_title(name, fontsize=8.5)
        for row in range(count):
            axes[row, column].imshow(pictures[row].permute(1, 2, 0).numpy(), interpolation="none")
            axes[row, column].axis("off")
    return figure
