"""Views of other sizes than the encoder's own: convolutional nets and ViTs take them, and the others say that they cannot."""

import copy
import math

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed

from helpers.core.errors import UserError
from helpers.models import build_encoder
from helpers.models.vit import positions_at

ANY = ["resnet_tiny", "resnet56_cifar", "convnext_micro", "mobilenetv2", "efficientnet_lite0", "shufflenetv2", "squeezenet", "vgg11_bn"]


@pytest.mark.parametrize("name", ANY)
def test_a_small_view_gives_what_a_small_encoder_gives(name):
    encoder = build_encoder(name, 64).eval()
    small = build_encoder(name, 32, stem=encoder.stem).eval()
    small.load_state_dict(encoder.state_dict())
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    assert encoder.takes_any_size
    with torch.no_grad():
        for ours, theirs in zip(encoder.features_and_map(images), small.features_and_map(images), strict=True):
            assert torch.equal(ours, theirs)
        assert encoder(torch.zeros(2, 3, 48, 64)).shape == (2, encoder.width)


@pytest.mark.parametrize(("name", "options"), [("vit_contest", {"dim": 64, "depth": 1, "heads": 1}), ("regnetx_002", {})])
def test_the_others_refuse_and_say_what_takes_them(name, options):
    encoder = build_encoder(name, 64, **options)
    assert not encoder.takes_any_size
    with pytest.raises(UserError, match=r"64 x 64.*\(2, 3, 32, 32\).*multi-crop.*convolutional"):
        encoder(torch.zeros(2, 3, 32, 32))


@pytest.mark.parametrize(("name", "size"), [("vgg11_bn", 8), ("squeezenet", 4), ("convnext_micro", 4), ("alexnet", 8)])
def test_a_map_that_shrinks_to_nothing_is_refused(name, size):
    encoder = build_encoder(name, 64)
    with pytest.raises(UserError, match=rf"{name} with stem .* leaves nothing of images of \({size}, {size}\).*larger views"):
        encoder(torch.zeros(2, 3, size, size))
    with pytest.raises(UserError, match="leaves nothing"):
        encoder(torch.zeros(2, 3, size, 64))


def test_what_is_not_a_batch_of_images_is_refused():
    with pytest.raises(UserError, match=r"64 x 64, and got \(3, 64, 64\)"):
        build_encoder("resnet_tiny", 64)(torch.zeros(3, 64, 64))


@pytest.mark.parametrize("name", ["resnet_tiny", "vit_micro"])
def test_two_sizes_compile(name):
    encoder = build_encoder(name, 64).eval()
    fast = torch.compile(encoder, backend="eager", fullgraph=True, dynamic=False)
    with torch.no_grad():
        for size in (64, 32):
            images = torch.randn(2, 3, size, size)
            torch.testing.assert_close(fast(images), encoder(images))


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 11])
def test_a_vits_positions_are_interpolated_as_timm_does(side):
    net = build_encoder("vit_micro", 64, stem="patch8").net
    torch.nn.init.normal_(net.pos_embed)
    expected = resample_abs_pos_embed(net.pos_embed, [side, side], [8, 8], num_prefix_tokens=1)
    torch.testing.assert_close(positions_at(net, side), expected, rtol=1e-5, atol=1e-6)
    assert (positions_at(net, side) is net.pos_embed) == (side == 8)  # at its own side not one bit changes


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_a_vit_gives_of_a_small_view_what_timm_gives(pool):
    encoder = build_encoder("vit_micro", 64, stem="patch8", pool=pool).eval()
    timms = timm.create_model(
        "vit_tiny_patch16_224", num_classes=0, img_size=64, patch_size=8, embed_dim=128, depth=3, num_heads=2, global_pool=pool,
        dynamic_img_size=True,
    ).eval()  # fmt: skip
    timms.load_state_dict(encoder.net.state_dict())
    assert encoder.takes_any_size
    with torch.no_grad():
        for size in (16, 40, 64, 96):
            images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(size))
            feature, laid_out = encoder.features_and_map(images)
            torch.testing.assert_close(feature, timms(images), rtol=1e-4, atol=1e-5)
            assert laid_out.shape == (2, 128, size // 8, size // 8) and feature.shape == (2, encoder.width)


def test_register_tokens_and_positions_of_patches_alone_are_laid_out_as_timm_does():
    name = "vit_wee_patch16_reg1_gap_256"  # a register token, no class token, and positions of the patches alone
    encoder = build_encoder(name, 64).eval()
    timms = timm.create_model(name, num_classes=0, img_size=64, dynamic_img_size=True).eval()
    timms.load_state_dict(encoder.net.state_dict())
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(encoder(images), timms(images), rtol=1e-4, atol=1e-5)


def test_sincos_positions_are_the_formula_at_the_places_of_the_other_patches():
    net = build_encoder("vit_micro", 64, stem="patch8", positions="sincos").net
    found = positions_at(net, 4)
    assert found.shape == (1, 17, 128) and not found[0, 0].any() and not found.requires_grad
    places = [0.5, 2.5, 4.5, 6.5]  # of the middles of 4 patches among 8
    for row, column in ((0, 0), (1, 3), (3, 2)):
        angles = [[place / 10_000 ** (index / 32) for index in range(32)] for place in (places[column], places[row])]
        expected = torch.tensor([wave(angle) for each in angles for wave in (math.sin, math.cos) for angle in each])
        torch.testing.assert_close(found[0, 1 + row * 4 + column], expected, rtol=1e-5, atol=1e-6)
    assert positions_at(net, 8) is net.pos_embed


def test_gradients_of_small_views_reach_the_positions():
    encoder = build_encoder("vit_micro", 64, stem="patch8")
    encoder(torch.randn(2, 3, 16, 16)).square().sum().backward()
    assert (encoder.net.pos_embed.grad.abs().sum(2) > 0).all()


@pytest.mark.parametrize("shape", [(2, 3, 20, 20), (2, 3, 64, 32), (2, 3, 4, 4)])
def test_a_vit_refuses_what_its_patches_do_not_fill(shape):
    with pytest.raises(UserError, match="patches of 8 x 8.*multiples of 8"):
        build_encoder("vit_micro", 64, stem="patch8")(torch.zeros(shape))


def test_a_copy_takes_other_sizes_with_positions_of_its_own():
    encoder = build_encoder("vit_micro", 64, stem="patch8").eval()
    other = copy.deepcopy(encoder)
    torch.nn.init.zeros_(other.net.pos_embed)
    images = torch.randn(1, 3, 32, 32)
    assert not torch.allclose(encoder(images), other(images))
