"""ReLIC's loss: find one's own image, and say the same of the other images whichever view is looked at."""

import torch
import torch.nn.functional as F

from helpers.core.errors import unknown
from helpers.methods.gather import gathered

FORMS = ("transposed", "views")


def relic_loss(
    online: list[torch.Tensor],
    targets: list[torch.Tensor],
    temperature: float,
    invariance_weight: float,
    form: str = "transposed",
    own: bool = True,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Contrast + invariance_weight * KL for every online view against every target view, the mean over all pairs; and the KL alone.

    Each view says which of the other view's images an image is: online view v asks target view w by p_vw = softmax(o_i . t_k). The
    contrast is the cross-entropy of that with the true image; the KL draws it to another answer, which gets no gradient, nor do the
    targets. Which other answer is the form:

    - "transposed": the target view asks the online one, softmax(t_i . o_k), from the same similarities;
    - "views": the other view asks with the online network, p_wv, as the paper has it. A view without a target of its own (a small one)
      is compared with p_ww, by which w asks the same candidates; a view before its own target adds nothing and counts in the mean.

    own=False leaves out the pairs of an online view with its own target. online, targets: views of [N, d], the targets those of the first
    online views. With all similarities equal it is log N, and the KL is 0.
    """
    if form not in FORMS:
        raise unknown("form of the invariance", form, FORMS)
    with torch.autocast(online[0].device.type, enabled=False):
        o = F.normalize(torch.stack([gathered(view.float()) for view in online]), dim=2)
        t = F.normalize(torch.stack([gathered(view.detach().float()) for view in targets]), dim=2)
        similarity = torch.einsum("vnd,wmd->vwnm", o, t) / temperature
        ours = similarity.log_softmax(3)
        if form == "transposed":
            theirs = similarity.detach().transpose(2, 3).log_softmax(3)
        else:
            asked = ours.detach()[: len(targets)]
            large, same = asked.transpose(0, 1), asked.diagonal().permute(2, 0, 1)  # p_wv for each v, w, and p_ww for each w
            theirs = torch.cat([large, same.expand(len(online) - len(targets), *same.shape)])
        invariance = F.kl_div(ours, theirs, reduction="none", log_target=True).sum(3).mean(2)
        contrast = -ours.diagonal(dim1=2, dim2=3).mean(2)
        if not own:
            others = ~torch.eye(len(online), len(targets), dtype=torch.bool, device=o.device)
            share = others / others.sum()
            contrast, invariance = (contrast * share).sum(), (invariance * share).sum()
        else:
            contrast, invariance = contrast.mean(), invariance.mean()
        return contrast + invariance_weight * invariance, invariance.detach()
