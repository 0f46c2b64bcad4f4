"""Tuned kernels compute what torch's own do, keep every weight and its name, and let gradients through."""

import copy

import pytest
import torch

from helpers.models import build_encoder, tune
from helpers.models.tuned import DepthwiseFloat32

CPU = torch.device("cpu")


def step(encoder, images, half):
    encoder.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        out = encoder(images).float()
    out.square().mean().backward()
    return out.detach(), torch.cat([p.grad.flatten() for p in encoder.parameters() if p.grad is not None])


@pytest.mark.parametrize(("name", "stem"), [("mobilenetv2", "cifar"), ("convnext_micro", "patch4"), ("vit_micro", "patch8")])
@pytest.mark.parametrize("half", [False, True])
def test_tuned_nets_agree_with_their_own_kernels(name, stem, half):
    torch.manual_seed(0)
    plain = build_encoder(name, 32, stem=stem).train()
    fast = tune(copy.deepcopy(plain), CPU)
    assert list(fast.state_dict()) == list(plain.state_dict())
    assert sum(p.numel() for p in fast.parameters()) == sum(p.numel() for p in plain.parameters())
    images = torch.randn(8, 3, 32, 32)
    (out, gradient), (fast_out, fast_gradient) = step(plain, images, half), step(fast, images, half)
    exact_out, exact_gradient = step(copy.deepcopy(plain), images, False)
    if half:  # no further from fp32 than the untuned bf16 net is, with room for the luck of rounding
        assert (fast_out - exact_out).norm() <= 1.5 * (out - exact_out).norm()
        assert (fast_gradient - exact_gradient).norm() <= 1.5 * (gradient - exact_gradient).norm()
    else:
        torch.testing.assert_close(fast_out, out, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(fast_gradient, gradient, rtol=1e-2, atol=1e-4)


def test_only_slow_kernels_are_swapped():
    net = tune(build_encoder("mobilenetv2", 32, stem="cifar"), CPU)
    swapped = [m for m in net.modules() if isinstance(m, DepthwiseFloat32)]
    assert len(swapped) == 17 and all(m.groups == m.in_channels for m in swapped)
    vit = tune(build_encoder("vit_micro", 32), CPU)
    assert [m.fused_attn for m in vit.modules() if hasattr(m, "fused_attn")] == [False] * 3
    elsewhere = tune(build_encoder("vit_micro", 32), torch.device("cuda"))
    assert all(m.fused_attn for m in elsewhere.modules() if hasattr(m, "fused_attn"))


def test_a_depthwise_layer_gives_what_autocast_would():
    layer = tune(torch.nn.Sequential(torch.nn.Conv2d(4, 4, 3, groups=4)), CPU)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(torch.randn(1, 4, 5, 5)).dtype == torch.bfloat16
    assert layer(torch.randn(1, 4, 5, 5)).dtype == torch.float32
