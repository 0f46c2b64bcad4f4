"""Where masks of the foreground come from, and how good they are: found by saliency, drawn with the image, or cut by OpenCV."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from helpers.core.errors import UserError, pick
from helpers.data import embedded
from helpers.evaluation.shifts import at_a_time, check
from helpers.views import saliency

WITH_MASKS = ("embedded",)  # datasets that know what is foreground
ROUNDS = 5  # of GrabCut: after these few the cut hardly moves
BORDER = 0.03  # of a side, at least a pixel, taken for certain background by GrabCut: at 0.1 it lost every object that reaches so far


def saliency_masks(images: Tensor) -> Tensor:
    """What stands out in uint8 images [N, 3, H, W]: float [N, 1, H, W]; ones where nothing does."""
    check(images)
    return torch.cat([saliency(some.float().div_(255)) for some in images.split(at_a_time(images))])


def true_masks(dataset_name: str, split: str, options: dict, image_size: int | None, indices: Sequence[int] | Tensor | None) -> Tensor:
    """How much of each pixel the drawn object covers, for these images of the split (None: all): float [N, 1, H, W], on the CPU.

    Drawn again from the dataset's options, as the images were: packs hold no masks."""
    if dataset_name not in WITH_MASKS:
        raise UserError(f"{dataset_name!r} has no true masks; take masks = 'saliency'. Datasets that have them: {', '.join(WITH_MASKS)}.")
    _, drawn = embedded.find(image_size, options)
    counts = {part: drawn.pop(part) for part in ("train", "test")}
    count = pick(f"split of {dataset_name}", split, counts)
    masks = embedded.draw(count, part=split, **drawn)[2]
    if indices is not None:
        indices = indices.cpu().numpy() if isinstance(indices, Tensor) else np.asarray(indices, dtype=np.int64)
        if len(indices) and not (0 <= indices.min() and indices.max() < count):
            raise UserError(f"Images {indices.min()} to {indices.max()} were asked for; {split} of {dataset_name} has 0 to {count - 1}.")
        masks = masks[indices]
    return torch.from_numpy(masks).unsqueeze(1).float().div_(255)


def overlap(found: Tensor, truth: Tensor, threshold: float = 0.5) -> Tensor:
    """Intersection over union of what lies above the threshold, image by image: float [N]; 1 where both masks are empty."""
    if found.shape != truth.shape:
        raise UserError(f"Masks {list(found.shape)} and {list(truth.shape)} cannot be laid over each other: give both the same shape.")
    found, truth = (found > threshold).flatten(1), (truth > threshold).flatten(1)
    either = (found | truth).sum(1)
    return torch.where(either > 0, (found & truth).sum(1) / either.clamp(min=1), 1.0)


def grabcut_masks(images: Tensor | np.ndarray, border: float = BORDER) -> Tensor:
    """OpenCV's GrabCut from a central rectangle that leaves out `border` of each side: float [N, 1, H, W], 0 or 1, on the CPU.

    A reference for real images, whose true masks nobody drew; it goes image by image and takes about a second for a hundred of 32 px.
    Where the object's colours reach the frame it gives up and finds nothing, in small images more often than not: compare on the
    images of which `backgrounds.swappable` says that it found something."""
    try:
        import cv2
    except ImportError as error:
        raise UserError("GrabCut is OpenCV's, which is not installed: pip install opencv-python-headless") from error
    images = torch.as_tensor(images)
    check(images)
    height, width = images.shape[-2:]
    if not 0 < border < 0.5:
        raise UserError(f"border = {border!r}: give the share of a side that is certain background, above 0 and below 0.5.")
    top, left = (max(1, round(border * side)) for side in (height, width))
    if min(height - 2 * top, width - 2 * left) < 1:
        raise UserError(f"border = {border!r} leaves nothing of images of {height} x {width}; give less, or larger images.")
    rectangle = (left, top, width - 2 * left, height - 2 * top)
    found = [_cut(cv2, image, rectangle) for image in images.permute(0, 2, 3, 1).cpu().numpy()]
    return torch.from_numpy(np.stack(found)).unsqueeze(1) if found else torch.zeros(0, 1, height, width)


def _cut(cv2, image: np.ndarray, rectangle: tuple[int, int, int, int]) -> np.ndarray:
    cv2.setRNGSeed(0)  # its mixtures begin from random centres: so an image's mask depends on nothing but the image
    mask = np.zeros(image.shape[:2], dtype=np.uint8)
    front, back = np.zeros((1, 65)), np.zeros((1, 65))  # the mixtures of colours, which nobody asks for
    cv2.grabCut(np.ascontiguousarray(image), mask, rectangle, back, front, ROUNDS, cv2.GC_INIT_WITH_RECT)
    return np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
