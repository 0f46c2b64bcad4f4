"""Barlow Twins and VICReg: their losses against slow loops and closed forms, and the methods that use them."""

import math

import pytest
import torch

from helpers.core.errors import UserError
from helpers.methods.losses import barlow_twins, vicreg

STEMS = {"vit_micro": "patch8", "convnext_micro": "patch4", "resnet_tiny": "stride2"}
NAMES = ["barlow_twins", "vicreg"]


def made(contract, name, encoder="resnet_tiny", **options):
    small = {"hidden": 32, "out": 16}
    return contract.make(name, encoder, stem=STEMS.get(encoder, "auto"), **(small | options))


def columns(z):
    return [[float(value) for value in column] for column in z.double().T]


def mean(values):
    return sum(values) / len(values)


def slow_barlow(z1, z2, weight):
    """The sum over the matrix, entry by entry, with the biased deviation: divided by N, not by N - 1."""
    one, other = ([[(x - mean(c)) / math.sqrt(mean([(y - mean(c)) ** 2 for y in c])) for x in c] for c in columns(z)] for z in (z1, z2))
    total = 0.0
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            entry = mean([x * y for x, y in zip(a, b, strict=True)])
            total += (1 - entry) ** 2 if i == j else weight * entry**2
    return total


def slow_vicreg(z1, z2, invariance, variance, covariance):
    one, other = columns(z1), columns(z2)
    count, width = len(z1), len(one)
    total = invariance * mean([(x - y) ** 2 for a, b in zip(one, other, strict=True) for x, y in zip(a, b, strict=True)])
    for side in (one, other):
        centred = [[x - mean(c) for x in c] for c in side]
        for i, a in enumerate(centred):
            deviation = math.sqrt(sum(x * x for x in a) / (count - 1) + 1e-4)
            total += variance * max(0.0, 1 - deviation) / width / 2
            for j, b in enumerate(centred):
                if i != j:
                    total += covariance * (sum(x * y for x, y in zip(a, b, strict=True)) / (count - 1)) ** 2 / width
    return total


@pytest.mark.parametrize("weight", [0.0051, 1.0])
def test_barlow_twins_equals_a_slow_loop(weight):
    torch.manual_seed(0)
    z1, z2 = torch.randn(9, 5) * 3 + 1, torch.randn(9, 5) * 0.1
    assert barlow_twins(z1, z2, weight).item() == pytest.approx(slow_barlow(z1, z2, weight), rel=1e-5)


def test_barlow_twins_closed_forms():
    walsh = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])[:, 1:]  # uncorrelated, deviation 1
    assert barlow_twins(walsh, walsh * 7 + 2, 0.3).item() == pytest.approx(0.0, abs=1e-6)
    assert barlow_twins(walsh, -walsh, 0.3).item() == pytest.approx(3 * 4, rel=1e-6)
    same = walsh[:, :1].expand(4, 3)
    assert barlow_twins(same, same, 0.3).item() == pytest.approx(0.3 * 6, rel=1e-6)


def test_a_constant_coordinate_is_a_loss_of_one_and_a_finite_gradient():
    z = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    z[:, 0] = 5.0
    z.requires_grad_()
    loss = barlow_twins(z, z, 0.0)
    loss.backward()
    assert loss.item() == pytest.approx(1.0, rel=1e-5)
    assert z.grad.isfinite().all()


def test_vicreg_equals_a_slow_loop():
    torch.manual_seed(0)
    z1, z2 = torch.randn(9, 5) * 0.7 + 1, torch.randn(9, 5) * 1.1
    for weights in [(25, 25, 1), (1, 0, 0), (0, 1, 0), (0, 0, 1)]:
        assert vicreg(z1, z2, *weights).item() == pytest.approx(slow_vicreg(z1, z2, *weights), rel=1e-5)


def test_vicreg_of_a_collapsed_embedding_is_the_hinge():
    z = torch.ones(6, 4, requires_grad=True)
    loss = vicreg(z, z, 25, 25, 1)
    loss.backward()
    assert loss.item() == pytest.approx(25 * (1 - 0.01), rel=1e-5)
    assert z.grad.isfinite().all()


@pytest.mark.parametrize("loss", [lambda a, b: barlow_twins(a, b, 0.01), lambda a, b: vicreg(a, b, 25, 25, 1)])
def test_float32_even_under_autocast(loss):
    torch.manual_seed(0)
    z1, z2 = torch.randn(16, 8), torch.randn(16, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(z1, z2)
    assert inside.dtype == torch.float32 and torch.equal(inside, loss(z1, z2))


@pytest.mark.parametrize("encoder", ["resnet_tiny", "vit_micro", "convnext_micro", "mobilenetv2"])
@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_every_trained_parameter(contract, name, encoder):
    assert contract.gradients(made(contract, name, encoder), 32) == []


@pytest.mark.parametrize("name", NAMES)
def test_both_views_get_gradients_and_more_views_are_compared_pair_by_pair(contract, name):
    method = made(contract, name)
    z = torch.randn(8, 3, 16, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss, _ = method.criterion({"z": z}, None)
    loss.backward()
    assert (z.grad.abs().sum((0, 2)) > 0).all()
    pairs = [method.criterion({"z": z[:, [i, j]]}, None)[0].item() for i, j in ((0, 1), (0, 2), (1, 2))]
    assert loss.item() == pytest.approx(mean(pairs), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_a_resume_is_exact(contract, tmp_path, name):
    assert contract.survives(lambda: made(contract, name), tmp_path) == []


@pytest.mark.parametrize("name", NAMES)
def test_one_view_and_a_batch_of_one_are_refused(contract, name):
    with pytest.raises(UserError, match="at least 2 views"):
        made(contract, name, views={"count": 1})
    with pytest.raises(UserError, match="batch of 1"):
        made(contract, name).check(images=100, batch_size=1)


# The four classes differ in hue, which these views keep while they change lightness, place and scale.
HUE_KEPT = {"crop_scale": (0.5, 1), "jitter": 1, "brightness": 0.8, "contrast": 0.8, "saturation": 0, "hue": 0, "grey": 0}


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_learns(contract, name):
    def build():
        return made(contract, name, recipe="simclr_small", size=24, net={"width": 0.5}, views=HUE_KEPT, hidden=128, out=128)

    before, after = contract.learns(build, epochs=12, rate=4e-3, batch_size=50, train=1000, size=24, classes=4, colour_means=True)
    print(f"{name}: kNN {before:.1f} -> {after:.1f}")
    assert after > before + 10
