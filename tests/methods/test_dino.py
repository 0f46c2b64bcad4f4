"""DINO: centring, sharpening, a last layer that waits, and a teacher that only follows."""

import math

import pytest
import torch
import torch.nn.functional as F

from helpers.core.errors import UserError
from helpers.methods.losses import dino_loss
from helpers.training.optimizers import OPTIMIZERS

STEMS = {"vit_micro": "patch8", "convnext_micro": "patch4", "resnet_tiny": "stride2"}


def softmax(row):
    top = max(row)
    total = sum(math.exp(x - top) for x in row)
    return [math.exp(x - top) / total for x in row]


def test_dino_loss_equals_a_slow_loop():
    torch.manual_seed(0)
    student, teacher, centre = torch.randn(5, 3, 6), torch.randn(5, 2, 6), torch.randn(6)
    total = 0.0
    for n in range(5):
        for large in range(2):
            wanted = softmax([float(t - c) / 0.04 for t, c in zip(teacher[n, large].double(), centre.double(), strict=True)])
            for view in range(3):
                if view != large:
                    given = softmax([float(s) / 0.1 for s in student[n, view].double()])
                    total -= sum(w * math.log(g) for w, g in zip(wanted, given, strict=True) if w > 0)
    assert dino_loss(student, teacher, centre, 0.1, 0.04).item() == pytest.approx(total / (2 * 2 * 5), rel=1e-5)


def test_dino_loss_stops_the_teachers_gradient_and_stays_float32():
    student, teacher = torch.randn(4, 2, 6, requires_grad=True), torch.randn(4, 2, 6, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = dino_loss(student.bfloat16(), teacher.bfloat16(), torch.zeros(6), 0.1, 0.04)
    loss.backward()
    assert loss.dtype == torch.float32 and teacher.grad is None and student.grad.abs().sum() > 0


def dino(contract, encoder="resnet_tiny", recipe="simclr_small", **options):
    small = {"hidden": 32, "bottleneck": 16, "out": 24}
    return contract.make("dino", encoder, recipe=recipe, stem=STEMS.get(encoder, "auto"), **(small | options))


@pytest.mark.parametrize("encoder", ["resnet_tiny", "vit_micro", "convnext_micro", "mobilenetv2"])
def test_gradients_reach_the_student_and_nothing_of_the_teacher(contract, encoder):
    method = dino(contract, encoder)
    assert contract.gradients(method, 32) == []
    frozen = {name for name, p in method.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, _ in method.named_parameters() if name.startswith("teacher")} and frozen
    assert not method.embed(contract.step(method)[0])["teacher"].requires_grad


def test_the_last_layer_stands_still_at_first_and_everything_else_learns(contract):
    method = dino(contract, frozen=0.2)
    views, batch = contract.step(method)
    for progress, moves in ((0.19, False), (0.2, True)):
        method.zero_grad(set_to_none=True)
        batch.progress = progress
        method.loss(views, batch)[0].backward()
        assert bool(method.last.weight.grad.any()) == moves
        assert method.projector[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_gets_past_the_moment_when_they_begin_to_move(contract, name):
    method = dino(contract, frozen=0.2)
    assert contract.begins_to_move(method, method.last.weight, name)


def test_the_last_layer_is_weight_normalised(contract):
    method = dino(contract)
    views, batch = contract.step(method)
    outputs = method.embed(views)
    before = method.criterion(outputs, batch)[0]
    with torch.no_grad():
        method.last.weight.mul_(3)
        method.teacher_last.network.weight.mul_(0.5)
    assert method.criterion(outputs, batch)[0].item() == pytest.approx(before.item(), rel=1e-5)


def test_a_row_of_the_last_layer_has_length_one_whatever_it_learns(contract):
    """Weight normalisation with its gain fixed at 1: a gradient along a row is none."""
    method = dino(contract)
    method.loss(*contract.step(method))[0].backward()
    along = (method.last.weight.grad * method.last.weight.detach()).sum(1)
    assert along.abs().max() < 1e-5 * method.last.weight.grad.norm() and method.last.weight.grad.abs().sum() > 0


def test_it_stands_still_for_exactly_the_first_epoch(contract):
    for epochs, steps in ((3, 7), (7, 11), (100, 97)):
        method = dino(contract, frozen=1 / epochs)
        still = [step / (steps * epochs) < method.frozen for step in range(2 * steps)]
        assert still == [True] * steps + [False] * steps


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_head_starts_as_the_papers_where_it_is_asked_to(contract, norm):
    options = {"norm": norm, "hidden": 256, "bottleneck": 64}
    usual, papers = dino(contract, **options), dino(contract, initial=0.02, **options)
    layers = [layer for layer in papers.projector if isinstance(layer, torch.nn.Linear)]
    assert len(layers) == 3
    for layer in layers:
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05) and layer.weight.abs().max() < 2
        assert layer.bias is None or not layer.bias.any()
    assert usual.projector[0].weight.std() > 0.03 and torch.equal(papers.teacher.network[1][0].weight, layers[0].weight)
    assert torch.equal(usual.encoder.first_layer.weight, papers.encoder.first_layer.weight)


def test_the_centre_moves_after_the_step_alone_to_the_mean_of_the_teachers_logits(contract):
    method = dino(contract, centre_momentum=0.9)
    views, batch = contract.step(method)
    outputs = method.embed(views)
    method.criterion(outputs, batch)
    assert not method.centre.any()
    weight = F.normalize(method.teacher_last.network.weight, dim=1)
    expected = 0.1 * (F.normalize(outputs["teacher"], dim=2) @ weight.T).flatten(0, 1).mean(0)
    method.after_step(0.5)
    assert torch.allclose(method.centre, expected, atol=1e-6)


def test_the_teacher_follows_encoder_head_and_last_layer(contract):
    method = dino(contract, momentum=0.9)
    pairs = [
        (method.encoder, method.teacher.network[0]),
        (method.projector, method.teacher.network[1]),
        (method.last, method.teacher_last.network),
    ]
    method.loss(*contract.step(method))
    assert contract.follow(method, pairs)


def test_a_resume_is_exact(contract, tmp_path):
    assert contract.survives(lambda: dino(contract, frozen=0.2), tmp_path) == []


def test_small_views_are_seen_by_the_student_alone(contract):
    method = dino(contract, recipe="swav_small")
    outputs = method.embed(contract.step(method)[0])
    assert outputs["teacher"].shape[1] == method.large
    assert outputs["z"].shape[1] == method.large + method.views.settings.small
    assert contract.gradients(method, 32) == []
    with pytest.raises(UserError, match="one image size"):
        dino(contract, "vit_micro", recipe="swav_small", net={"pool": "concat"})


def test_one_view_is_refused(contract):
    with pytest.raises(UserError, match="at least 2 views"):
        dino(contract, views={"count": 1})


# The four classes differ in hue, which these views keep while they change lightness, place and scale.
HUE_KEPT = {"crop_scale": (0.5, 1), "jitter": 1, "brightness": 0.8, "contrast": 0.8, "saturation": 0, "hue": 0, "grey": 0}


@pytest.mark.slow
def test_it_learns(contract):
    def build():
        return dino(
            contract,
            size=24,
            net={"width": 0.5},
            views=HUE_KEPT,
            hidden=128,
            bottleneck=64,
            out=512,
            momentum=0.98,
            teacher_temperature=0.02,
        )

    before, after = contract.learns(build, epochs=12, rate=3e-3, batch_size=50, train=1000, size=24, classes=4, colour_means=True)
    print(f"DINO: kNN {before:.1f} -> {after:.1f}")
    assert after > before + 10
