"""Nets at another width: every layer scaled, width 1 the net as it was, refusals, and exports that come back."""

import pytest
import torch
from safetensors import safe_open
from torch import nn

from helpers.core.errors import UserError
from helpers.models import build_encoder, export, from_export, macs, parameters

FAMILIES = ["resnet_tiny", "resnet50", "convnext_micro", "convnext_tiny", "efficientnet_lite0", "mobilenetv2", "shufflenetv2", "squeezenet"]
FAMILIES += ["vgg11_bn", "vgg13", "squeezenet1_0", "shufflenet_v2_x1_0", "resnet18_x2"]
HALF = {"resnet_tiny": 96, "resnet50": 1024, "convnext_micro": 96, "convnext_tiny": 384, "efficientnet_lite0": 640, "mobilenetv2": 640}
HALF |= {"shufflenetv2": 512, "squeezenet": 256, "vgg11_bn": 256, "vgg13": 256, "squeezenet1_0": 256, "shufflenet_v2_x1_0": 512}
HALF |= {"resnet18_x2": 512}


@pytest.mark.parametrize("name", FAMILIES)
def test_half_the_width_is_about_a_quarter_of_the_cost(name):
    with torch.device("meta"):
        full, half = (build_encoder(name, 64, width=width) for width in (1, 0.5))
    assert half.width == HALF[name] == full.width // 2
    assert half.options == {"width": 0.5}
    for cost in (macs, parameters):  # the first layer reads three channels at any width, and depthwise layers are linear in it
        assert 0.2 < cost(half) / cost(full) < 0.4
    widths = [(a.out_channels, b.out_channels) for a, b in zip(_convolutions(full), _convolutions(half), strict=True)]
    lite_stem = 2 if name == "efficientnet_lite0" else 0  # the stem and the depthwise layer that follows it
    assert all(after < before for before, after in widths[lite_stem:])


def _convolutions(net: nn.Module) -> list[nn.Conv2d]:
    return [module for module in net.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("name", ["resnet_tiny", "convnext_micro", "efficientnet_lite0", "mobilenetv2", "shufflenetv2", "squeezenet"])
def test_width_one_is_the_net_as_it_was(name):
    states = []
    for options in ({}, {"width": 1.0}):
        torch.manual_seed(3)
        states.append(build_encoder(name, 32, **options).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


@pytest.mark.parametrize(
    ("name", "width"),
    [("resnet_tiny", 0.3), ("convnext_micro", 0.5), ("efficientnet_lite0", 0.5), ("mobilenetv2", 0.35), ("mobilenetv2", 1.4)]
    + [("shufflenetv2", 0.5), ("squeezenet", 0.4), ("vgg11_bn", 0.25)],
)
def test_slim_nets_learn_and_come_back_from_their_export(name, width, tmp_path):
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    encoder = build_encoder(name, 32, width=width)
    features = encoder(images)
    assert features.isfinite().all() and features.std() > 1e-3
    features.square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in encoder.parameters())
    path = export(encoder, tmp_path / "slim.safetensors")
    with safe_open(path, "pt") as file:  # what timm alone can build is said to be timm's, and nothing else
        assert file.metadata()["library"] == ("timm" if name in ("resnet_tiny", "convnext_micro") else "ours")
    again = from_export(path)
    assert again.options == encoder.options == {"width": width}
    with torch.no_grad():
        assert torch.equal(again.eval()(images), encoder.eval()(images))


def test_slim_effnets_last_layer_begins_as_timms_does():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        full, half = build_encoder("mobilenetv2", 32).net.conv_head.weight, build_encoder("mobilenetv2", 32, width=0.5).net.conv_head.weight
    assert half.std().item() * half.shape[0] ** 0.5 == pytest.approx(full.std().item() * full.shape[0] ** 0.5, rel=0.02)


@pytest.mark.parametrize(
    ("name", "width", "words"),
    [
        ("resnet_tiny", 0, ["width=0", "above 0"]),
        ("resnet_tiny", 4.5, ["width=4.5", "at most 4"]),
        ("mobilenetv2", "0.5", ["width='0.5'", "a number"]),
        ("mobilenetv2", float("nan"), ["width=nan"]),
        ("mobilenetv2", True, ["width=True"]),
        ("vit_micro", 0.5, ["dim=", "'width'"]),
        ("alexnet", 0.5, ["alexnet takes no option 'width'", "squeezenet"]),
        ("resnext50_32x4d", 0.5, ["resnext50_32x4d takes no option 'width'"]),
        ("efficientnet_b0", 0.5, ["efficientnet_b0 takes no option 'width'", "efficientnet_lite0"]),
    ],
)
def test_refusals(name, width, words):
    with pytest.raises(UserError) as error:
        build_encoder(name, 32, width=width)
    assert all(word in str(error.value) for word in words), str(error.value)
