"""Split-Brain: what each half may see, the classes of colours and lightness, and two halves that are one encoder to all others."""

import copy
import math

import pytest
import torch

from helpers.core.errors import UserError
from helpers.methods.split_brain import COLOURS, colour_classes
from helpers.models import at_block, block_names, build_encoder, intermediate, macs, parameters
from helpers.training.watch import first_layer_gradient
from helpers.views.lab import rgb_to_lab

STEMS = {"vit_micro": "patch8", "convnext_micro": "patch4"}


def split_brain(contract, encoder="resnet_tiny", **options):
    method = contract.make("split_brain", encoder, stem=STEMS.get(encoder, "auto"), **options)
    for module in method.modules():  # the halves are built inside, with residual branches that no gradient enters yet
        if isinstance(module, torch.nn.BatchNorm2d) and not module.weight.any():
            torch.nn.init.ones_(module.weight)
    return method


def test_there_are_313_classes_and_each_square_of_the_gamut_is_one_of_its_own():
    table = colour_classes()
    assert table.unique().tolist() == list(range(COLOURS))
    levels = torch.linspace(0, 1, 17)
    colours = rgb_to_lab(torch.cartesian_prod(levels, levels, levels)[:, :, None, None])[:, 1:, 0, 0]
    squares = (colours / 10).round().long().unique(dim=0) + 12
    assert 240 < len(squares) < 270  # the 313 of the paper keep a margin around the gamut
    assert len(table[squares[:, 0], squares[:, 1]].unique()) == len(squares)


def test_the_classes_of_plain_colours(contract):
    method = split_brain(contract)
    pure = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [119, 119, 119]], dtype=torch.uint8)
    images = pure[:, :, None, None].expand(-1, -1, 32, 32)
    inputs = method.prepare([method.views.plain(images)], None)
    lab = [(53.24, 80.09, 67.20), (87.73, -86.18, 83.18), (32.30, 79.19, -107.86), (100, 0, 0), (50.03, 0, 0)]
    for number, (lightness, a, b) in enumerate(lab):
        assert (inputs["lightness_class"][number] == min(49, int(lightness // 2))).all()
        assert (inputs["colour_class"][number] == colour_classes()[round(a / 10) + 12, round(b / 10) + 12]).all()
    assert inputs["colour_class"][3:].unique().numel() == 1  # grey has one colour
    assert torch.allclose(inputs["lightness"][3, 0], torch.tensor(2.0), atol=1e-3)  # (100 - 50) / 25


def test_targets_are_averages_over_their_squares(contract):
    method = split_brain(contract, targets=4)
    assert method.targets == 4  # the feature map has 2 x 2 places, each answers for 2 x 2
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    inputs = method.prepare([method.views.plain(images)], None)
    lab = rgb_to_lab(images / 255)
    for row in range(4):
        for column in range(4):
            mean = lab[1, :, row * 8 : row * 8 + 8, column * 8 : column * 8 + 8].mean((1, 2))
            assert inputs["lightness_class"][1, row, column] == int(mean[0] / 2)
            assert (
                inputs["colour_class"][1, row, column] == colour_classes()[round(mean[1].item() / 10) + 12, round(mean[2].item() / 10) + 12]
            )


def test_no_half_sees_what_it_has_to_predict(contract):
    method = split_brain(contract)
    views, batch = contract.step(method)
    light, colours = method.encoder.parts(views[0])
    assert not light[:, 1:].any() and light[:, 0].std() > 0.1
    assert not colours[:, 0].any() and colours[:, 1:].std() > 0.1
    inputs = method.prepare(views, batch)
    outputs = method.embed(inputs)
    for predicted, half, other in (("colour", "lightness", "colour"), ("lightness", "colour", "lightness")):
        method.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(outputs[predicted].flatten(0, 1), outputs[f"{predicted}_class"].flatten(0, 1)).backward()
        assert first_layer_gradient(method) > 0
        assert all(p.grad is None for p in getattr(method.encoder, other).parameters())
        assert any(p.grad is not None for p in getattr(method.encoder, half).parameters())


def test_the_loss_equals_a_slow_loop(contract):
    method = split_brain(contract, targets=2)
    views, batch = contract.step(method, 3)
    outputs = method.embed(method.prepare(views, batch))
    loss, logs = method.criterion(outputs, batch)
    total = {}
    for key in ("colour", "lightness"):
        scores, classes = outputs[key][:, 0].detach().double(), outputs[f"{key}_class"][:, 0]
        terms = [
            torch.logsumexp(scores[n, :, y, x], 0).item() - scores[n, classes[n, y, x], y, x].item()
            for n in range(3)
            for y in range(2)
            for x in range(2)
        ]
        total[key] = sum(terms) / len(terms)
        assert logs[f"loss_{key}"].item() == pytest.approx(total[key], abs=1e-5)
    assert loss.item() == pytest.approx(sum(total.values()), abs=1e-5)
    flat = {key: torch.zeros_like(x) if x.is_floating_point() else x for key, x in outputs.items()}
    assert method.criterion(flat, batch)[0].item() == pytest.approx(math.log(313) + math.log(50), rel=1e-6)


def test_two_halves_are_one_encoder_to_all_others(contract):
    method = split_brain(contract).eval()
    encoder = method.encoder
    whole = build_encoder("resnet_tiny", 32)
    assert encoder.width == whole.width and 0.4 < parameters(encoder) / parameters(whole) < 0.6
    assert 0.4 < macs(encoder) / macs(whole) < 0.7  # the first layers see three channels each
    views, batch = contract.step(method)
    features = encoder(views[0])
    outputs = method.embed(method.prepare(views, batch))
    assert torch.allclose(outputs["z"][:, 0], features, atol=1e-5) and not outputs["z"].requires_grad
    last = block_names(encoder)[-1]
    assert torch.allclose(intermediate(encoder, views[0])[last], encoder.feature_map(views[0]).mean((2, 3)), atol=1e-5)
    assert torch.allclose(at_block(copy.deepcopy(encoder), last)(views[0]), features, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(encoder.lab(views[0]), encoder.lab(views[0].clone())) and encoder.lab(views[0]).dtype == torch.float32


@pytest.mark.parametrize("encoder", ["resnet_tiny", "vit_micro", "convnext_micro", "mobilenetv2"])
def test_gradients_reach_both_halves(contract, encoder):
    method = split_brain(contract, encoder)
    without = contract.gradients(method, 32 if encoder == "resnet_tiny" else 8)
    # ConvNeXt has a norm behind its pooling, of which the map knows nothing: it stays as it began
    behind = [f"encoder.{half}.net.head.norm.weight" for half in ("lightness", "colour")] if encoder == "convnext_micro" else []
    assert without == behind


def test_a_net_that_cannot_be_halved_is_refused(contract):
    with pytest.raises(UserError, match="half the width, and alexnet.*mobilenetv2"):
        contract.make("split_brain", "alexnet", size=64)
    with pytest.raises(UserError, match="targets = 0"):
        contract.make("split_brain", targets=0)


def test_it_survives_a_stop(contract, tmp_path):
    assert contract.survives(lambda: split_brain(contract, size=16), tmp_path) == []


@pytest.mark.slow
def test_it_learns_where_colour_says_something(contract):
    """Every class has its own hue, so the lightness half must learn shapes. The third of four blocks is the best one."""
    before, after = contract.learns(
        lambda: split_brain(contract, size=24),
        read=lambda encoder: at_block(encoder, "layer3"),
        epochs=12,
        rate=8e-3,
        batch_size=32,
        train=1000,
        size=24,
        colour_means=True,
    )
    print(f"Split-Brain: kNN {before:.1f} -> {after:.1f}")
    assert after > before + 10
