"""Compiled and plain runs: the same learning as the default, one compilation for many runs, a word where compiling fails."""

import shutil

import numpy as np
import pytest
import torch

from helpers.data import Batches, Split
from helpers.methods import METHODS
from helpers.models import build_encoder
from helpers.training import Training, TrainSettings, compiled
from helpers.views import make_views

CPU = torch.device("cpu")
needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU")


def training(seed=0, encoder="vit_micro", depth=None, **changes):
    torch.manual_seed(seed)
    images = np.random.default_rng(0).integers(0, 256, (64, 3, 32, 32), dtype=np.uint8)
    method = METHODS["simclr"](build_encoder(encoder, 32, **({"depth": depth} if depth else {})), make_views("simclr_small", 32))
    return Training(method, Batches(Split(images, np.arange(64) % 10), 32, CPU), TrainSettings(epochs=3, optimizer="adamw", **changes), CPU)


@pytest.mark.slow
@needs_compiler
def test_every_speed_option_learns_what_the_plain_run_learns_and_compiles_once():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    plain = [row["loss"] for row in training(depth=1, precision="plain").run()]
    fast = [row["loss"] for row in training(depth=1, precision="auto", compile=True).run()]
    assert fast == pytest.approx(plain, rel=0.02) and fast != plain
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    assert graphs >= 1
    other = training(seed=1, depth=1, precision="auto", compile=True)
    other.run()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == graphs
    assert [row["loss"] for row in other.metrics] != fast


def test_where_compiling_fails_the_run_goes_on_with_a_word(monkeypatch, capsys):
    def broken(method, inputs):
        raise torch._dynamo.exc.BackendCompilerFailed("inductor", RuntimeError("no compiler"), None)

    expected = [row["loss"] for row in training(precision="fp32").run()]
    monkeypatch.setattr(compiled, "_shared", lambda mode: broken)
    assert [row["loss"] for row in training(precision="fp32", compile=True).run()] == expected
    out = capsys.readouterr().out
    assert out.count("torch.compile failed") == 1 and "no compiler" in out


def test_plain_runs_use_contiguous_tensors_and_torch_s_own_kernels():
    plain, fast = training(precision="plain"), training(precision="fp32")
    assert all(m.fused_attn for m in plain.method.modules() if hasattr(m, "fused_attn"))
    assert not any(m.fused_attn for m in fast.method.modules() if hasattr(m, "fused_attn"))
    views, _ = plain._inputs(next(iter(plain.batches.epoch(0))), 0)
    assert all(view.is_contiguous() for view in views)


@pytest.mark.parametrize("encoder", ["resnet_tiny", "convnext_micro"])
def test_plain_and_fast_lose_alike_from_the_same_start(encoder):
    plain, fast = (training(encoder=encoder, precision=p).run()[0]["loss"] for p in ("plain", "auto"))
    assert fast == pytest.approx(plain, rel=0.02)


def test_rows_say_how_long_the_user_has_waited():
    run = training(precision="fp32")
    rows = run.run()
    assert 0 < run.first_step_seconds < rows[0]["seconds"] + 1 and run.resumed_at is None
    waited = [row["elapsed_seconds"] for row in rows]
    assert waited == sorted(waited) and waited[0] > rows[0]["seconds"]
