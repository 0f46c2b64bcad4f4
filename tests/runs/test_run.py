"""A run survives SIGKILL bit for bit, the same config gives the same record, and a sweep contains what goes wrong."""

import gc
import multiprocessing
import os
import random
import signal
import time
import weakref
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from helpers.core.errors import UserError
from helpers.models import from_export
from helpers.runs import records
from helpers.runs import run as run_module
from helpers.runs.config import RunConfig
from helpers.runs.cost import forecast
from helpers.runs.plan import Cell, collect
from helpers.runs.run import encoder_file, run
from helpers.runs.sweep import sweep
from helpers.training import Training
from tests.small_run import SMALL, small


def run_with_many_checkpoints(config, folders):
    """In a process of its own, forked from one that has already imported everything: what is started again is the run, not Python."""
    os.environ.update(folders)
    torch.set_num_threads(1)
    original = run_module.settings_of
    run_module.settings_of = lambda config, rate: replace(original(config, rate), checkpoint_seconds=0.05)
    run(config, "cpu")


def test_five_sigkills_change_nothing(house, monkeypatch):
    """The undisturbed run against one that is killed at five random moments of its training and started again each time."""
    config = small(training={"epochs": 12}, evaluation={"probe_every": 3})
    undisturbed = run(config, "cpu")
    expected = load_file(encoder_file(config.id))

    monkeypatch.setenv("RUNS_DIR", str(house / "again"))
    monkeypatch.setenv("CACHE_DIR", str(house / "cache2"))
    (house / "cache2").mkdir()
    (house / "cache2" / "packs").symlink_to(house / "cache" / "packs")
    checkpoints = house / "cache2" / "checkpoints" / config.id
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload([__name__, "timm", "sklearn.manifold"])
    folders = {name: os.environ[name] for name in ("RUNS_DIR", "CACHE_DIR")}
    chance, kills = random.Random(), 0
    for attempt in range(12):
        before = sorted(checkpoints.glob("step-*.pt"))
        child = forks.Process(target=run_with_many_checkpoints, args=(config, folders))
        child.start()
        if kills < 5:
            while sorted(checkpoints.glob("step-*.pt")) == before and child.is_alive():
                time.sleep(0.005)  # it has come further than the last one did
            time.sleep(chance.uniform(0, 0.2))
            if child.is_alive():
                child.kill()
                kills += 1
        child.join()
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL, f"attempt {attempt} ended with {child.exitcode}"
    again = records.find(config.id)
    assert kills >= 3, "the run was too short to be killed: make it longer"
    assert again.essence() == undisturbed.essence()
    weights = load_file(encoder_file(config.id))
    assert weights.keys() == expected.keys() and all(torch.equal(weights[name], expected[name]) for name in expected)


def test_the_same_config_gives_the_same_record_and_is_trained_once(house, monkeypatch):
    config = small(training={"rate": {"seeds": 1, "coarse_steps": 10, "fine_steps": 10}})
    first = run(config, "cpu")
    stamp = (first.path / "record.json").stat().st_mtime_ns
    assert (run(config, "cpu").path / "record.json").stat().st_mtime_ns == stamp
    monkeypatch.setenv("RUNS_DIR", str(house / "again"))
    assert run(config, "cpu").essence() == first.essence()
    assert first.manifest["resolved"]["range_test"] == config.range_test_id
    assert records.find(config.range_test_id).evaluations["range_test"]["minimum"] in ("found", "none")


def test_a_record_says_where_it_comes_from_and_its_encoder_loads_back(house):
    record = run(small(evaluation={"untrained": True}), "cpu")
    assert {"linear", "knn10", "knn20", "knn200", "knn200_t0.1", "linear_untrained"} <= set(record.evaluations)
    assert record.manifest["stem"] == "stride2" and record.manifest["dataset"]["hash"]
    assert record.manifest["energy"]["method"].startswith(("measured", "estimated"))
    assert len(record.metrics) == 3 and record.metrics["knn"].notna().all()
    assert record.arrays["linear.predictions"].shape == record.arrays["labels"].shape == (64,)
    correct = (record.arrays["linear.predictions"] == record.arrays["labels"]).mean() * 100
    assert correct == pytest.approx(record.evaluations["linear"]["top1"], abs=1e-3)
    assert from_export(encoder_file(record.id)).width == record.manifest["feature_width"]


def test_one_failure_does_not_take_the_rest_down(house):
    good, bad = small(), small(encoder={"stem": "patch3"})
    outcome = sweep([bad, good], device="cpu")
    assert outcome[good] is not None and outcome[bad] is None
    assert list(outcome.failures) == [bad.id] and "stem" in outcome.failures[bad.id]
    frame = collect([Cell(c, {"part": "contest"}) for c in (bad, good)], outcome)
    assert frame["record"].isna().tolist() == [True, False]


def test_a_finished_run_holds_no_memory(house, monkeypatch):
    """Dozens of runs go through one process: nets, optimizers and images on the device must go without the collector's help."""
    alive, begin = [], Training.__post_init__

    def watched(self):
        begin(self)
        alive.extend(map(weakref.ref, (self, self.method, self.optimizer, self.batches)))

    monkeypatch.setattr(Training, "__post_init__", watched)
    gc.collect()
    gc.disable()
    try:
        run(RunConfig(**SMALL | {"training": SMALL["training"] | {"epochs": 1, "average": 0.9}}), "cpu")
        assert len(alive) == 4 and [each() for each in alive] == [None] * 4
    finally:
        gc.enable()


def test_a_time_budget_ends_in_a_checkpoint_and_goes_on_later(house):
    config = small(training={"epochs": 500})
    outcome = sweep([config, small()], device="cpu", time_budget=5.0)
    assert outcome.stopped and "time budget" in outcome.stopped and outcome[config] is None
    assert list((house / "cache" / "checkpoints" / config.id).glob("step-*.pt"))


def test_an_unknown_engine_is_named():
    with pytest.raises(UserError, match="inline"):
        sweep([], engine="inlin")


def test_more_images_than_there_are_is_an_error_with_both_numbers(house):
    with pytest.raises(UserError, match="data.train_images = 999999"):
        run(small(data={"train_images": 999999}), "cpu")


def test_the_forecast_counts_what_is_cached_and_shares_range_tests(house):
    first = small(training={"rate": {"seeds": 1, "coarse_steps": 10, "fine_steps": 10}})
    second = RunConfig(**first.model_dump() | {"seed": 1})
    table = forecast([first, second], device="cpu").set_index("runs")
    assert table.loc["all", "to do"] == 2 and table.loc["all", "minutes"] > 0 and table.loc["all", "PFLOP"] > 0
    run(first, "cpu")
    after = forecast([first, second], device="cpu").set_index("runs")
    assert after.loc["all", "cached"] == 1 and after.loc["all", "minutes"] < table.loc["all", "minutes"]
    assert collect([Cell(first), Cell(second)], sweep([first, second], train=False))["test"].nunique() == 1
