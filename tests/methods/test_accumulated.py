"""Batches gathered into one step give the loss, the gradients and the memory of one large batch."""

import pytest
import torch

from helpers.methods import StepBatch
from helpers.training.accumulation import as_one

SMALL = {
    "byol": {"hidden": 32, "out": 16},
    "simsiam": {"hidden": 32, "out": 32, "bottleneck": 8},
    "barlow_twins": {"hidden": 32, "out": 16},
    "vicreg": {"hidden": 32, "out": 16},
    "swav": {"hidden": 32, "out": 16, "prototypes": 8, "queue": 16},
    "dino": {"hidden": 32, "bottleneck": 16, "out": 24},
}


@pytest.mark.parametrize("name", sorted(SMALL))
def test_two_parts_are_one_batch(contract, name):
    found = []
    for parts in (1, 2):
        method = contract.make(name, stem="stride2", **SMALL[name])
        views, batch = contract.step(method, 16)
        method.eval()  # running statistics: batch norms see the parts one by one
        if parts == 1:
            loss, _ = method.loss(views, batch)
            loss.backward()
        else:
            split = [([view[half] for view in views], StepBatch(batch.indices[half], None, 0.5)) for half in (slice(8), slice(8, 16))]
            loss, _, _ = as_one(method, split, lambda inputs, part, method=method: method.embed(inputs))
        gradients = {key: p.grad for key, p in method.named_parameters() if p.grad is not None}
        method.after_step(0.5)
        found.append((loss, gradients, dict(method.named_buffers())))
    (loss, gradients, buffers), (loss_2, gradients_2, buffers_2) = found
    assert loss_2.item() == pytest.approx(loss.item(), rel=1e-4)
    assert gradients.keys() == gradients_2.keys() and gradients
    rounding = 1e-5 * max(gradient.abs().max().item() for gradient in gradients.values())
    for key, gradient in gradients.items():
        assert torch.allclose(gradient, gradients_2[key], rtol=1e-3, atol=rounding), key
    assert all(torch.allclose(buffer.float(), buffers_2[key].float(), atol=1e-5) for key, buffer in buffers.items())
