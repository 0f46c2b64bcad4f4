"""Nets at another width: every layer's channels times a factor, for slim nets on a CPU and for half-width pairs.

timm and torchvision are imported where a net of theirs is built, as in nets.py.
"""

from torch import nn

from helpers.core.errors import UserError
from helpers.models.catalogue import ENCODERS, Spec

WIDEST = 4
# timm's argument for the stages' channels, and what a spec without such a setting has.
_STAGES = {
    "resnet": ("channels", (64, 128, 256, 512)),
    "convnext": ("dims", (96, 192, 384, 768)),
    "cifar_resnet": ("widths", (16, 32, 64)),
}
_TIMM_LIGHT = ("efficientnet_lite0", "mobilenetv2_100")
_TORCHVISION = ("shufflenet", "squeezenet", "vgg")


def takes_width(name: str, spec: Spec) -> bool:
    if spec.library == "torchvision":
        return spec.base.startswith(_TORCHVISION)
    return spec.base in _TIMM_LIGHT or (name in ENCODERS and spec.family in _STAGES)


def check_width(name: str, spec: Spec, width: object) -> None:
    if spec.family == "vit":
        raise UserError(f"{name} takes no option 'width': a ViT's width is its dim. Give dim= (and heads=) instead.")
    if not takes_width(name, spec):
        able = ", ".join(other for other, theirs in ENCODERS.items() if takes_width(other, theirs) and "_x" not in other)
        raise UserError(f"{name} takes no option 'width'. Encoders that do: {able}.")
    if isinstance(width, bool) or not isinstance(width, int | float) or not 0 < width <= WIDEST:
        raise UserError(f"{name}: width={width!r} must be a number above 0 and at most {WIDEST}; 1 is the net as published.")


def scaled(channels: int, width: float) -> int:
    """Even, as ShuffleNet's split needs and timm's ResNet stem; never less than 2."""
    return max(2, 2 * round(channels * width / 2))


def stage_settings(spec: Spec, width: float) -> dict:
    """What differs from the spec's settings at that width, where timm takes a list of channels."""
    if width == 1 or spec.family not in _STAGES:
        return {}
    key, usual = _STAGES[spec.family]
    return {key: tuple(scaled(channels, width) for channels in spec.settings.get(key, usual))}


def slim_light(base: str, width: float, arguments: dict) -> nn.Module:
    """EfficientNet-Lite0 or MobileNetV2 with timm's rounding (multiples of 8), and the last layer in proportion too.

    EfficientNet-Lite keeps its stem at every width. timm's registered names have no free width, so its builders are called.
    """
    from timm.layers import BatchNormAct2d
    from timm.models._efficientnet_builder import round_channels
    from timm.models.efficientnet import _gen_efficientnet_lite, _gen_mobilenet_v2

    build = _gen_mobilenet_v2 if base.startswith("mobilenetv2") else _gen_efficientnet_lite
    net = build(base, channel_multiplier=width, **arguments)
    last = round_channels(1280, width)
    if net.num_features != last:  # timm never goes below 1280 there, as wide as the net at width 1
        net.conv_head = nn.Conv2d(net.conv_head.in_channels, last, 1, bias=False)
        nn.init.kaiming_normal_(net.conv_head.weight, mode="fan_out", nonlinearity="relu")
        net.bn2 = BatchNormAct2d(last, act_layer=nn.ReLU6)
        net.num_features = net.head_hidden_size = last
    return net


def slim_shufflenet(base: str, width: float) -> nn.Module:
    import torch
    import torchvision

    with torch.device("meta"):
        plain = torchvision.models.get_model(base, weights=None)
    repeats = [len(stage) for stage in (plain.stage2, plain.stage3, plain.stage4)]
    return torchvision.models.ShuffleNetV2(repeats, [scaled(channels, width) for channels in plain._stage_out_channels])


def slim_squeezenet(base: str, width: float) -> nn.Module:
    import torch
    import torchvision
    from torchvision.models.squeezenet import Fire

    with torch.device("meta"):
        net = torchvision.models.get_model(base, weights=None)
    before = 3
    for index, layer in enumerate(net.features):
        if isinstance(layer, nn.Conv2d):
            net.features[index] = nn.Conv2d(before, scaled(layer.out_channels, width), layer.kernel_size, layer.stride)
            before = net.features[index].out_channels
        elif isinstance(layer, Fire):
            inner = [scaled(part.out_channels, width) for part in (layer.squeeze, layer.expand1x1, layer.expand3x3)]
            net.features[index] = Fire(before, *inner)
            before = inner[1] + inner[2]
    for module in net.features.modules():  # torchvision's own initial weights
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_uniform_(module.weight)
            nn.init.zeros_(module.bias)
    return net
