"""What becomes of the gradients between the backward pass and the optimizer's step."""

import torch

from helpers.methods import Method
from helpers.training.group import Group
from helpers.training.watch import first_layer_gradient, gradient_norms


def settled(method: Method, group: Group | None, longest: float, parts: dict | None = None) -> dict[str, torch.Tensor]:
    """Average them over the processes of the group and, where `longest` is above 0, shorten them until all together are no longer than
    that; what the log says of them, as they were before, and of each of the parts that it is to tell apart. Nothing here waits for the
    device."""
    if group:
        group.average(method.parameters())
    logs = {"first_layer_gradient": first_layer_gradient(method)} | gradient_norms(parts or {})
    if longest:
        logs["gradient"] = torch.nn.utils.clip_grad_norm_(method.parameters(), longest)
    return logs
