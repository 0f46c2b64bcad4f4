"""BYOL: its loss, the gradient that stops at the target, and the average that follows."""

import math

import pytest
import torch

from helpers.core.errors import UserError
from helpers.methods.losses import byol_loss, negative_cosine


def cosine(a, b):
    a, b = a.double(), b.double()
    return float(a @ b) / (float(a.norm()) * float(b.norm()))


def test_the_losses_equal_a_slow_loop():
    torch.manual_seed(0)
    p, t = torch.randn(7, 5) * 3, torch.randn(7, 5)
    mean = sum(cosine(a, b) for a, b in zip(p, t, strict=True)) / 7
    assert negative_cosine(p, t).item() == pytest.approx(-mean, abs=1e-5)
    assert byol_loss(p, t).item() == pytest.approx(2 - 2 * mean, abs=1e-5)


@pytest.mark.parametrize(("degrees", "expected"), [(0, 0.0), (60, 1.0), (90, 2.0), (180, 4.0)])
def test_byol_loss_is_two_minus_two_cosines_whatever_the_lengths(degrees, expected):
    angle = math.radians(degrees)
    target = torch.tensor([[3.0, 0.0]])
    assert byol_loss(torch.tensor([[math.cos(angle), math.sin(angle)]]) * 0.1, target).item() == pytest.approx(expected, abs=1e-5)


def test_the_losses_stop_the_targets_gradient_themselves_and_are_float32():
    torch.manual_seed(0)
    for loss in (negative_cosine, byol_loss):
        p, t = (torch.randn(4, 3, requires_grad=True) for _ in range(2))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss(p.bfloat16(), t.bfloat16())
        value.backward()
        assert value.dtype == torch.float32
        assert t.grad is None and p.grad.abs().sum() > 0


def byol(contract, encoder="resnet_tiny", **options):
    stem = {"vit_micro": "patch8", "convnext_micro": "patch4", "resnet_tiny": "stride2"}.get(encoder, "auto")
    return contract.make("byol", encoder, stem=stem, **({"hidden": 32, "out": 16} | options))


@pytest.mark.parametrize("encoder", ["resnet_tiny", "vit_micro", "convnext_micro", "mobilenetv2"])
def test_gradients_reach_the_online_networks_and_nothing_of_the_target(contract, encoder):
    method = byol(contract, encoder)
    assert contract.gradients(method) == []
    frozen = {name for name, p in method.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, _ in method.named_parameters() if name.startswith("target.")} and frozen
    _, batch = contract.step(method)
    outputs = method.embed(method.prepare(*contract.step(method)))
    assert outputs["prediction"].requires_grad and not outputs["target"].requires_grad
    assert method.criterion(outputs, batch)[0].isfinite()


def test_both_directions_count_alike(contract):
    method = byol(contract)
    torch.manual_seed(0)
    p, t = torch.randn(6, 2, 16), torch.randn(6, 2, 16)
    expected = (byol_loss(p[:, 0], t[:, 1]) + byol_loss(p[:, 1], t[:, 0])) / 2
    assert method.criterion({"prediction": p, "target": t}, None)[0].item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_target_is_the_average_of_the_parameters_only(contract):
    method = byol(contract, momentum=0.9)
    before = [p.clone() for p in method.target.parameters()]
    with torch.no_grad():
        for p in method._online().parameters():
            p.add_(1)
        for buffer in method.encoder.buffers():
            buffer.fill_(7)
    buffers = [b.clone() for b in method.target.buffers()]
    method.after_step(0.5)  # halfway along the cosine: 1 - .1 / 2
    for old, now, online in zip(before, method.target.parameters(), method._online().parameters(), strict=True):
        assert torch.allclose(now, 0.95 * old + 0.05 * online, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(buffers, method.target.buffers(), strict=True))
    frozen = [p.clone() for p in method.target.parameters()]
    method.after_step(1.0)
    assert all(torch.equal(a, b) for a, b in zip(frozen, method.target.parameters(), strict=True))


def test_the_target_stands_still_while_embedding(contract):
    method = byol(contract)
    before = [p.clone() for p in method.target.parameters()]
    method.loss(*contract.step(method))
    assert all(torch.equal(a, b) for a, b in zip(before, method.target.parameters(), strict=True))


def test_a_resume_is_exact(contract, tmp_path):
    assert contract.survives(lambda: byol(contract), tmp_path) == []


def test_one_view_is_refused(contract):
    with pytest.raises(UserError, match="at least 2 views"):
        contract.make("byol", views={"count": 1})


# The four classes differ in hue, which these views keep while they change lightness, place and scale.
HUE_KEPT = {"crop_scale": (0.5, 1), "jitter": 1, "brightness": 0.8, "contrast": 0.8, "saturation": 0, "hue": 0, "grey": 0}


@pytest.mark.slow
def test_it_learns(contract):
    def build():
        return byol(contract, size=24, net={"width": 0.5}, views=HUE_KEPT, hidden=256, out=256, momentum=0.95)

    before, after = contract.learns(
        build, epochs=20, rate=0.3, optimizer="sgd", batch_size=50, train=1000, size=24, classes=4, colour_means=True
    )
    print(f"BYOL: kNN {before:.1f} -> {after:.1f}")
    assert after > before + 10
