"""Gradients that are shortened: by how much, when, what the log says, and that a run without it is the run it was."""

import math

import numpy as np
import pytest
import torch

from helpers.core.errors import UserError
from helpers.data import Batches, Split
from helpers.methods import METHODS
from helpers.models import build_encoder
from helpers.runs.config import RunConfig
from helpers.training import Training, TrainSettings
from helpers.training.gradients import settled
from helpers.views import make_views

CPU = torch.device("cpu")


def training(**changes):
    torch.manual_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (48, 3, 32, 32), dtype=np.uint8)
    method = METHODS["simclr"](build_encoder("resnet_tiny", 32), make_views("simclr_small", 32))
    given = {"epochs": 2, "optimizer": "sgd", "momentum": 0.0, "rate": 0.1, "schedule": "constant", "precision": "fp32"} | changes
    return Training(method, Batches(Split(images, np.arange(48) % 4), 16, CPU, seed=0), TrainSettings(**given), CPU)


def with_gradients(length):
    """A method whose gradients together have that length."""
    method = training().method
    for parameter in method.parameters():
        parameter.grad = torch.ones_like(parameter)
    count = sum(parameter.numel() for parameter in method.parameters())
    for parameter in method.parameters():
        parameter.grad *= length / math.sqrt(count)
    return method


def together(method):
    return torch.cat([parameter.grad.flatten() for parameter in method.parameters()])


@pytest.mark.parametrize(("length", "longest", "left"), [(12.0, 3.0, 3.0), (2.0, 3.0, 2.0), (12.0, 0.0, 12.0)])
def test_all_gradients_together_are_no_longer_than_asked_and_keep_their_direction(length, longest, left):
    method = with_gradients(length)
    before = together(method).clone()
    logs = settled(method, None, longest)
    assert together(method).double().norm().item() == pytest.approx(left, rel=2e-3)  # torch adds up equal squares no better
    assert torch.allclose(together(method), before * left / length, rtol=2e-3)
    assert ("gradient" in logs) == (longest > 0)
    if longest:
        assert logs["gradient"].item() == pytest.approx(length, rel=2e-3)
    part = math.sqrt(method.encoder.first_layer.weight.numel() / len(before))
    assert logs["first_layer_gradient"].item() == pytest.approx(length * part, rel=2e-3)  # as it arrived, before any shortening


def test_a_step_is_no_longer_than_the_rate_allows_and_the_metrics_say_how_long_it_would_have_been():
    moved = []
    for longest in (0.0, 1e-3):
        run = training(clip_gradients=longest, epochs=1)
        before = [p.detach().clone() for p in run.method.parameters()]
        rows = run.run()
        moved.append(torch.cat([(p - b).flatten() for p, b in zip(run.method.parameters(), before, strict=True)]).norm().item())
        assert ("gradient" in rows[0]) == (longest > 0)
    assert moved[1] <= 3 * 0.1 * 1e-3 * 1.001 < moved[0] and rows[0]["gradient"] > 1e-3  # three steps


def test_a_limit_that_is_never_reached_changes_nothing():
    ends = []
    for longest in (0.0, 1e9):
        run = training(clip_gradients=longest)
        run.run()
        ends.append(run.method.state_dict())
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


def test_accumulated_batches_are_shortened_once_as_one():
    run = training(clip_gradients=1e-3, accumulate=3, epochs=1)
    before = [p.detach().clone() for p in run.method.parameters()]
    run.run()
    moved = torch.cat([(p - b).flatten() for p, b in zip(run.method.parameters(), before, strict=True)]).norm().item()
    assert moved == pytest.approx(1e-4, rel=1e-2)  # one step of the full length


def test_a_config_asks_for_it_and_its_default_changes_no_id():
    assert RunConfig(training={"clip_gradients": 0.0}).id == RunConfig().id != RunConfig(training={"clip_gradients": 3.0}).id
    asked, plain = (RunConfig(training={"clip_gradients": longest, "rate": {}}) for longest in (3.0, 0.0))
    assert asked.range_test_id != plain.range_test_id  # it trains so too
    with pytest.raises(UserError, match="clip_gradients = -1"):
        RunConfig(training={"clip_gradients": -1.0})
