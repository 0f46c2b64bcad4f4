"""What every method is: views of the images go in, one loss comes out."""

from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class StepBatch:
    """What a method may know of a step besides the views: which images, how far training is, and randomness of its own."""

    indices: torch.Tensor
    labels: torch.Tensor | None = None
    progress: float = 0.0  # of the whole run, in [0, 1]
    generator: torch.Generator | None = None


class Method(nn.Module):
    """Views -> loss, in three parts, so that gradient accumulation can see all samples of a step at once:

    prepare(views, batch) -> inputs     what the network will see (rotated, masked, ...), drawn once, no gradient
    embed(inputs) -> outputs            a dict of tensors, samples first; the only part that runs the network
    criterion(outputs, batch)           (scalar, dict of detached tensors) from the outputs of the whole batch

    Whatever must survive a resume (queues, averages, prototypes) belongs into parameters or buffers.
    """

    needs_labels = False

    def __init__(self, encoder: nn.Module, views):
        super().__init__()
        self.encoder = encoder
        self.views = views

    def prepare(self, views: list[torch.Tensor], batch: StepBatch):
        return views

    def embed(self, inputs) -> dict[str, torch.Tensor]:
        raise NotImplementedError

    def criterion(self, outputs: dict[str, torch.Tensor], batch: StepBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        raise NotImplementedError

    def loss(self, views: list[torch.Tensor], batch: StepBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return self.criterion(self.embed(self.prepare(views, batch)), batch)

    def after_step(self, progress: float) -> None:
        """Called after every optimizer step: averages, queues."""

    def parameter_groups(self) -> list[dict]:
        """Two groups: matrices and kernels decay; biases, norms and single numbers do not."""
        trained = [p for p in self.parameters() if p.requires_grad]
        return [
            {"params": [p for p in trained if p.ndim > 1], "decay": True},
            {"params": [p for p in trained if p.ndim <= 1], "decay": False},
        ]


def forward_views(encode: nn.Module, views: list[torch.Tensor]) -> torch.Tensor:
    """One forward over all views together, so that they share batch statistics; [N, V, features]."""
    together = encode(torch.cat(views))
    return together.unflatten(0, (len(views), -1)).transpose(0, 1)
