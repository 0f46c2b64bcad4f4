"""Schedules against torch's own, optimizers against their promises."""

import pytest
import torch

from helpers.core.errors import UserError
from helpers.training.optimizers import OPTIMIZERS, build_optimizer
from helpers.training.schedules import schedule_point


@pytest.mark.parametrize("total", [10, 97, 1000])
def test_one_cycle_is_torchs(total):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.AdamW([weight], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=total, div_factor=10)
    for step in range(total):
        point = schedule_point("one_cycle", step, total)
        assert point.factor == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6)
        assert point.momentum == pytest.approx(optimizer.param_groups[0]["betas"][0], abs=1e-6)
        optimizer.step()
        if step < total - 1:
            reference.step()


def test_warmup_cosine_rises_then_falls_to_zero():
    rates = [schedule_point("warmup_cosine", step, 100, 10).factor for step in range(101)]
    assert rates[9] == 1.0 and rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True) and rates[100] == pytest.approx(0, abs=1e-12)


def test_constant_stays():
    assert {schedule_point("constant", step, 50).factor for step in range(50)} == {1.0}


def test_an_unknown_schedule_names_the_nearest():
    with pytest.raises(UserError, match="one_cycle"):
        schedule_point("onecycle", 0, 10)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_lowers_a_quadratic_and_spares_biases_from_decay(name):
    torch.manual_seed(0)
    weight, bias = torch.nn.Parameter(torch.randn(4, 4)), torch.nn.Parameter(torch.ones(4))
    groups = [{"params": [weight], "decay": True}, {"params": [bias], "decay": False}]
    optimizer = build_optimizer(name, groups, rate=0.02, weight_decay=0.1)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.1, 0.0]
    before = weight.square().sum().item()
    for _ in range(60):
        optimizer.zero_grad()
        (weight.square().sum() + 0 * bias.sum()).backward()
        optimizer.step()
    assert weight.square().sum().item() < before
    assert torch.equal(bias, torch.ones(4))
