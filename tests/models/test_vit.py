"""MoCo v3's options of a ViT: fixed positions, a frozen patch projection, batch normalisation before the MLPs."""

import math

import pytest
import timm
import torch
from safetensors.torch import load_file

from helpers.core.errors import UserError
from helpers.models import build_encoder, export, from_export
from helpers.models.vit import sincos_table

OPTIONS = {"positions": "sincos", "freeze_patches": True, "mlp_norm": "batch"}


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def test_defaults_are_unchanged():
    encoder = build_encoder("vit_micro", 32)
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    assert isinstance(encoder.net.pos_embed, torch.nn.Parameter)
    assert all(isinstance(block.norm2, torch.nn.LayerNorm) for block in encoder.net.blocks)


def test_positions_are_the_formula_written_out_slowly():
    height, width, dim = 3, 5, 24
    table = sincos_table(height, width, dim)
    for row in range(height):
        for column in range(width):
            expected = []
            for place in (column, row):
                angles = [place / 10_000 ** (index / (dim // 4)) for index in range(dim // 4)]
                expected += [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
            torch.testing.assert_close(table[row * width + column], torch.tensor(expected), rtol=1e-6, atol=1e-6)


def test_positions_in_the_net_are_fixed_and_distinct():
    net = build_encoder("vit_micro", 32, positions="sincos").net
    assert net.pos_embed.shape == (1, 17, 128) and not net.pos_embed[0, 0].any()
    assert torch.equal(net.pos_embed[0, 1:], sincos_table(4, 4, 128))
    assert torch.pdist(net.pos_embed[0]).min() > 0.5
    assert "pos_embed" in net.state_dict() and "pos_embed" not in dict(net.named_parameters())


def test_gradients_stop_at_what_is_fixed(images):
    encoder = build_encoder("vit_micro", 32, **OPTIONS)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    trained = {key: value for key, value in encoder.named_parameters() if value.requires_grad}
    frozen = {key for key, value in encoder.named_parameters() if not value.requires_grad}
    assert frozen == {"net.patch_embed.proj.weight", "net.patch_embed.proj.bias"}
    encoder(images).square().mean().backward()
    assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in trained.values())
    assert encoder.first_layer.weight.grad is None and encoder.first_layer.bias.grad is None
    torch.optim.AdamW(encoder.parameters(), lr=0.1, weight_decay=0.1).step()
    after = encoder.state_dict()
    for key in (*frozen, "net.pos_embed"):
        assert torch.equal(before[key], after[key]), key
    assert not torch.equal(before["net.cls_token"], after["net.cls_token"])


def test_the_patches_keep_timms_initial_weights():
    weights = []
    for options in ({}, OPTIONS):
        torch.manual_seed(2)
        weights.append(build_encoder("vit_micro", 32, **options).first_layer.weight)
    assert torch.equal(*weights) and weights[0].std() > 0


def test_batch_norm_is_over_images_and_tokens(images):
    encoder = build_encoder("vit_micro", 32, mlp_norm="batch")
    norm, seen = encoder.net.blocks[1].norm2, {}
    norm.register_forward_hook(lambda module, inputs, output: seen.update(before=inputs[0], after=output))
    encoder(images)
    before, after = seen["before"], seen["after"]
    mean, variance = before.mean((0, 1)), before.var((0, 1), unbiased=False)
    torch.testing.assert_close(after, (before - mean) / (variance + norm.eps).sqrt(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(norm.running_mean, 0.1 * mean, rtol=1e-4, atol=1e-5)
    assert after.mean(2).abs().max() > 0.01  # a layer norm would leave every token with mean zero
    alone = encoder.eval()(images[:1])  # and evaluation uses the statistics, whatever the batch
    torch.testing.assert_close(alone, encoder(images)[:1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", [OPTIONS, {"positions": "sincos", "pool": "avg"}, {"positions": "sincos", "pool": "concat"}])
def test_state_and_export_round_trip(options, images, tmp_path):
    encoder = build_encoder("vit_micro", 32, **options)
    encoder(images)
    other = build_encoder("vit_micro", 32, **options)
    other.load_state_dict(encoder.state_dict())
    again = from_export(export(encoder, tmp_path / "vit.safetensors"))
    assert again.options == encoder.options and options.items() <= again.options.items()
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in encoder.parameters()]
    with torch.no_grad():
        expected = encoder.eval()(images)
        assert torch.equal(other.eval()(images), expected) and torch.equal(again.eval()(images), expected)


def test_plain_timm_loads_fixed_positions(images, tmp_path):
    encoder = build_encoder("vit_tiny", 32, positions="sincos", freeze_patches=True).eval()
    net = timm.create_model("vit_tiny_patch16_224", num_classes=0, img_size=32, patch_size=8).eval()
    net.load_state_dict(load_file(export(encoder, tmp_path / "vit.safetensors")))
    with torch.no_grad():
        assert torch.equal(net(images), encoder(images))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("vit_micro", {"positions": "sincoss"}, "'sincos'"),
        ("vit_micro", {"mlp_norm": "layer"}, "Unknown mlp_norm"),
        ("vit_micro", {"freeze_patches": "yes"}, "freeze_patches='yes'"),
        ("vit_micro", {"positions": "sincos", "dim": 66, "heads": 2}, "that 4 divides, and it is 66"),
        ("resnet_tiny", {"freeze_patches": True}, "no option 'freeze_patches'"),
    ],
)
def test_refusals(name, options, words):
    with pytest.raises(UserError, match=words):
        build_encoder(name, 32, **options)
