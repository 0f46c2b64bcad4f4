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


def multi_view_nt_xent(views: list[torch.Tensor], temperature: float) -> torch.Tensor:
    """NT-Xent for V views: each embedding must pick each of its V - 1 partners among that partner and all other images' views.

    The remaining partners stay out of the denominator: they are neither the answer nor wrong. views: V of [N, d]; the mean
    is over the V(V - 1)N ordered pairs. For two views the same sum as nt_xent.
    """
    with torch.autocast(views[0].device.type, enabled=False):
        z = F.normalize(torch.cat(views).float(), dim=1)
        count, own = len(views), len(views[0])
        similarity = (z @ z.T / temperature).view(count, own, count, own)
        partners = similarity.diagonal(dim1=1, dim2=3)  # [V, V, N]: view v of an image against its view w
        same_image = torch.eye(own, dtype=torch.bool, device=z.device)[None, :, None, :]
        others = similarity.masked_fill(same_image, float("-inf")).flatten(2).logsumexp(2)  # [V, N]
        pairs = F.softplus(others[:, None] - partners)  # -log(e^partner / (e^partner + e^others))
        distinct = ~torch.eye(count, dtype=torch.bool, device=z.device)
        return (pairs * distinct[:, :, None]).sum() / (count * (count - 1) * own)
