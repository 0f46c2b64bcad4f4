"""What an encoder costs: parameters, and multiply-adds of one image."""

import torch
from torch import nn


def parameters(encoder: nn.Module) -> int:
    """The number of parameters, trained or not; buffers are not counted."""
    return sum(parameter.numel() for parameter in encoder.parameters())


def macs(encoder: nn.Module) -> int:
    """Multiply-adds of one image's forward pass.

    Convention: convolutions, matrix products and attention, as torch's flop counter sees them, halved (it counts a multiply-add as
    two); norms, activations and pooling are left out, as in the papers. A training step costs about three times this an image.
    """
    from torch.utils.flop_counter import FlopCounterMode  # it imports Triton, where that is installed

    device = next(encoder.parameters()).device
    training = encoder.training
    encoder.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            encoder(torch.zeros(1, 3, encoder.image_size, encoder.image_size, device=device))
    finally:
        encoder.train(training)
    return counter.get_total_flops() // 2
