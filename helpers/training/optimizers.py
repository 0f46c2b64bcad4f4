"""Optimizers by name: torch's own where it has one, timm's for LAMB and LARS, ours for Muon."""

import torch

from helpers.core.errors import pick
from helpers.training.muon import Muon


def _sgd(groups, rate, momentum, fused):
    return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0, fused=fused)


def _adam(groups, rate, momentum, fused):
    return torch.optim.Adam(groups, lr=rate, betas=(momentum, 0.999), fused=fused)


def _adamw(groups, rate, momentum, fused):
    return torch.optim.AdamW(groups, lr=rate, betas=(momentum, 0.999), fused=fused)


def _radam(groups, rate, momentum, fused):
    return torch.optim.RAdam(groups, lr=rate, betas=(momentum, 0.999), foreach=True)


def _lamb(groups, rate, momentum, fused):
    from timm.optim import Lamb  # here, as timm takes seconds to import

    return Lamb(groups, lr=rate, betas=(momentum, 0.999))


def _lars(groups, rate, momentum, fused):
    from timm.optim import Lars

    return Lars(groups, lr=rate, momentum=momentum)


def _muon(groups, rate, momentum, fused):
    return Muon(groups, lr=rate, momentum=momentum)


OPTIMIZERS = {"sgd": _sgd, "adam": _adam, "adamw": _adamw, "radam": _radam, "lamb": _lamb, "lars": _lars, "muon": _muon}


def build_optimizer(
    name: str, groups: list[dict], *, rate: float, weight_decay: float = 0.0, momentum: float = 0.9
) -> torch.optim.Optimizer:
    """The optimizer over a method's parameter groups; groups marked decay=False (biases, norms) get no weight decay.

    `momentum` is the first beta of the Adam family, and in Muon both the matrices' momentum and that beta. LARS and LAMB adapt the rate of
    every tensor that is not marked decay=False, also at a weight decay of 0, where timm's own default would make plain SGD and Adam of
    them; biases and norms take plain steps, as the papers' code has it. Groups marked fixed_rate=True keep the mark, for set_rate.
    """
    adapts = name in ("lars", "lamb")
    groups = [
        {"params": g["params"], "weight_decay": weight_decay if g.get("decay", True) else 0.0}
        | ({"always_adapt": g.get("decay", True)} if adapts else {})
        | ({"fixed_rate": True} if g.get("fixed_rate") else {})
        for g in groups
        if g["params"]
    ]
    fused = all(p.device.type in ("cpu", "cuda") for g in groups for p in g["params"])
    return pick("optimizer", name, OPTIMIZERS)(groups, rate, momentum, fused)


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
