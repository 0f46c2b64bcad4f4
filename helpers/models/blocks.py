"""Features from inside an encoder. Some pretexts (RotNet, Split-Brain) serve a probe best some blocks before the last."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import nn

from helpers.core.errors import UserError, unknown
from helpers.models.catalogue import find
from helpers.models.encoders import Encoder
from helpers.models.nets import Trunk
from helpers.models.vit import placed

# What a net does one after the other; a named step ends a block, and an unnamed one leads to the next that is named.
Steps = list[tuple[str | None, Callable]]


def block_names(encoder: nn.Module) -> list[str]:
    """The blocks of an encoder in order, the last its feature map; of a pair, those of its first part."""
    return [name for name, _ in _steps(_parts(encoder)[0]) if name]


def intermediate(encoder: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """After every block the mean over positions, [N, channels]; the last is the mean of the feature map.

    An encoder made of two side by side (`lightness`, `colour`, and `parts(images)` with an input for each) gives both, concatenated.
    """
    found = [dict(_walk(part, inputs)) for part, inputs in zip(_parts(encoder), _inputs(encoder, images), strict=True)]
    return {name: torch.cat([part[name] for part in found], 1) for name in found[0]}


def at_block(encoder: nn.Module, name: str) -> "AtBlock":
    """The encoder cut after that block: images to the block's pooled features, and nothing behind it is computed."""
    return AtBlock(encoder, name)


class AtBlock(nn.Module):
    def __init__(self, encoder: nn.Module, name: str):
        super().__init__()
        for part in _parts(encoder):
            names = block_names(part)
            if name not in names:
                raise unknown(f"block of {part.name}", name, names)
        self.encoder = encoder
        self.block = name

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pairs = zip(_parts(self.encoder), _inputs(self.encoder, images), strict=True)
        return torch.cat([next(z for name, z in _walk(part, inputs) if name == self.block) for part, inputs in pairs], 1)


def _parts(encoder: nn.Module) -> tuple[Encoder, ...]:
    return (encoder.lightness, encoder.colour) if hasattr(encoder, "parts") else (encoder,)


def _inputs(encoder: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return encoder.parts(images) if hasattr(encoder, "parts") else (images,)


def _walk(encoder: Encoder, images: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """Block by block, and no further than it is asked."""
    encoder.check_size(images)
    for name, step in _steps(encoder):
        images = step(images)
        if name:
            yield name, encoder.to_map(images).mean((2, 3))


def _steps(encoder: Encoder) -> Steps:
    net, family = encoder.net, find(encoder.name).family
    if isinstance(net, Trunk):
        return _of_features(net.features) if hasattr(net, "features") else _of_parts(dict(net.named_children()))
    if family == "resnet":
        return _of_parts({name: getattr(net, name) for name in ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4")})
    if family == "convnext":
        stages = [(f"stage{number}", stage) for number, stage in enumerate(net.stages, 1)]
        return [(None, net.stem), *_close(stages, net.norm_pre)]
    if family == "light":
        stages = [(f"stage{number}", stage) for number, stage in enumerate(net.blocks, 1)]
        # MobileNetV3 has its last convolution behind the pooling, where there is no map.
        head = [(None, net.conv_head), ("head", net.bn2)] if hasattr(net, "bn2") else []
        return [(None, net.conv_stem), (None, net.bn1), *stages, *head]
    if family == "vit":
        depth = len(net.blocks)
        ends = {-(-depth * third // 3) for third in (1, 2, 3)}
        blocks = [(f"block{number}" if number in ends else None, block) for number, block in enumerate(net.blocks, 1)]
        before = [(None, step) for step in (partial(placed, net), net.patch_drop, net.norm_pre)]
        return before + _close(blocks, net.norm)
    raise UserError(f"{encoder.name} has no blocks that can be read. Use a ResNet, ConvNeXt, ViT or one of the light nets.")


def _close(steps: Steps, last: Callable) -> Steps:
    """One more step that belongs to the last block."""
    (name, step) = steps[-1]
    return [*steps[:-1], (None, step), (name, last)]


def _of_parts(parts: dict[str, nn.Module]) -> Steps:
    return [(name if name.startswith(("layer", "stage", "conv5")) else None, part) for name, part in parts.items()]


def _of_features(features: nn.Sequential) -> Steps:
    """A chain without stages of its own is read at every pooling (the cifar stem has put an Identity for the first) and at its end."""
    steps, number = [], 1
    for index, layer in enumerate(features):
        ends = isinstance(layer, nn.MaxPool2d | nn.Identity) or index == len(features) - 1
        steps.append((f"block{number}" if ends else None, layer))
        number += ends
    return steps
