"""Several batches as one step: memory of one part, negatives of the whole."""

from collections.abc import Callable
from contextlib import contextmanager

import torch

from helpers.methods import Method, StepBatch


def as_one(method: Method, prepared: list[tuple], embed: Callable) -> tuple[torch.Tensor, dict, torch.Tensor]:
    """Loss, logs and embedding of all parts together, their gradients left in the parameters; `prepared` holds (inputs, batch) a part.

    First all outputs without a graph, then the loss over all of them, then each part again with the gradient that the whole loss
    sends to its outputs.
    """
    with torch.no_grad(), statistics_kept(method):
        parts = [embed(inputs, part) for part, (inputs, _) in enumerate(prepared)]
    whole = {key: torch.cat([outputs[key] for outputs in parts]) for key in parts[0]}
    leaves = {key: value.requires_grad_() for key, value in whole.items() if value.is_floating_point()}
    loss, logs = method.criterion(whole, joined([batch for _, batch in prepared]))
    loss.backward()
    offset = 0
    for part, (inputs, batch) in enumerate(prepared):
        count = len(batch.indices)
        outputs = embed(inputs, part)
        pairs = [
            (outputs[key], leaf.grad[offset : offset + count])
            for key, leaf in leaves.items()
            if outputs[key].requires_grad and leaf.grad is not None
        ]
        torch.autograd.backward([output for output, _ in pairs], [gradient.to(output.dtype) for output, gradient in pairs])
        offset += count
    return loss.detach(), logs, whole["z"].detach()


@contextmanager
def statistics_kept(method: Method):
    """Batch norms see these batches again in the pass that counts; here they use their statistics without recording them."""
    norms = [(m, m.momentum) for m in method.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for module, _ in norms:
        module.momentum = 0.0
    try:
        yield
    finally:
        for module, momentum in norms:
            module.momentum = momentum


def joined(batches: list[StepBatch]) -> StepBatch:
    labels = None if batches[0].labels is None else torch.cat([b.labels for b in batches])
    return StepBatch(torch.cat([b.indices for b in batches]), labels, batches[0].progress, batches[0].generator)
