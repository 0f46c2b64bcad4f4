"""SiT in the form its authors released: a teacher of clean pictures, and a loss of the corrupted pixels alone."""

import math

import pytest
import torch
import torch.nn.functional as F

from helpers.methods import METHODS

STEMS = {"vit_micro": "patch8", "convnext_micro": "patch4", "resnet_tiny": "stride2"}


def sit(contract, encoder="vit_micro", released=True, **options):
    return contract.make("sit", encoder, stem=STEMS[encoder], **({"hidden": 32, "out": 16, "released": released} | options))


def test_the_losses_in_closed_form(contract):
    method = sit(contract, tasks=("contrast", "inpainting"), temperature=0.2)
    pictures, holes = torch.zeros(4, 2, 3, 8, 8), torch.zeros(4, 2, 1, 8, 8)
    holes[:, :, :, :2] = 1
    restored = torch.full_like(pictures, 9.0)
    restored[:, :, :, :2] = 0.25  # wrong by a quarter where it counts, by nine where it does not
    same = torch.ones(4, 2, 16)
    outputs = {"restored": restored, "pictures": pictures, "holes": holes, "z": same, "teacher": same}
    loss, logs = method.criterion(outputs, None)
    assert logs["loss_inpainting"].item() == pytest.approx(0.25)
    assert logs["loss_contrast"].item() == pytest.approx(2 * 2 * 0.2 * math.log(4), rel=1e-6)  # both directions, 2 temperature each
    assert loss.item() == pytest.approx(0.25 + 0.8 * math.log(4), rel=1e-6)
    outputs["teacher"] = outputs["z"] = torch.eye(4, 16)[:, None].expand(-1, 2, -1)
    perfect = 4 * 0.2 * math.log(1 + 3 * math.exp(-1 / 0.2))
    assert method.criterion(outputs, None)[1]["loss_contrast"].item() == pytest.approx(perfect, rel=1e-4)
    assert method.criterion(outputs | {"holes": torch.zeros_like(holes)}, None)[1]["loss_inpainting"].item() == 0


def test_a_view_is_compared_with_the_teachers_other_one(contract):
    method = sit(contract, tasks=("contrast",), temperature=0.2)
    torch.manual_seed(1)
    one, other = F.normalize(torch.randn(2, 6, 16), dim=2)
    alike, crossed = torch.stack((one, other), 1), torch.stack((other, one), 1)
    losses = [method.criterion({"z": alike, "teacher": teacher}, None)[0].item() for teacher in (crossed, alike)]
    assert losses[0] < 0.2 < losses[1]


@pytest.mark.parametrize("encoder", sorted(STEMS))
def test_gradients_reach_the_student_and_nothing_of_the_teacher(contract, encoder):
    method = sit(contract, encoder)
    assert contract.gradients(method, 32) == []
    frozen = {name for name, p in method.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, _ in method.named_parameters() if name.startswith("teacher.")} and frozen


def test_inpainting_sends_a_gradient_through_corrupted_pixels_alone(contract):
    method = sit(contract, tasks=("inpainting",), corrupted=0.5)
    inputs = method.prepare(*contract.step(method))
    outputs = method.embed(inputs)
    outputs["restored"].retain_grad()
    method.criterion(outputs, None)[0].backward()
    holes = outputs["holes"].expand_as(outputs["pictures"]).bool()
    assert 0.3 < holes.float().mean() < 0.7
    gradient = outputs["restored"].grad
    assert (gradient[holes] != 0).all() and not gradient[~holes].any()


def test_the_teacher_reads_the_clean_pictures_and_the_student_the_corrupted_ones(contract):
    method = sit(contract)
    inputs = method.prepare(*contract.step(method))
    read = {}
    method.teacher.register_forward_pre_hook(lambda module, args: read.update(teacher=args[0]))
    outputs = method.embed(inputs)
    assert torch.equal(read["teacher"], inputs["pictures"]) and not torch.equal(inputs["seen"], inputs["pictures"])
    altered = method.embed(inputs | {"seen": torch.zeros_like(inputs["seen"])})
    assert torch.equal(altered["teacher"], outputs["teacher"]) and not torch.allclose(altered["z"], outputs["z"])
    assert not outputs["teacher"].requires_grad


def test_holes_show_zeros_or_another_picture_and_the_rest_is_left(contract):
    method = sit(contract, corrupted=0.5)
    inputs = method.prepare(*contract.step(method, 32))
    seen, pictures = inputs["seen"], inputs["pictures"]
    holes = inputs["holes"].bool().expand_as(pictures)
    assert torch.equal(seen[~holes], pictures[~holes])
    blank = [not seen[n][holes[n]].any() for n in range(len(seen))]
    assert 16 < sum(blank) < 48  # of 64
    for n in (n for n in range(len(seen)) if not blank[n]):
        assert any(torch.equal(seen[n][holes[n]], other[holes[n]]) for other in pictures)


def test_the_teacher_follows_encoder_and_projector(contract):
    method = sit(contract, momentum=0.9)
    pairs = ((method.encoder, method.teacher.network[0]), (method.projector, method.teacher.network[1]))
    assert contract.follow(method, pairs)


@pytest.mark.parametrize("tasks", [("inpainting",), ("rotation",), ("rotation", "inpainting")])
def test_without_contrast_there_is_nobody_to_teach(contract, tasks):
    method = sit(contract, tasks=tasks)
    assert method.teacher is None and contract.gradients(method) == []
    method.after_step(0.5)


def test_our_own_form_has_no_teacher_and_counts_every_pixel(contract):
    method = sit(contract, released=False, tasks=("inpainting",))
    assert not any(name.startswith("teacher") for name in method.state_dict()) and METHODS["sit"] is type(method)
    outputs = method.embed(method.prepare(*contract.step(method)))
    loss, _ = method.criterion(outputs, None)
    assert loss.item() == pytest.approx((outputs["restored"] - outputs["pictures"]).abs().mean().item(), rel=1e-6)


def test_a_resume_is_exact(contract, tmp_path):
    assert contract.survives(lambda: sit(contract), tmp_path) == []


# The four classes differ in hue, which these views keep while they change lightness, place and scale.
HUE_KEPT = {"crop_scale": (0.5, 1), "jitter": 1, "brightness": 0.8, "contrast": 0.8, "saturation": 0, "hue": 0, "grey": 0}


@pytest.mark.slow
def test_it_learns(contract):
    def build():
        return contract.make("sit", "vit_micro", stem="patch6", size=24, views=HUE_KEPT, hidden=128, out=64, temperature=0.2, **FORM)

    before, after = contract.learns(build, epochs=8, rate=1e-3, batch_size=50, train=1000, size=24, classes=4, colour_means=True)
    print(f"SiT as released: kNN {before:.1f} -> {after:.1f}")
    assert after > before + 10


FORM = {"released": True, "momentum": 0.98}
