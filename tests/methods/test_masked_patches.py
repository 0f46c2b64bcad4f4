"""Masked patches: what the encoder may see, where the decoder puts it, and the pixels that have to be told."""

import pytest
import torch
import torch.nn.functional as F

from helpers.core.errors import UserError
from helpers.methods import METHODS
from helpers.models import build_encoder
from helpers.views import make_views


def masked_patches(size=32, encoder="vit_micro", stem="patch8", encoder_options=None, views=None, **options):
    torch.manual_seed(0)
    net = build_encoder(encoder, size, stem=stem, **(encoder_options or {}))
    return METHODS["masked_patches"](net, make_views("masked", size, **(views or {})), **({"width": 32, "depth": 1} | options))


def test_the_encoder_sees_a_quarter_of_the_patches_and_nothing_of_the_others(contract):
    method = masked_patches().eval()
    inputs = method.prepare(*contract.step(method))
    assert method.seen == 4 and inputs["order"].shape == (8, 16)
    assert len(inputs["order"].unique(dim=0)) == 8  # every image has a mask of its own
    z = method.embed(inputs)["z"]
    for place, same in ((inputs["order"][0, 4].item(), True), (inputs["order"][0, 3].item(), False)):
        images = inputs["images"].clone()
        row, column = divmod(place, 4)
        images[0, :, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8] += 1
        assert torch.equal(method.embed(inputs | {"images": images})["z"], z) == same


def test_pixels_are_cut_as_the_encoder_cuts_them_and_normalised(contract):
    method = masked_patches()
    inputs = method.prepare(*contract.step(method))
    raw = F.pixel_unshuffle(inputs["images"], 8).flatten(2).transpose(1, 2)
    projection = method.encoder.net.patch_embed.proj
    cut = F.linear(raw, projection.weight.flatten(1), projection.bias)
    assert torch.allclose(cut, projection(inputs["images"]).flatten(2).transpose(1, 2), atol=1e-4)
    assert torch.allclose(inputs["pixels"].mean(2), torch.zeros(8, 16), atol=1e-4)
    assert torch.allclose(inputs["pixels"].std(2), torch.ones(8, 16), atol=1e-2)


def test_the_decoder_gets_every_patch_at_its_place(contract):
    method = masked_patches().eval()
    inputs = method.prepare(*contract.step(method))
    given = []
    method.decoder.register_forward_pre_hook(lambda module, args: given.append(args[0].detach()))
    method.embed(inputs)
    patches = given[0][:, 1:] - method.places  # the class token goes first
    for image in range(8):
        for place in range(16):
            blank = torch.allclose(patches[image, place], method.blank, atol=1e-5)
            assert blank == (place in inputs["order"][image, 4:].tolist())


def test_the_loss_is_the_mean_square_over_what_was_left_out(contract):
    method = masked_patches(views={"count": 2}, masked=0.5)
    views, batch = contract.step(method, 3)
    inputs = method.prepare(views, batch)
    outputs = method.embed(inputs)
    assert outputs["painted"].shape == (3, 2, 8, 192) and outputs["z"].shape[:2] == (3, 2)
    total = 0.0
    for image in range(3):
        for view in range(2):
            row = view * 3 + image
            for n, place in enumerate(inputs["order"][row, 8:].tolist()):
                painted = outputs["painted"][image, view, n].detach().double()
                total += (painted - inputs["pixels"][row, place].double()).square().mean().item()
    loss, _ = method.criterion(outputs, batch)
    assert loss.item() == pytest.approx(total / 48, rel=1e-5)
    assert not outputs["z"].requires_grad and not outputs["pixels"].requires_grad


@pytest.mark.parametrize("options", [{}, {"pool": "avg"}, {"positions": "sincos"}])
def test_gradients_reach_every_trained_parameter(contract, options):
    method = masked_patches(encoder_options=options)
    # an average over the patches has its own norm, behind all that the decoder sees: it stays as it began, unless final_norm is asked for
    assert contract.gradients(method, 32) == (["encoder.net.fc_norm.weight"] if options == {"pool": "avg"} else [])


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_the_decoder_reads_tokens_behind_the_norm_that_evaluation_reads(contract, pool):
    """The final norm is doubled: tokens that passed it are doubled too, those before it are as they were."""
    method = masked_patches(encoder_options={"pool": pool}, final_norm=True).eval()
    net, given = method.encoder.net, []
    norm = net.norm if pool == "token" else net.fc_norm
    assert isinstance(norm, torch.nn.LayerNorm)
    method.enter.register_forward_pre_hook(lambda module, args: given.append(args[0].detach().clone()))
    inputs = method.prepare(*contract.step(method))
    method.embed(inputs)
    with torch.no_grad():
        norm.weight.mul_(2)
    method.embed(inputs)
    torch.testing.assert_close(given[1], 2 * given[0])


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_the_weights_of_the_final_norm_get_gradients(contract, pool):
    method = masked_patches(encoder_options={"pool": pool}, final_norm=True)
    assert contract.gradients(method, 32) == []
    norm = method.encoder.net.norm if pool == "token" else method.encoder.net.fc_norm
    assert norm.weight.grad.abs().sum() > 0 and norm.bias.grad.abs().sum() > 0


def test_a_class_tokens_vit_computes_the_same_with_it_and_without(contract):
    methods = [masked_patches(final_norm=final) for final in (False, True)]
    losses = [method.loss(*contract.step(method))[0] for method in methods]
    assert torch.equal(*losses)


@pytest.mark.parametrize("encoder", ["resnet_tiny", "convnext_micro", "mobilenetv2"])
def test_nets_without_patches_are_refused(encoder):
    with pytest.raises(UserError, match=f"need a ViT.*{encoder} is none"):
        masked_patches(encoder=encoder, stem="auto")


def test_what_cannot_work_is_named():
    with pytest.raises(UserError, match="need a ViT"):
        masked_patches(encoder_options={"pool": "concat"})
    for masked in (0.0, 1.0, 0.99):
        with pytest.raises(UserError, match=f"masked = {masked} of 16 patches"):
            masked_patches(masked=masked)
    with pytest.raises(UserError, match="width = 40"):
        masked_patches(width=40)


def test_it_survives_a_stop(contract, tmp_path):
    assert contract.survives(lambda: masked_patches(size=16, stem="patch4"), tmp_path) == []


@pytest.mark.slow
def test_it_learns_where_colour_says_something(contract):
    """In so few steps it learns what colours there are, not yet shapes."""
    before, after = contract.learns(
        lambda: masked_patches(16, stem="patch4", encoder_options={"pool": "avg"}, views={"crop_scale": (0.5, 1)}, masked=0.5, width=64),
        epochs=10,
        batch_size=32,
        train=1000,
        size=16,
        classes=5,
        colour_means=True,
    )
    print(f"Masked patches: kNN {before:.1f} -> {after:.1f}")
    assert after > before + 10
