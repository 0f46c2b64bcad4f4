"""Convolutions on small maps give what torch's own do, and so do their gradients; other layers and larger maps are left alone."""

import copy

import pytest
import torch
from torch import nn

from helpers.models import small_maps
from helpers.models.small_maps import FEW_PIXELS, PIXELS, SmallMapConv, eligible
from helpers.models.tuned import tune


def both(layer, images, half):
    """Output and the gradients of images and weights, by torch's own way in fp32 and by the columns' way."""
    found = []
    for own, columns in ((layer, False), (copy.deepcopy(layer), True)):
        if columns:
            own.__class__ = SmallMapConv
        given = images.clone().requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half and columns):
            out = own(given)
        (out.float() * torch.linspace(-1, 1, out.numel()).view(out.shape)).sum().backward()
        found.append((out.float(), given.grad, own.weight.grad))
    return found


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize(("before", "after"), [(32, 48), (416, 400)])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("half", [True, False])
def test_outputs_and_gradients_are_those_of_a_convolution(before, after, side, stride, kernel, half):
    torch.manual_seed(0)
    layer = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    assert eligible(layer)
    plain, fast = both(layer, torch.randn(6, before, side, side), half)
    for one, other in zip(plain, fast, strict=True):
        assert one.shape == other.shape
        assert (one - other).norm() <= (0.01 if half else 1e-5) * one.norm()


def test_a_first_layer_asks_for_no_gradient_of_its_images():
    layer = nn.Conv2d(32, 32, 3, 1, 1, bias=False)
    layer.__class__ = SmallMapConv
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(torch.randn(4, 32, 2, 2)).float().sum().backward()
    assert layer.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(("half", "most"), [(True, PIXELS), (False, FEW_PIXELS)])
def test_on_larger_maps_nothing_changes(half, most, monkeypatch):
    torch.manual_seed(0)
    plain = nn.Conv2d(32, 32, 3, 1, 1, bias=False)
    fast = copy.deepcopy(plain)
    fast.__class__ = SmallMapConv
    taken = []
    monkeypatch.setattr(small_maps._Columns, "apply", lambda images, weight, stride: taken.append(images.shape[-1]))
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        fast(torch.randn(4, 32, int(most**0.5), int(most**0.5)))
        larger = torch.randn(4, 32, int(most**0.5) + 1, int(most**0.5) + 1)
        assert torch.equal(plain(larger), fast(larger))
    assert taken == [int(most**0.5)]


@pytest.mark.parametrize(
    ("unit", "bf16", "flags", "gains"),
    [
        (True, True, "avx512f", True),
        (False, True, "avx512f", False),
        (False, True, "avx512f avx512_vp2intersect", True),
        (False, False, "avx512f", True),
    ],
)
def test_who_gains(unit, bf16, flags, gains, monkeypatch):
    monkeypatch.setattr(small_maps, "processor", {"flags": flags}.get)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: unit)
    monkeypatch.setattr(small_maps, "good_at_bf16", lambda kind: bf16)
    assert small_maps.gain() == gains
    layer = tune(nn.Conv2d(32, 32, 3, 1, 1, bias=False), torch.device("cpu"))
    assert isinstance(layer, SmallMapConv) == gains


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(32, 32, 1, bias=False),
        nn.Conv2d(3, 32, 3, padding=1, bias=False),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.Conv2d(32, 32, 3, padding=0, bias=False),
        nn.Conv2d(32, 32, 3, padding=1, groups=2, bias=False),
        nn.Conv2d(32, 32, 3, padding=2, dilation=2, bias=False),
        nn.Conv2d(32, 32, 3, padding=1, padding_mode="reflect", bias=False),
        nn.Conv2d(32, 32, (3, 1), padding=(1, 0), bias=False),
    ],
)
def test_other_layers_are_not_eligible(layer):
    assert not eligible(layer)


def test_compiled_it_gives_what_it_gives_eagerly():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(32, 48, 3, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(48, 48, 3, 1, 1, bias=False))
    for part in net[::2]:
        part.__class__ = SmallMapConv
    images = torch.randn(8, 32, 8, 8)

    def step(forward):
        net.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = forward(images).float()
        out.square().mean().backward()
        return out.detach(), torch.cat([p.grad.flatten() for p in net.parameters()])

    (eager, gradient), (made, other) = step(net), step(torch.compile(net, dynamic=False))
    assert (eager - made).norm() <= 0.02 * eager.norm()
    assert (gradient - other).norm() <= 0.02 * gradient.norm()
