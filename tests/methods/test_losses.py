"""NT-Xent against its closed forms, naive loops and half precision; two views and more."""

import math

import pytest
import torch

from helpers.methods.losses import multi_view_nt_xent, nt_xent


def naive(z1, z2, temperature):
    z = [v / v.norm() for v in torch.cat((z1, z2)).double()]
    count, total = len(z1), 0.0
    for i in range(2 * count):
        partner = (i + count) % (2 * count)
        others = sum(math.exp(float(z[i] @ z[j]) / temperature) for j in range(2 * count) if j != i)
        total -= math.log(math.exp(float(z[i] @ z[partner]) / temperature) / others)
    return total / (2 * count)


@pytest.mark.parametrize("temperature", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("count", [2, 7])
def test_nt_xent_equals_a_naive_double_loop(count, temperature):
    torch.manual_seed(count)
    z1, z2 = torch.randn(count, 5) * 3, torch.randn(count, 5)
    assert nt_xent(z1, z2, temperature).item() == pytest.approx(naive(z1, z2, temperature), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_closed_forms(temperature):
    count = 8
    same = torch.ones(count, 4)
    assert nt_xent(same, same, temperature).item() == pytest.approx(math.log(2 * count - 1), rel=1e-6)
    perfect = torch.eye(count)
    expected = math.log(1 + (2 * count - 2) * math.exp(-1 / temperature))
    assert nt_xent(perfect, perfect, temperature).item() == pytest.approx(expected, rel=1e-4)


def test_nt_xent_is_computed_in_float32_even_under_autocast():
    torch.manual_seed(0)
    z1, z2 = torch.randn(64, 32), torch.randn(64, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = nt_xent(z1, z2, 0.1)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, nt_xent(z1, z2, 0.1))


def test_nt_xent_does_not_depend_on_the_length_of_its_inputs():
    torch.manual_seed(0)
    z1, z2 = torch.randn(6, 3), torch.randn(6, 3)
    assert nt_xent(z1 * 100, z2, 0.5).item() == pytest.approx(nt_xent(z1, z2 * 0.01, 0.5).item(), rel=1e-5)


def naive_views(views, temperature, decoupled=False):
    """Ordered pairs of views of one image, each against all views of the other images, and itself unless decoupled."""
    z = torch.nn.functional.normalize(torch.stack(views).double(), dim=2)
    count, own, total = len(views), len(views[0]), 0.0
    for v in range(count):
        for i in range(own):
            others = sum(math.exp(float(z[v, i] @ z[u, j]) / temperature) for u in range(count) for j in range(own) if j != i)
            for w in range(count):
                if w != v:
                    own_pair = math.exp(float(z[v, i] @ z[w, i]) / temperature)
                    total -= math.log(own_pair / (others if decoupled else own_pair + others))
    return total / (count * (count - 1) * own)


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("decoupled", [False, True])
def test_many_views_equal_a_naive_loop(decoupled, count, temperature):
    torch.manual_seed(count)
    views = [torch.randn(5, 6) * (1 + n) for n in range(count)]
    found = multi_view_nt_xent(views, temperature, decoupled).item()
    assert found == pytest.approx(naive_views(views, temperature, decoupled), rel=1e-5)


def test_many_views_at_two_are_nt_xent():
    torch.manual_seed(0)
    z1, z2 = torch.randn(9, 4, requires_grad=True), torch.randn(9, 4)
    one, two = nt_xent(z1, z2, 0.2), multi_view_nt_xent([z1, z2], 0.2)
    assert two.item() == pytest.approx(one.item(), rel=1e-6)
    assert torch.allclose(*(torch.autograd.grad(loss, z1)[0] for loss in (one, two)), atol=1e-6)


def test_many_views_do_not_depend_on_their_order_and_have_finite_gradients():
    torch.manual_seed(0)
    views = [torch.randn(6, 3, requires_grad=True) for _ in range(4)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = multi_view_nt_xent(views, 0.05)
    assert loss.dtype == torch.float32
    assert multi_view_nt_xent(views[::-1], 0.05).item() == pytest.approx(loss.item(), rel=1e-5)
    loss.backward()
    assert all(view.grad.isfinite().all() for view in views)
