"""Frozen features: what the encoder says of every image, in evaluation's plain view."""

from dataclasses import dataclass

import torch

from helpers.core.devices import autocast, out_of_memory
from helpers.core.errors import Diverged, UserError
from helpers.data import Batches

SMALLEST = 8  # images a batch, below which less memory is not asked for again


@dataclass(frozen=True)
class Features:
    """x float32 [N, width] and y int64 [N], row by row the images of a split, on one device."""

    x: torch.Tensor
    y: torch.Tensor


@torch.no_grad()
def extract(encoder, views, split, *, device, indices=None, batch_size=512, precision="auto") -> Features:
    """Features of the split's images (or of those at `indices`) in order; the encoder is in eval mode meanwhile."""
    device = torch.device(device)
    count = len(split.images) if indices is None else len(indices)
    if split.labels is None:
        raise UserError("This split has no labels, so its features cannot be scored. Use a labelled split, such as 'train' or 'test'.")
    if count == 0:
        raise UserError("No images to extract features from: `indices` is empty.")
    modes = [(part, part.training) for part in encoder.modules()]
    encoder.to(device).eval()
    try:
        while True:
            try:
                x, y = _extracted(encoder, views, split, device, indices, count, min(batch_size, count), precision)
                break
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error) or batch_size <= SMALLEST:
                    raise
            batch_size //= 4  # other runs may share the card, and what was trained must not be lost for want of room to read it
            if device.type == "cuda":
                torch.cuda.empty_cache()
    finally:
        for part, mode in modes:
            part.training = mode
    if not torch.isfinite(x).all():
        bad = int((~torch.isfinite(x)).any(1).sum())
        raise Diverged(f"The encoder's features are not finite for {bad} of {count} images: its training diverged. Lower the rate.")
    return Features(x, y)


def _extracted(encoder, views, split, device, indices, count, batch_size, precision) -> tuple[torch.Tensor, torch.Tensor]:
    x, y, done = None, torch.empty(count, dtype=torch.int64, device=device), 0
    for batch in Batches(split, batch_size, device, indices=indices, drop_last=False).in_order():
        images = views.plain(batch.images).contiguous(memory_format=torch.channels_last)
        with autocast(device, precision):
            features = encoder(images)
        if x is None:  # filled in place: concatenating at the end would hold everything twice
            x = torch.empty(count, features.shape[1], device=device)
        x[done : done + len(features)] = features
        y[done : done + len(features)] = batch.labels
        done += len(features)
    return x, y
