"""The readout of robustness: which test images are altered, and whose masks tell their foreground."""

import numpy as np
import torch

from helpers.data import subset
from helpers.evaluation import Probe
from helpers.evaluation.masks import saliency_masks, true_masks
from helpers.evaluation.robustness import Reader, robust
from helpers.runs.config import RunConfig
from helpers.runs.material import Material
from helpers.runs.stages import Found


def altered(config: RunConfig, images: Material) -> np.ndarray:
    """Which of the tested images are altered, by their place among them: the same for every run of the same data."""
    count, tested = config.evaluation.robustness.images, images.test.labels[images.test_indices]
    return np.arange(len(tested)) if count is None or count >= len(tested) else subset(tested, count=count)


def robust_readout(config: RunConfig, images: Material, method, probe: Probe, device: torch.device) -> Found:
    """robust.* of the trained encoder, with the linear probe that was fitted on images as they are."""
    rows = images.test_indices[altered(config, images)]
    raw = torch.from_numpy(np.ascontiguousarray(images.test.images[rows])).to(device)
    labels = torch.from_numpy(np.asarray(images.test.labels[rows], dtype=np.int64)).to(device)
    masks = masks_of(config, images, rows, raw)
    reader = Reader(method.encoder, method.views, probe.classifier, config.training.precision)
    return robust(reader, raw, labels, masks)


def masks_of(config: RunConfig, images: Material, rows: np.ndarray, raw: torch.Tensor) -> torch.Tensor:
    """The foreground of these test images, from how they were drawn or from what stands out in them."""
    if config.evaluation.robustness.masks == "saliency":
        return saliency_masks(raw)
    data = config.data
    split = data.test_split if data.validation is None else data.train_split
    return true_masks(images.dataset.name, split, data.options, data.image_size, rows).to(raw.device)
