"""Several batches as one step: what the loop needs to know of them."""

from contextlib import contextmanager

import torch

from helpers.methods import Method, StepBatch


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
