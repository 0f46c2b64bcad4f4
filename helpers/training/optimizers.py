"""Optimizers by name: torch's own where it has one, timm's for LAMB and LARS, ours for Muon."""

import torch

from helpers.core.devices import in_bf16
from helpers.core.errors import pick
from helpers.training.muon import Muon


def _timm(name: str):
    import timm.optim  # here, as timm takes seconds to import

    return getattr(timm.optim, name)


# What builds each from (parameter groups, rate, betas, of which the first is the momentum, whether fused kernels are there, whether matrix
# products may be in bf16).
OPTIMIZERS = {
    "sgd": lambda groups, rate, betas, fused, half: torch.optim.SGD(groups, lr=rate, momentum=betas[0], nesterov=betas[0] > 0, fused=fused),
    "adam": lambda groups, rate, betas, fused, half: torch.optim.Adam(groups, lr=rate, betas=betas, fused=fused),
    "adamw": lambda groups, rate, betas, fused, half: torch.optim.AdamW(groups, lr=rate, betas=betas, fused=fused),
    "radam": lambda groups, rate, betas, fused, half: torch.optim.RAdam(groups, lr=rate, betas=betas, foreach=True),
    "lamb": lambda groups, rate, betas, fused, half: _timm("Lamb")(groups, lr=rate, betas=betas),
    "lars": lambda groups, rate, betas, fused, half: _timm("Lars")(groups, lr=rate, momentum=betas[0]),
    "muon": lambda groups, rate, betas, fused, half: Muon(groups, lr=rate, momentum=betas[0], second=betas[1], half=half),
}


def build_optimizer(
    name: str,
    groups: list[dict],
    *,
    rate: float,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    beta2: float = 0.999,
    precision: str = "fp32",
) -> torch.optim.Optimizer:
    """The optimizer over a method's parameter groups; groups marked decay=False (biases, norms) get no weight decay.

    `momentum` is the first beta of the Adam family, and in Muon both the matrices' momentum and that beta; `beta2` is
    the second one. LARS and LAMB adapt the rate of
    every tensor that is not marked decay=False, also at a weight decay of 0, where timm's own default would make plain SGD and Adam of
    them; biases and norms take plain steps, as the papers' code has it. Groups marked fixed_rate=True keep the mark, for set_rate.
    `precision` is the training's: Muon's products, which the net never sees, follow it; what is added to weights is fp32 throughout.
    """
    adapts = name in ("lars", "lamb")
    groups = [
        {"params": g["params"], "weight_decay": weight_decay if g.get("decay", True) else 0.0}
        | ({"always_adapt": g.get("decay", True)} if adapts else {})
        | ({"fixed_rate": True} if g.get("fixed_rate") else {})
        | ({} if g.get("decay", True) else {"undecayed": True})
        for g in groups
        if g["params"]
    ]
    kinds = {p.device.type for g in groups for p in g["params"]}
    half = all(in_bf16(kind, precision) for kind in kinds)
    return pick("optimizer", name, OPTIMIZERS)(groups, rate, (momentum, beta2), kinds <= {"cpu", "cuda"}, half)


def set_rate(optimizer: torch.optim.Optimizer, rate: float, momentum: float | None = None, *, maximum: float | None = None) -> None:
    """Set this step's rate and, where the schedule cycles it, the momentum (first beta).

    Groups marked fixed_rate stay at the schedule's `maximum`; where none is given, as in a range test, they move with the others.
    """
    for group in optimizer.param_groups:
        group["lr"] = maximum if maximum is not None and group.get("fixed_rate") else rate
        if momentum is not None:
            if "betas" in group:
                group["betas"] = (momentum, group["betas"][1])
            elif "momentum" in group:
                group["momentum"] = momentum


def set_decay(optimizer: torch.optim.Optimizer, weight_decay: float) -> None:
    """Set this step's weight decay; biases and norms have none."""
    for group in optimizer.param_groups:
        if not group.get("undecayed"):
            group["weight_decay"] = weight_decay
