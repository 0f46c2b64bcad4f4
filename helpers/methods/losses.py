"""Losses as pure functions of tensors: float32 inside, inputs normalised here, a mean over samples comes out."""

import torch
import torch.nn.functional as F


def nt_xent(z1: torch.Tensor, z2: torch.Tensor, temperature: float) -> torch.Tensor:
    """SimCLR's loss: each of the 2N embeddings must pick its partner among the 2N - 1 others. z1, z2: [N, d].

    With all similarities equal it is log(2N - 1), with perfect pairs and orthogonal negatives
    log(1 + (2N - 2) exp(-1 / temperature)).
    """
    with torch.autocast(z1.device.type, enabled=False):  # at temperature 0.1 half precision would lose the negatives
        z = F.normalize(torch.cat((z1, z2)).float(), dim=1)
        count = z1.shape[0]
        similarity = z @ z.T / temperature
        similarity.fill_diagonal_(float("-inf"))
        partner = torch.arange(2 * count, device=z.device).roll(count)
        return F.cross_entropy(similarity, partner)
