"""A network that follows another one slowly: the target of BYOL, the key encoder of MoCo, the teacher of DINO."""

import copy
import math

import torch
from torch import nn


class Average(nn.Module):
    """An exponential average of a network's parameters, no gradient ever; its batch norms keep statistics of their own.

    Call follow() in a method's after_step(), so that the next step's keys come from the average that has already moved. The
    momentum is a function of the progress and nothing else, so a resumed run follows exactly as an undisturbed one.
    """

    def __init__(self, network: nn.Module, momentum: float, *, rising: bool = False):
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.momentum, self.rising = momentum, rising  # rising: along half a cosine to 1 at the end of the run

    def forward(self, inputs):
        with torch.no_grad():
            return self.network(inputs)

    def momentum_at(self, progress: float) -> float:
        return 1 - (1 - self.momentum) * (1 + math.cos(math.pi * progress)) / 2 if self.rising else self.momentum

    @torch.no_grad()
    def follow(self, network: nn.Module, progress: float) -> None:
        """Move towards the network: once an optimizer step."""
        own, theirs = list(self.network.parameters()), list(network.parameters())
        torch._foreach_lerp_(own, theirs, 1 - self.momentum_at(progress))
