"""What a net costs: counted numbers by hand, measured ones as far as anything can be said of them; and the table of runs."""

import json
import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from helpers.data import Batches, load
from helpers.methods import METHODS
from helpers.models import build_encoder, macs
from helpers.runs import footprint
from helpers.runs.footprint import profile_encoder, step_flops, training_flops
from helpers.studies.lightweight_architectures.costs import cost_rows
from helpers.training import Training, TrainSettings
from helpers.views import make_views

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return build_encoder("resnet_tiny", 32)


@pytest.fixture(scope="module")
def profile(encoder):
    return profile_encoder(encoder, CPU, "fp32", batch=32)


def test_counted_and_measured_of_a_small_net(encoder, profile):
    assert profile["parameters"] == sum(p.numel() for p in encoder.parameters())
    assert profile["flops_forward"] == 2 * profile["macs"] == 2 * macs(encoder)
    assert profile["latency_repeats"] >= 20 and profile["precision"] == "fp32" and profile["batch"] == 32
    assert 0 < profile["latency_ms"] < 1000
    assert profile["images_per_second"] > 1000 / profile["latency_ms"] / 2  # many together are not far slower than one by one
    assert profile["rated_watts"] == 8.0 * torch.get_num_threads() and profile["rated_watts_is"].startswith("estimated")
    assert json.loads(json.dumps(profile)) == profile


def test_memory_holds_weights_and_gradients_and_grows_with_the_batch(encoder, profile):
    if profile["peak_memory_bytes"] is None:
        pytest.skip(profile["peak_memory_is"])
    larger, how = footprint._peak_memory(lambda: footprint._train_once(encoder, CPU, "fp32", 256), CPU)
    assert how.startswith("measured")
    assert 2 * 4 * profile["parameters"] < profile["peak_memory_bytes"] < larger


def test_memory_that_cannot_be_known_is_none_and_says_so(encoder, monkeypatch, tmp_path):
    monkeypatch.setattr(footprint, "PROC", tmp_path / "nothing")
    assert footprint._peak_memory(lambda: None, CPU) == (None, "not measured: this system does not tell a process's peak memory")


def test_profiling_changes_neither_the_net_nor_the_random_numbers(encoder):
    encoder.train()
    before, state = {k: v.clone() for k, v in encoder.state_dict().items()}, torch.get_rng_state()
    profile_encoder(encoder, CPU, batch=4)
    assert all(torch.equal(before[k], v) for k, v in encoder.state_dict().items())
    assert torch.equal(state, torch.get_rng_state()) and encoder.training
    assert all(p.grad is None for p in encoder.parameters())


@pytest.mark.parametrize("name", ["supervised", "simclr"])
def test_the_flops_of_a_step_are_three_forward_passes_a_view_and_the_heads(encoder, name):
    split = load("embedded", image_size=32).split("train")
    batches = Batches(split, 16, CPU, seed=0)
    options = {"classes": 10} if name == "supervised" else {"temperature": 0.1, "hidden": 32, "out": 16}
    method = METHODS[name](encoder, make_views("supervised" if name == "supervised" else "contest", 32), **options)
    before = {k: v.clone() for k, v in method.state_dict().items()}
    images = 16 * method.views.settings.count
    width = encoder.width
    head = width * 10 if name == "supervised" else width * 32 + 32 * 16
    contrast = 0 if name == "supervised" else 3 * 2 * (2 * 16) ** 2 * 16  # every view with every other, there and back
    first = 2 * images * macs_of_first(encoder)  # the images need no gradient
    assert step_flops(method, batches) == pytest.approx(6 * images * (macs(encoder) + head) - first + contrast, rel=0.01)
    assert all(torch.equal(before[k], v) for k, v in method.state_dict().items())


def test_a_run_whose_views_grow_is_counted_at_each_of_their_sizes(encoder):
    split = load("embedded", image_size=32).split("train")
    views = make_views("simclr_small", 32, small=2, small_side=0.5)
    method, batches = METHODS["simclr"](encoder, views), Batches(split, 16, CPU, seed=0)
    plain = Training(method, batches, TrainSettings(epochs=3), CPU)
    grown = Training(method, batches, TrainSettings(epochs=3, sizes=((0.0, 16), (0.5, 32))), CPU)
    small, full, steps = step_flops(method, batches, views=views.at(16)), step_flops(method, batches), len(batches)
    assert 0.25 * full < small < 0.5 * full, "a quarter for the large views, more for small ones, whose side is at least 12"
    assert training_flops(plain, "test") == 3 * steps * full
    assert training_flops(grown, "test") == steps * (2 * small + full)


def macs_of_first(encoder) -> int:
    layer = encoder.first_layer
    side = 32 // layer.stride[0]
    return layer.weight.numel() * side * side


def record(**manifest):
    whole = {
        "encoder": "resnet18",
        "image_size": 64,
        "parameters": 11_000_000,
        "macs": 500_000_000,
        "training_flops": 9e15,
        "seconds": 14400.0,
        "training_seconds": 7200.0,
        "energy": {"watt_hours": 2800.0, "method": "measured: GPU counter"},
        "device": {"type": "cuda", "name": "a card"},
        "profile": {"latency_ms": 2.5, "peak_memory_bytes": 3e8, "rated_watts": 700.0, "rated_watts_is": "rated: by its maker"},
    }
    config = {"method": {"name": "byol"}, "training": {"batch_size": 32, "accumulate": 2, "epochs": 2}}
    manifest = {k: v for k, v in (whole | manifest).items() if v is not None}
    return SimpleNamespace(id="x-1", config=config, manifest=manifest, metrics=pd.DataFrame({"epoch": [1, 2], "step": [50, 100]}))


def test_a_row_by_hand():
    row = cost_rows([record()], intensity=0.1).iloc[0]
    assert (row["run"], row["encoder"], row["method"], row["missing"]) == ("x-1", "resnet18", "byol", "")
    assert row["parameters (M)"] == 11 and row["MACs (M)"] == 500 and row["forward (MFLOP)"] == 1000 and row["run (TFLOP)"] == 9000
    assert row["training (images/s)"] == pytest.approx(100 * 32 * 2 / 7200)
    assert row["latency (ms)"] == 2.5 and row["peak memory (MB)"] == 300 and row["training (h)"] == 2
    assert row["energy (Wh)"] == 1400 and row["energy is"].startswith("measured")
    assert row["CO2 (kg)"] == pytest.approx(0.14) and row["carbon intensity is"] == "given"
    assert row["CO2 by rated power (kg)"] == pytest.approx(2 * 0.7 * 0.42)


def test_a_record_that_tells_the_energy_of_its_training_is_believed():
    told = record(energy={"watt_hours": 5.0, "training_watt_hours": 30.0, "method": "estimated"})  # 5 since it was resumed
    assert cost_rows([told])["energy (Wh)"].iloc[0] == 30


def test_what_a_record_does_not_tell_is_nan_and_named():
    older = record(profile=None, device={"type": "cpu", "threads": 2}, energy={"watt_hours": 32.0, "method": "estimated: 8 W a busy core"})
    bare = SimpleNamespace(id="x-2", config={}, manifest={"training_seconds": 3600.0}, metrics=pd.DataFrame())
    table = cost_rows([older, bare, None])
    assert table["missing"][0] == "latency (ms), peak memory (MB)"
    assert table["energy is"].tolist() == ["estimated: 8 W a busy core", "missing", "missing"]
    assert table["CO2 by rated power (kg)"][0] == pytest.approx(2 * 0.016 * 0.42) == table["CO2 (kg)"][0] * 2
    assert table["training (h)"][1] == 1 and math.isnan(table["energy (Wh)"][1]) and table["rated power is"][1] == "missing"
    assert table["run"][2] == table["encoder"][2] == table["method"][2] == "missing"
    numbers = table.select_dtypes("number").iloc[2]
    assert numbers.isna().all() and len(numbers) == 12


def test_what_was_measured_once_is_not_measured_again(monkeypatch):
    monkeypatch.setattr(footprint, "_KNOWN", {})
    seen = []
    found = [footprint.remembered(key, lambda key=key: seen.append(key) or {"of": key}) for key in (("net", 1), ("net", 2), ("net", 1))]
    assert seen == [("net", 1), ("net", 2)] and found[0] is found[2] and found[1] == {"of": ("net", 2)}
