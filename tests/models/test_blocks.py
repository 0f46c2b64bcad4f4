"""Blocks inside an encoder: named, the last the feature map, cut where asked, and pairs read side by side."""

import pytest
import torch
from torch import nn

from helpers.core.errors import UserError
from helpers.models import at_block, block_names, build_encoder, intermediate

NAMES = {
    "resnet_tiny": ["layer1", "layer2", "layer3", "layer4"],
    "resnet56_cifar": ["layer1", "layer2", "layer3"],
    "convnext_micro": ["stage1", "stage2", "stage3", "stage4"],
    "mobilenetv2": [*(f"stage{number}" for number in range(1, 8)), "head"],
    "efficientnet_lite0": [*(f"stage{number}" for number in range(1, 8)), "head"],
    "mobilenetv3_small_050": [f"stage{number}" for number in range(1, 7)],
    "shufflenetv2": ["stage2", "stage3", "stage4", "conv5"],
    "squeezenet": ["block1", "block2", "block3", "block4"],
    "vgg11_bn": ["block1", "block2", "block3", "block4", "block5"],
    "alexnet": ["block1", "block2", "block3"],
    "vit_micro": ["block1", "block2", "block3"],
    "vit_mini": ["block2", "block4", "block5"],
    "vit_tiny": ["block4", "block8", "block12"],
}


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", NAMES)
def test_every_block_is_read_and_the_last_is_the_map(name, images):
    encoder = build_encoder(name, 32).eval()
    with torch.no_grad():
        found = intermediate(encoder, images)
        assert list(found) == block_names(encoder) == NAMES[name]
        torch.testing.assert_close(found[NAMES[name][-1]], encoder.feature_map(images).mean((2, 3)))
        for block, features in found.items():
            assert features.ndim == 2 and features.isfinite().all() and features.std() > 0
            assert torch.equal(at_block(encoder, block)(images), features)


def test_pools_and_stems_change_what_is_behind_the_blocks_only(images):
    for options in ({"pool": "avg"}, {"pool": "concat"}):
        encoder = build_encoder("vit_micro", 32, **options).eval()
        with torch.no_grad():
            torch.testing.assert_close(intermediate(encoder, images)["block3"], encoder.feature_map(images).mean((2, 3)))
    assert block_names(build_encoder("squeezenet", 64, stem="imagenet")) == NAMES["squeezenet"]


@pytest.mark.parametrize(("name", "block", "behind"), [("resnet_tiny", "layer2", "layer3"), ("mobilenetv2", "stage3", "conv_head")])
def test_nothing_behind_the_block_is_computed(name, block, behind, images):
    encoder = build_encoder(name, 32)
    getattr(encoder.net, behind).register_forward_pre_hook(lambda *_: pytest.fail("computed"))
    cut = at_block(encoder, block)
    cut(images).sum().backward()
    assert encoder.first_layer.weight.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in getattr(encoder.net, behind).parameters())
    assert not cut.eval().encoder.training and len(list(cut.parameters())) == len(list(encoder.parameters()))


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.lightness, self.colour = build_encoder("resnet_tiny", 32, width=0.5), build_encoder("resnet_tiny", 32, width=0.5)

    def parts(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return images, images.flip(1)


def test_two_encoders_side_by_side_give_both(images):
    pair = Pair().eval()
    with torch.no_grad():
        found = intermediate(pair, images)
        left, right = intermediate(pair.lightness, images), intermediate(pair.colour, images.flip(1))
        assert block_names(pair) == list(found) == NAMES["resnet_tiny"]
        for block, features in found.items():
            assert torch.equal(features, torch.cat([left[block], right[block]], 1))
            assert torch.equal(at_block(pair, block)(images), features)
    with pytest.raises(UserError, match="block of resnet_tiny"):
        at_block(pair, "layer9")


def test_refusals(images):
    with pytest.raises(UserError, match="'layer3'"):
        at_block(build_encoder("resnet_tiny", 32), "layer33")
    with pytest.raises(UserError, match="regnetx_002 has no blocks"):
        block_names(build_encoder("regnetx_002", 32))
    with pytest.raises(UserError, match="multi-crop"):
        intermediate(build_encoder("vit_micro", 64, pool="concat"), images)
