"""LARS and LAMB give each matrix a rate of its own, whatever the weight decay; biases and norms take plain steps."""

import pytest
import torch

from helpers.training.optimizers import build_optimizer

RATE, MOMENTUM = 0.1, 0.9


def parameters(seed=0):
    draw = torch.Generator().manual_seed(seed)
    matrix, bias = (torch.nn.Parameter(3 * torch.randn(*shape, generator=draw, dtype=torch.float64)) for shape in ((4, 3), (4,)))
    return matrix, bias


def gradients(count=3):
    """Small enough that LAMB, which cuts the length of the whole gradient to 1, leaves them alone."""
    draw = torch.Generator().manual_seed(9)
    return [[0.05 * torch.randn(*shape, generator=draw, dtype=torch.float64) for shape in ((4, 3), (4,))] for _ in range(count)]


def stepped(name, weight_decay, **group):
    matrix, bias = parameters()
    groups = [{"params": [matrix]} | group, {"params": [bias], "decay": False}]
    optimizer = build_optimizer(name, groups, rate=RATE, weight_decay=weight_decay, momentum=MOMENTUM)
    for of_matrix, of_bias in gradients():
        matrix.grad, bias.grad = of_matrix.clone(), of_bias.clone()
        optimizer.step()
    return matrix.detach(), bias.detach()


def lars(weight, found, decay, adapted):
    """You, Gitman, Ginsburg 2017: the step is momentum's, of gradients times 0.001 |w| / (|g| + decay |w|)."""
    momentum = torch.zeros_like(weight)
    for gradient in found:
        length = weight.norm()
        ratio = 0.001 * length / (gradient.norm() + decay * length) if adapted else 1.0
        momentum = MOMENTUM * momentum + ratio * (gradient + decay * weight)
        weight = weight - RATE * momentum
    return weight


def lamb(weight, found, decay, adapted):
    """You et al. 2020: Adam's step plus decay, as long as |w| says."""
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    for number, gradient in enumerate(found, 1):
        first = MOMENTUM * first + (1 - MOMENTUM) * gradient
        second = 0.999 * second + 0.001 * gradient**2
        update = first / (1 - MOMENTUM**number) / ((second / (1 - 0.999**number)).sqrt() + 1e-6) + decay * weight
        weight = weight - RATE * (weight.norm() / update.norm() if adapted else 1.0) * update
    return weight


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize(("name", "closed_form"), [("lars", lars), ("lamb", lamb)])
def test_the_rate_of_a_matrix_is_the_papers_and_a_bias_has_none(name, closed_form, weight_decay):
    (matrix, bias), of_matrix, of_bias = parameters(), *zip(*gradients(), strict=True)
    found = stepped(name, weight_decay)
    expected = closed_form(matrix.detach(), of_matrix, weight_decay, adapted=True)
    torch.testing.assert_close(found[0], expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found[1], closed_form(bias.detach(), of_bias, 0.0, adapted=False), rtol=1e-6, atol=1e-9)
    plain = closed_form(matrix.detach(), of_matrix, weight_decay, adapted=False)
    assert (expected - plain).norm() > 1e-3 * plain.norm(), "the test could not tell the two apart"


@pytest.mark.parametrize("name", ["lars", "lamb"])
def test_where_weights_decay_nothing_changes_by_it(name):
    """timm adapts decayed tensors by itself: bit for bit what it does without being told."""
    import timm.optim

    matrix, bias = parameters()
    groups = [{"params": [matrix], "weight_decay": 0.3}, {"params": [bias], "weight_decay": 0.0}]
    own = (
        timm.optim.Lars(groups, lr=RATE, momentum=MOMENTUM) if name == "lars" else timm.optim.Lamb(groups, lr=RATE, betas=(MOMENTUM, 0.999))
    )
    for of_matrix, of_bias in gradients():
        matrix.grad, bias.grad = of_matrix.clone(), of_bias.clone()
        own.step()
    found = stepped(name, 0.3)
    assert torch.equal(found[0], matrix) and torch.equal(found[1], bias)


@pytest.mark.parametrize("name", ["lars", "lamb"])
def test_a_matrix_that_is_not_to_decay_is_not_adapted(name):
    matrix, _ = parameters()
    found = stepped(name, 0.3, decay=False)[0]
    form = {"lars": lars, "lamb": lamb}[name]
    torch.testing.assert_close(found, form(matrix.detach(), [each for each, _ in gradients()], 0.0, adapted=False), rtol=1e-6, atol=1e-9)
