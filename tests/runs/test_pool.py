"""Runs in processes of their own: the same records as one after the other, failures contained, told to stop."""

import os
import subprocess
import sys
import time

import pytest

from helpers.core.errors import UserError
from helpers.core.files import REPOSITORY
from helpers.runs import records, untrained
from helpers.runs.config import RunConfig
from helpers.runs.sweep import sweep


def tiny(seed=0, epochs=2, **training):
    return RunConfig(
        data={"dataset": "embedded", "train_images": 96, "test_images": 40},
        encoder={"name": "vit_micro"},
        training={"epochs": epochs, "batch_size": 32, "precision": "fp32"} | training,
        evaluation={"probe_every": 0, "maps": None},
        seed=seed,
    )


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    for name in ("RESULTS_DIR", "CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


@pytest.mark.slow
def test_processes_leave_the_same_records_and_contain_failures(monkeypatch, tmp_path):
    configs = [tiny(0), tiny(1), tiny(2, rate=1e30)]
    outcome = sweep(configs, engine="processes", workers=2, device="cpu")
    assert outcome.trained == 2 and outcome.stopped is None
    assert list(outcome.failures) == [configs[2].id] and "Diverged" in outcome.failures[configs[2].id]
    together = [outcome[config].essence() for config in configs[:2]]
    assert untrained.missing(configs[:2]) == []
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "alone"))
    alone = sweep(configs[:2], device="cpu")
    assert alone.trained == 2 and [alone[config].essence() for config in configs[:2]] == together


@pytest.mark.slow
def test_a_deadline_stops_the_workers_in_a_checkpoint(tmp_path):
    long = tiny(0, epochs=10_000)
    started = time.monotonic()
    outcome = sweep([long, tiny(1, epochs=10_000)], engine="processes", workers=1, device="cpu", time_budget=15)
    assert time.monotonic() - started < 60
    assert "time budget" in outcome.stopped and outcome.trained == 0 and not outcome.failures
    assert list((tmp_path / "cache_dir" / "checkpoints" / long.id).glob("step-*.pt")) and not records.find(long.id)


SWEEP = """
from helpers.runs.sweep import sweep
from tests_config import configs
if __name__ == "__main__":
    sweep(configs, engine="processes", workers=2, device="cpu")
"""


def alive(pid: int) -> bool:
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.2)
    return condition()


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="children are found through /proc")
def test_workers_do_not_outlive_a_killed_parent_and_keep_what_they_did(tmp_path):
    long = [tiny(seed, epochs=10_000) for seed in (0, 1)]
    (tmp_path / "sweep.py").write_text(SWEEP)
    (tmp_path / "tests_config.py").write_text(
        f"from helpers.runs.config import RunConfig\nconfigs = [RunConfig(**c) for c in {[c.model_dump(mode='json') for c in long]!r}]\n"
    )
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "sweep.py")], cwd=REPOSITORY, env=os.environ | {"PYTHONPATH": str(REPOSITORY)}
    )
    locks = tmp_path / "cache_dir" / "locks"
    assert until(lambda: all((locks / c.id).exists() for c in long), 90)
    time.sleep(3)
    children = [int(pid) for pid in open(f"/proc/{parent.pid}/task/{parent.pid}/children").read().split()]
    parent.kill()
    parent.wait()
    assert len(children) >= 2 and until(lambda: not any(map(alive, children)), 60)
    assert all(list((tmp_path / "cache_dir" / "checkpoints" / c.id).glob("step-*.pt")) for c in long)


def test_impossible_calls_are_said():
    with pytest.raises(UserError, match="workers = -1"):
        sweep([tiny()], engine="processes", workers=-1, device="cpu")
    with pytest.raises(UserError, match="'process'.*processes"):
        sweep([tiny()], engine="process", device="cpu")
