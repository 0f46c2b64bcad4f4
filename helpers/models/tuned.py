"""Kernels that are slow on a device, replaced by ones that compute the same faster there. Weights and their names stay."""

import torch
import torch.nn.functional as F
from torch import nn

from helpers.models import small_maps


class DepthwiseFloat32(nn.Conv2d):
    """A depthwise convolution that computes in fp32 inside a bf16 net: on a CPU its bf16 gradients are slow, and a depthwise
    layer has so little arithmetic that half precision saves nothing. The bench's table of settings shows both ways."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        kind = images.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else images.dtype
        with torch.autocast(kind, enabled=False):
            out = F.conv2d(images.float(), self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return out.to(dtype)


def tune(module: nn.Module, device: torch.device) -> nn.Module:
    """Swap, in place, what is known to be slow on that device; elsewhere nothing changes."""
    if device.type == "cpu":
        for part in module.modules():
            if type(part) is nn.Conv2d and part.groups == part.in_channels > 1 and part.padding_mode == "zeros":
                part.__class__ = DepthwiseFloat32
            elif type(part) is nn.Conv2d and small_maps.eligible(part) and small_maps.gain():
                part.__class__ = small_maps.SmallMapConv
            elif hasattr(part, "fused_attn"):
                # timm's attention: torch's fused kernel is written for long sequences. With the tens of tokens of a small image
                # plain batched products are faster; the bench's table of settings shows both ways.
                part.fused_attn = False
    return module
