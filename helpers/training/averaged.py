"""The encoder that is read may be an average of those that training went through: steadier than the last one, and free to keep."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Averaged:
    """An exponential average of an encoder's weights and statistics. It begins short and grows to its momentum: a function of the step
    alone, so that a resumed run averages as an undisturbed one. Contents are copied, never swapped: a CUDA graph knows its weights by
    their place."""

    def __init__(self, encoder: nn.Module, momentum: float):
        self.momentum = momentum
        self.live = [value for value in (*encoder.parameters(), *encoder.buffers()) if value.is_floating_point()]
        self.values = [value.detach().clone() for value in self.live]

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move towards the encoder: once an optimizer step, the first being number 1."""
        torch._foreach_lerp_(self.values, [value.detach() for value in self.live], 1 - min(self.momentum, step / (step + 9)))

    @torch.no_grad()
    def install(self) -> None:
        """The average into the encoder, for good."""
        torch._foreach_copy_([value.detach() for value in self.live], self.values)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The encoder is the average while this is open."""
        kept = [value.detach().clone() for value in self.live]
        self.install()
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_([value.detach() for value in self.live], kept)

    def load(self, values: list[torch.Tensor]) -> None:
        """Back from a checkpoint."""
        for own, value in zip(self.values, values, strict=True):
            own.copy_(value)
