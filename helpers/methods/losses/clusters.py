"""Losses in which a view predicts what another one was assigned: a prototype (SwAV) or the teacher's distribution (DINO)."""

import torch
import torch.distributed as dist
import torch.nn.functional as F

from helpers.methods.gather import gathered, processes


@torch.no_grad()
def sinkhorn(scores: torch.Tensor, epsilon: float, iterations: int, earlier: torch.Tensor | None = None) -> torch.Tensor:
    """Soft assignments of samples to prototypes that use all prototypes alike: [N, K] cosines to [N, K] rows that sum to 1.

    `earlier` [M, K] are scores of stored samples, the same in every process: they are shared out too, and dropped afterwards.
    In logarithms, as exp(1 / 0.05) = 4.9e8 leaves half precision and smaller epsilons leave single precision as well.
    """
    with torch.autocast(scores.device.type, enabled=False):
        own = len(scores)
        first = dist.get_rank() * own if processes() > 1 else 0
        logs = gathered(scores.float())
        if earlier is not None:
            logs = torch.cat((logs, earlier.float()))
        logs = logs / epsilon
        for _ in range(iterations):
            logs = logs - logs.logsumexp(0)  # every prototype gets as much as every other one
            logs = logs - logs.logsumexp(1, keepdim=True)  # and every sample gives the same
        return logs[first : first + own].exp()


def swav_loss(scores: torch.Tensor, assignments: torch.Tensor, temperature: float) -> torch.Tensor:
    """Cross-entropy of each view's prediction and each other large view's assignment: a mean over the pairs and the samples.

    scores: [N, V, K], cosines of the views and the prototypes, large views first; assignments: [N, L, K] of the L large ones, which
    get no gradient. With all scores equal it is ln K: a loss that stays there has collapsed.
    """
    with torch.autocast(scores.device.type, enabled=False):
        views, large = scores.shape[1], assignments.shape[1]
        predictions = F.log_softmax(scores.float() / temperature, dim=2)
        crossed = torch.einsum("nlk,nvk->lv", assignments.detach().float(), predictions) / -len(scores)
        return (crossed.sum() - crossed.diagonal().sum()) / (large * (views - 1))


def dino_loss(student: torch.Tensor, teacher: torch.Tensor, centre: torch.Tensor, temperature: float, sharpness: float) -> torch.Tensor:
    """DINO's: swav_loss whose assignments are the teacher's logits less their centre, sharpened by the lower temperature `sharpness`.

    student: [N, V, K], teacher: [N, L, K], centre: [K].
    """
    with torch.autocast(student.device.type, enabled=False):
        return swav_loss(student, F.softmax((teacher.detach().float() - centre) / sharpness, dim=2), temperature)
