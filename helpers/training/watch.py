"""Signs of collapse, for every method alike: how an embedding fills its space, and what still reaches the first layer."""

import torch
import torch.nn.functional as F

from helpers.methods import Method
from helpers.models.catalogue import find

NARROW = 0.02  # of the spread that directions drawn at random would have; features behind a ReLU, which share a direction, reach 0.15
FLAT = 1.5  # directions


@torch.no_grad()
def spread_and_rank(z: torch.Tensor) -> dict[str, float]:
    """Of embeddings [N, d] or [N, views, d] (the first view is looked at), after normalisation:

    spread          mean deviation over the d coordinates times sqrt(d): 1 for even directions, 0 when all are one
    effective_rank  exp of the entropy of the centred embedding's singular values: how many directions are in use
    """
    z = F.normalize((z[:, 0] if z.ndim == 3 else z.flatten(1)).float(), dim=1)
    centred = z - z.mean(0)
    spread = centred.square().mean(0).sqrt().mean() * z.shape[1] ** 0.5
    values = torch.linalg.svdvals(centred)
    share = values / values.sum().clamp(min=1e-12)
    rank = torch.special.entr(share).sum().exp()
    spread, rank = torch.stack((spread, rank)).tolist()
    return {"spread": spread, "effective_rank": rank}


def collapsed(row: dict) -> bool:
    """Whether an epoch's row of the log shows an embedding that says (nearly) the same of every image."""
    return row.get("spread", 1.0) < NARROW or row.get("effective_rank", FLAT) < FLAT


def first_layer_gradient(method: Method) -> torch.Tensor:
    """The norm of the gradient that reached the encoder's first layer; 0 where that is frozen."""
    gradients = [p.grad for p in method.encoder.first_layer.parameters() if p.grad is not None]
    if not gradients:
        return torch.zeros((), device=next(method.parameters()).device)
    return torch.stack([g.detach().float().norm() for g in gradients]).norm()


def gradient_parts(method: Method) -> dict[str, list[torch.nn.Parameter]]:
    """What learns, by where it lies and under the names that the log has: the first layer, a ViT's first block, the rest of the encoder,
    and the heads behind it. Parts of which nothing learns are left out."""
    encoder = method.encoder
    blocks = getattr(getattr(encoder, "net", None), "blocks", None)
    chosen = {"gradient.first_layer": encoder.first_layer.parameters()}
    if blocks is not None and find(encoder.name).family == "vit":
        chosen["gradient.first_block"] = blocks[0].parameters()
    chosen |= {"gradient.rest": encoder.parameters(), "gradient.heads": method.parameters()}
    parts, seen = {}, set()
    for name, parameters in chosen.items():
        own = [p for p in parameters if p.requires_grad and id(p) not in seen]
        seen |= {id(p) for p in own}
        if own:
            parts[name] = own
    return parts


def gradient_norms(parts: dict[str, list[torch.nn.Parameter]]) -> dict[str, torch.Tensor]:
    """The norm of the gradient that reached each part; nothing here waits for the device."""
    found = {}
    for name, parameters in parts.items():
        gradients = [p.grad for p in parameters if p.grad is not None]
        norms = torch._foreach_norm(gradients) if gradients else [torch.zeros((), device=parameters[0].device)]
        found[name] = torch.stack(norms).float().norm()
    return found
