"""One run in several processes of one CPU: every batch is shared out, and the gradients are averaged.

A net for small images gives a thread too little work at a time, so that processes of one thread do more than threads of one process:
`make bench-together` says how much. Losses see the samples of all processes (helpers.methods.gather); batch statistics are each one's own.
"""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

from helpers.data import Batch

PATIENCE = timedelta(minutes=30)  # while the first process reads the features, the others wait for it


class Group:
    """The processes of a run, as one of them sees them. The first keeps checkpoints and records, and reads the features."""

    def __init__(self, rank: int, size: int, meeting: Path):
        self.rank, self.size = rank, size
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=size, timeout=PATIENCE)

    def share(self, batch: Batch) -> Batch:
        """This process's part of a batch."""
        own = slice(self.rank, None, self.size)
        return Batch(batch.images[own], None if batch.labels is None else batch.labels[own], batch.indices[own])

    @torch.no_grad()
    def average(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """The gradients' mean over all processes, in one message."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        whole = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(whole)
        parts = whole.div_(self.size).split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def close(self) -> None:
        dist.destroy_process_group()
