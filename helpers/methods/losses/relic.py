"""ReLIC's loss: find one's own image, and say the same of the other images whichever view is looked at."""

import torch
import torch.nn.functional as F

from helpers.methods.gather import gathered


def relic_loss(
    online: list[torch.Tensor], targets: list[torch.Tensor], temperature: float, invariance_weight: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Contrast + invariance_weight * KL for every online view against every target view, the mean over all pairs; and the KL alone.

    Each view says which of the other view's images an image is: the online one by softmax(o_i . t_k), the target one by
    softmax(t_i . o_k). The contrast is the cross-entropy of the first with the true image; the KL draws the first to the second,
    KL(second || first), and the second gets no gradient, nor do the targets. online, targets: views of [N, d].

    With all similarities equal it is log N, and the KL is 0.
    """
    with torch.autocast(online[0].device.type, enabled=False):
        o = F.normalize(torch.stack([gathered(view.float()) for view in online]), dim=2)
        t = F.normalize(torch.stack([gathered(view.detach().float()) for view in targets]), dim=2)
        similarity = torch.einsum("vnd,wmd->vwnm", o, t) / temperature
        ours = similarity.log_softmax(3)
        theirs = similarity.detach().transpose(2, 3).log_softmax(3)
        invariance = F.kl_div(ours, theirs, reduction="none", log_target=True).sum(3).mean()
        contrast = -ours.diagonal(dim1=2, dim2=3).mean()
        return contrast + invariance_weight * invariance, invariance.detach()
