"""Losses in which an embedding must find its partner among others."""

import torch
import torch.nn.functional as F

from helpers.methods.gather import gathered


def nt_xent(z1: torch.Tensor, z2: torch.Tensor, temperature: float) -> torch.Tensor:
    """SimCLR's loss: each of the 2N embeddings must pick its partner among the 2N - 1 others. z1, z2: [N, d].

    With all similarities equal it is log(2N - 1), with perfect pairs and orthogonal negatives
    log(1 + (2N - 2) exp(-1 / temperature)).
    """
    with torch.autocast(z1.device.type, enabled=False):  # at temperature 0.1 half precision would lose the negatives
        z1, z2 = gathered(z1.float()), gathered(z2.float())
        z = F.normalize(torch.cat((z1, z2)), dim=1)
        count = len(z1)
        similarity = z @ z.T / temperature
        similarity.fill_diagonal_(float("-inf"))
        partner = torch.arange(2 * count, device=z.device).roll(count)
        return F.cross_entropy(similarity, partner)


def multi_view_nt_xent(views: list[torch.Tensor], temperature: float, decoupled: bool = False) -> torch.Tensor:
    """NT-Xent for V views: each embedding must pick each of its V - 1 partners among that partner and all other images' views.

    The remaining partners stay out of the denominator: they are neither the answer nor wrong. views: V of [N, d]; the mean
    is over the V(V - 1)N ordered pairs. For two views the same sum as nt_xent. `decoupled` (Yeh et al. 2022) leaves the partner out of
    the denominator as well.
    """
    with torch.autocast(views[0].device.type, enabled=False):
        together = gathered(torch.stack([view.float() for view in views], 1))  # in one message, where there are several processes
        own, count = together.shape[:2]
        z = F.normalize(together.transpose(0, 1).flatten(0, 1), dim=1)
        similarity = (z @ z.T / temperature).view(count, own, count, own)
        partners = similarity.diagonal(dim1=1, dim2=3)  # [V, V, N]: view v of an image against its view w
        same_image = torch.eye(own, dtype=torch.bool, device=z.device)[None, :, None, :]
        others = similarity.masked_fill(same_image, float("-inf")).flatten(2).logsumexp(2)  # [V, N]
        margins = others[:, None] - partners
        pairs = margins if decoupled else F.softplus(margins)  # -log(e^partner / (e^partner + e^others)), or without e^partner below
        distinct = ~torch.eye(count, dtype=torch.bool, device=z.device)
        return (pairs * distinct[:, :, None]).sum() / (count * (count - 1) * own)


def info_nce(query: torch.Tensor, key: torch.Tensor, queue: torch.Tensor, temperature: float) -> torch.Tensor:
    """MoCo's loss: each query must pick its own key among that and the queue's K. query, key: [N, d]; queue: [K, d].

    No gradient reaches key or queue. With all similarities equal it is log(1 + K), with perfect pairs and orthogonal queue
    log(1 + K exp(-1 / temperature)).
    """
    with torch.autocast(query.device.type, enabled=False):
        query = F.normalize(gathered(query.float()), dim=1)
        key, queue = F.normalize(gathered(key.detach().float()), dim=1), F.normalize(queue.detach().float(), dim=1)
        others = (query @ queue.T / temperature).logsumexp(1)
        return F.softplus(others - (query * key).sum(1) / temperature).mean()  # -log(e^own / (e^own + e^others))


def moco_v3_contrast(query: torch.Tensor, key: torch.Tensor, temperature: float) -> torch.Tensor:
    """MoCo v3's loss, one direction: each query must pick its own key among all keys of the batch, times 2 temperature. [N, d] each.

    No gradient reaches the keys. The factor keeps the gradient's size when the temperature changes. With all similarities equal it
    is 2 temperature log(N).
    """
    with torch.autocast(query.device.type, enabled=False):
        query, key = F.normalize(gathered(query.float()), dim=1), F.normalize(gathered(key.detach().float()), dim=1)
        own = torch.arange(len(query), device=query.device)
        return F.cross_entropy(query @ key.T / temperature, own) * 2 * temperature
