"""Losses of a memory that holds one vector of every training image."""

import math

import torch
import torch.nn.functional as F

from helpers.methods.gather import gathered


def instance_discrimination(z: torch.Tensor, rows: torch.Tensor, bank: torch.Tensor, temperature: float) -> torch.Tensor:
    """The full softmax: each embedding must pick its image's row among all n rows. z: [N, d]; rows: int64 [N]; bank: [n, d].

    No gradient reaches the bank. With all similarities equal it is log(n).
    """
    with torch.autocast(z.device.type, enabled=False):
        z, bank = F.normalize(gathered(z.float()), dim=1), F.normalize(bank.detach().float(), dim=1)
        return F.cross_entropy(z @ bank.T / temperature, gathered(rows))


def instance_nce(
    z: torch.Tensor, rows: torch.Tensor, noise: torch.Tensor, bank: torch.Tensor, temperature: float, constant: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise contrast in place of the full softmax: each embedding must tell its image's row from K rows drawn evenly.

    The probability of a row is exp(similarity / temperature) / Z, and Z is a constant: `constant` where it is above 0, else its
    estimate from these K draws an embedding, n times their mean. Returns the loss and the Z it used. noise: int64 [N, K]; 0-d constant.
    """
    with torch.autocast(z.device.type, enabled=False):
        z, rows, noise = F.normalize(gathered(z.float()), dim=1), gathered(rows), gathered(noise)
        bank = F.normalize(bank.detach().float(), dim=1)
        own = (z * bank[rows]).sum(1) / temperature
        others = torch.einsum("nd,nkd->nk", z, bank[noise]) / temperature
        estimate = (others.detach().flatten().logsumexp(0) - math.log(others.numel()) + math.log(len(bank))).exp()
        constant = torch.where(constant > 0, constant, estimate)
        shift = constant.log() + math.log(noise.shape[1] / len(bank))  # log of K times the noise's probability, and of Z
        return (F.softplus(shift - own) + F.softplus(others - shift).sum(1)).mean(), constant


def proximal(z: torch.Tensor, rows: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
    """How far embeddings have moved from what the memory holds of them: the mean squared distance of unit vectors."""
    with torch.autocast(z.device.type, enabled=False):
        z = F.normalize(gathered(z.float()), dim=1)
        return (z - F.normalize(bank.detach().float()[gathered(rows)], dim=1)).square().sum(1).mean()
