"""The loop: resumes bit for bit, accumulates with global negatives, stops with a reason, never saves a broken state."""

import shutil
import sys
import warnings

import numpy as np
import pytest
import torch

from helpers.core.errors import TrainingStopped, UserError
from helpers.data import Batches, Split
from helpers.methods import METHODS
from helpers.models import build_encoder
from helpers.training import Stopped, Training, TrainSettings, checkpoints, train
from helpers.training.range_test import find_minimum, range_test, sweep_once
from helpers.views import make_views

CPU = torch.device("cpu")


def images(count=96):
    rng = np.random.default_rng(0)
    return Split(rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8), np.arange(count) % 10)


def parts(batch=16, encoder="resnet_tiny", name="simclr", seed=0, stem="auto", **options):
    torch.manual_seed(seed)
    method = METHODS[name](build_encoder(encoder, 32, stem=stem), make_views("contest", 32), **options)
    return method, Batches(images(), batch, CPU, seed=seed)


def settings(**changes):
    return TrainSettings(**({"epochs": 3, "optimizer": "adamw", "rate": 1e-3, "checkpoint_seconds": 0.0, "precision": "fp32"} | changes))


def weights(method):
    return {k: v.clone() for k, v in method.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(("optimizer", "stop_after"), [("radam", 2), ("radam", 13), ("adamw", 6), ("lamb", 7), ("lars", 3), ("sgd", 6)])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, stop_after, optimizer):
    method, batches = parts()
    undisturbed = train(method, batches, settings(optimizer=optimizer), CPU)
    expected = weights(method)

    method, batches = parts()
    run = Training(method, batches, settings(optimizer=optimizer), CPU, folder=tmp_path)
    run.stop = lambda: "the test says so" if run.step >= stop_after else None
    with pytest.raises(Stopped, match="the test says so"):
        run.run()

    method, batches = parts(seed=1)  # other weights: all of them must come from the checkpoint
    batches = Batches(images(), 16, CPU, seed=0)
    again = train(method, batches, settings(optimizer=optimizer), CPU, folder=tmp_path)
    assert same(weights(method), expected)
    assert [{k: v for k, v in row.items() if "seconds" not in k} for row in again] == [
        {k: v for k, v in row.items() if "seconds" not in k} for row in undisturbed
    ]


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
    checkpoints.save(tmp_path, 1, {"x": torch.ones(3)})
    newest = checkpoints.save(tmp_path, 2, {"x": torch.zeros(3)})
    newest.write_bytes(newest.read_bytes()[:-20])
    with pytest.warns(UserWarning, match="damaged"):
        assert checkpoints.load_newest(tmp_path, CPU)["x"].sum() == 3


def test_only_the_last_two_checkpoints_are_kept(tmp_path):
    for step in range(5):
        checkpoints.save(tmp_path, step, {"step": step})
    assert sorted(p.name for p in tmp_path.glob("*.pt")) == ["step-000000003.pt", "step-000000004.pt"]


def test_a_flipped_bit_is_noticed(tmp_path):
    path = checkpoints.save(tmp_path, 1, {"x": torch.ones(100)})
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert checkpoints.load_newest(tmp_path, CPU) is None


def test_accumulation_has_the_gradient_of_the_whole_batch():
    """On a net without batch statistics, 4 batches of 8 must step exactly as one of 32: the negatives are shared."""

    def gradients(batch, accumulate):
        method, batches = parts(batch=batch, encoder="vit_micro", stem="patch8", norm="none")
        method.views = lambda images, generator: [images.float() / 255, images.float().flip(3) / 255]
        run = Training(method, batches, settings(accumulate=accumulate), CPU)
        group = [b for b, _ in zip(batches.epoch(0), range(accumulate), strict=False)]
        method.train()
        loss, _ = run._backward(group)
        return loss, {n: p.grad for n, p in method.named_parameters()}, torch.cat([b.indices for b in group])

    loss_whole, whole, seen_whole = gradients(32, 1)
    loss_parts, in_parts, seen_parts = gradients(8, 4)
    assert torch.equal(seen_whole, seen_parts)
    assert loss_parts.item() == pytest.approx(loss_whole.item(), rel=1e-5)
    for name, gradient in whole.items():
        assert torch.allclose(gradient, in_parts[name], atol=1e-5, rtol=1e-3), name


def test_accumulation_moves_batch_statistics_once():
    """The pass without a graph sees the same batches as the one with it, and must leave no second mark."""
    method, batches = parts(batch=16)
    method.views = lambda images, generator: [images.float() / 255, images.float().flip(3) / 255]
    run = Training(method, batches, settings(accumulate=2), CPU)
    group = [b for b, _ in zip(batches.epoch(0), range(2), strict=False)]
    method.train()
    before = weights(method)
    run._backward(group)
    after = weights(method)
    method.load_state_dict(before)
    with torch.no_grad():
        for part in group:
            method.embed(method.views(part.images, None))
    once = weights(method)
    moved = [name for name in before if "running" in name]
    assert moved and all(torch.allclose(after[name], once[name], atol=1e-6) for name in moved)


def test_an_exploding_loss_stops_with_step_rate_and_last_good_checkpoint(tmp_path):
    method, batches = parts()
    with pytest.raises(TrainingStopped, match=r"at step \d+ of 18 .* at rate .*Lower the rate.*Last good checkpoint"):
        original = method.criterion

        def broken(outputs, batch):
            loss, logs = original(outputs, batch)
            return (loss * float("nan") if batch.progress > 0.4 else loss), logs

        method.criterion = broken
        train(method, batches, settings(), CPU, folder=tmp_path)
    state = checkpoints.load_newest(tmp_path, CPU)
    assert state is not None and all(v.isfinite().all() for v in state["method"].values() if v.is_floating_point())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("c++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_a_compiled_run_learns_the_same():
    losses = []
    for compiled in (False, True):
        method, batches = parts(encoder="vit_micro", stem="patch8")
        losses.append([row["loss"] for row in train(method, batches, settings(epochs=1, compile=compiled), CPU)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


def test_too_few_batches_to_accumulate_is_an_error():
    method, batches = parts()
    with pytest.raises(UserError, match="accumulate = 7"):
        Training(method, batches, settings(accumulate=7), CPU)


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path):
    method, batches = parts()
    train(method, batches, settings(epochs=1), CPU, folder=tmp_path)
    method, batches = parts()
    with pytest.raises(UserError, match="another configuration"):
        train(method, batches, settings(epochs=2), CPU, folder=tmp_path)


def test_the_range_test_restores_everything():
    method, batches = parts()
    before, generator = weights(method), torch.get_rng_state()
    losses = sweep_once(method, batches, settings(), CPU, np.geomspace(1e-5, 1e-1, 20))
    assert np.isfinite(losses).sum() >= 10
    assert same(weights(method), before) and torch.equal(torch.get_rng_state(), generator)
    assert all(p.grad is None for p in method.parameters())


def test_the_range_test_finds_a_minimum_that_is_there_and_none_that_is_not():
    rates = np.geomspace(1e-5, 1, 100)
    rng = np.random.default_rng(0)
    valley = 5 - 2 * np.exp(-((np.log10(rates) + 2) ** 2)) + 0.02 * rng.standard_normal((2, 100))
    found = find_minimum(rates, valley)
    assert 3e-3 < found.rate_at_minimum < 3e-2
    flat = 5 + 0.02 * rng.standard_normal((2, 100))
    assert find_minimum(rates, flat).rate_at_minimum is None
    falling = 5 - np.linspace(0, 2, 100) + 0.02 * rng.standard_normal((2, 100))
    none = find_minimum(rates, falling)
    assert none.rate_at_minimum is None and "upper edge" in none.reason
    exploded = np.full((2, 100), np.nan)
    assert "exploded" in find_minimum(rates, exploded).reason


def test_the_range_test_averages_seeds_and_goes_fine_inside_the_coarse_range(monkeypatch):
    monkeypatch.setattr(sys.modules["helpers.training.range_test"], "CLEAR", 0.0)  # a lowest point will do: the images are noise
    coarse, fine = range_test(lambda seed: parts(seed=seed), settings(), CPU, seeds=2, coarse_steps=40, fine_steps=15, low=1e-5, high=10)
    assert coarse.raw.shape == (2, 40)
    assert not np.array_equal(coarse.raw[0], coarse.raw[1])
    assert fine is not None, coarse.reason
    assert fine.rates[0] == pytest.approx(coarse.rate_at_minimum / 10) and fine.rates[-1] == pytest.approx(coarse.rate_at_minimum * 3)
