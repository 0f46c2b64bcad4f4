"""The newest keys of the steps before: MoCo's dictionary, SwAV's store."""

import torch
import torch.nn.functional as F
from torch import nn

from helpers.core.errors import UserError
from helpers.methods.gather import processes


class Queue(nn.Module):
    """`size` unit vectors, the oldest overwritten first. Vectors and place are buffers: a resumed run goes on in the middle.

    It begins with random directions, as MoCo's does. push() belongs into after_step(): a step is never its own negative.
    """

    def __init__(self, size: int, width: int):
        super().__init__()
        self.register_buffer("keys", F.normalize(torch.randn(size, width), dim=1))
        self.register_buffer("place", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, keys: torch.Tensor) -> None:
        rows = torch.arange(len(keys), device=keys.device).add_(self.place).remainder_(len(self.keys))
        self.keys.index_copy_(0, rows, keys.to(self.keys.dtype))
        self.place.add_(len(keys)).remainder_(len(self.keys))


def check_queue(size: int, images: int, batch_size: int) -> None:
    """Refuse a queue that would hold an image's own older keys many times over, or parts of batches (of all processes together)."""
    batch_size *= processes()
    if size > images:
        raise UserError(
            f"queue = {size} is larger than the {images} training images: each would be its own negative. Lower it to {images} or less."
        )
    if size % batch_size:
        near = max(batch_size, round(size / batch_size) * batch_size)
        raise UserError(
            f"queue = {size} is not a multiple of the batch of {batch_size}, so keys of different ages would mix. Nearest: {near}."
        )
