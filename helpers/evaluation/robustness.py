"""What a frozen encoder and the linear probe fitted on it still know of altered images: corrupted, shifted, before other backgrounds.

Every encoder sees the same altered images: what is drawn depends on the alteration alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from helpers.core.devices import autocast
from helpers.core.seeds import generator
from helpers.evaluation.backgrounds import KINDS, recomposed, swappable
from helpers.evaluation.corruptions import CORRUPTIONS, SEVERITIES, corrupted
from helpers.evaluation.shifts import SHIFTS, shifted

CLEAN, CORRUPTED, BACKGROUNDS = "clean", "corruptions", "backgrounds"
READINGS = 1 + len(CORRUPTIONS) * len(SEVERITIES) + sum(map(len, SHIFTS.values())) + len(KINDS)  # of each image
BATCH = 500


@dataclass(frozen=True)
class Reader:
    """Who answers: an encoder with a linear classifier (weights [D, C], bias [C]) on its raw features."""

    encoder: torch.nn.Module
    views: object
    classifier: tuple[Tensor, Tensor]
    precision: str = "auto"

    @torch.no_grad()
    def right(self, images: Tensor, labels: Tensor) -> Tensor:
        """For each image whether it is called by its label: bool [N], on the device."""
        weights, bias = self.classifier
        found = []
        for some in images.split(BATCH):
            with autocast(images.device, self.precision):
                features = self.encoder(self.views.plain(some))
            found.append((features.float() @ weights + bias).argmax(1))
        return torch.cat(found) == labels


def robust(reader: Reader, images: Tensor, labels: Tensor, masks: Tensor) -> tuple[dict, dict[str, np.ndarray]]:
    """(accuracies in percent, right answers by image). images uint8 [N, 3, H, W], labels [N] and masks [N, 1, H, W] on one device.

    The numbers: clean; a row of five severities for each corruption; each level of each shift; each background, over the images that
    have one. The arrays, by image: clean (0 or 1), how many of a group's alterations it is right under, and each background (0 or 1).
    """
    modes = [(part, part.training) for part in reader.encoder.modules()]
    reader.encoder.eval()
    try:
        clean = reader.right(images, labels)
        by_group = {
            group: {name: reader.right(made, labels) for name, made in _alterations(group, images)} for group in (CORRUPTED, *SHIFTS)
        }
        there, draw = swappable(masks), generator(images.device, "robustness", BACKGROUNDS)
        if len(labels[there].unique()) < 2:  # a background of another class is what it takes
            there, before = torch.zeros_like(there), dict.fromkeys(KINDS, clean)
        else:
            before = {kind: reader.right(made, labels) for kind, made in recomposed(images, labels, masks, draw).items()}
    finally:
        for part, mode in modes:
            part.training = mode
    told: dict = {"top1": _percent(clean), "images": len(images), "with_background": int(there.sum())}
    kept = {f"robust.{CLEAN}": _small(clean), "robust.swappable": _small(there)}
    for group, found in by_group.items():
        told[group] = {name: _percent(right) for name, right in found.items()}
        kept[f"robust.{group}"] = _small(torch.stack([*found.values()]).sum(0))
    rows = told.pop(CORRUPTED)
    told[CORRUPTED] = {name: [rows[f"{name} {severity}"] for severity in SEVERITIES] for name in CORRUPTIONS}
    told[BACKGROUNDS] = {kind: _percent(right[there]) for kind, right in before.items()}
    kept[f"robust.{BACKGROUNDS}"] = _small(torch.stack([before[kind] for kind in KINDS]))
    return {"robust": told}, kept


def _alterations(group: str, images: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Each alteration of a group with the images altered by it, one at a time."""
    if group == CORRUPTED:
        for name in CORRUPTIONS:
            for severity in SEVERITIES:
                draw = generator(images.device, "robustness", name, severity)
                yield f"{name} {severity}", corrupted(images, name, severity, draw)
    else:
        for level in SHIFTS[group]:
            yield level, shifted(images, group, level, generator(images.device, "robustness", group, level))


def _percent(right: Tensor) -> float | None:
    """None of no images at all."""
    return float(right.float().mean()) * 100 if len(right) else None


def _small(counts: Tensor) -> np.ndarray:
    return counts.to(torch.uint8).cpu().numpy()
