"""Two processes at the same run, and SIGTERM in the middle of a sweep: nothing is trained twice and nothing is lost."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from helpers.core.files import cache_dir, lock
from helpers.study import records
from helpers.study.run import run
from helpers.study.sweep import sweep
from helpers.training import Stopped

CHILD = """
import json, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from helpers.study.config import RunConfig
from helpers.study import run as module
from helpers.study.sweep import sweep
from helpers.training import Training
here, name, pause = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
configs = [RunConfig.model_validate_json(text) for text in sys.argv[4:]]
steps, take, report = [], Training.take, module.EpochReport.__call__

def counted(self, group):
    steps.append(self.step)
    take(self, group)

def slow(self, row, epochs):
    (here / f"{name}.epoch").touch()
    time.sleep(pause)

Training.take, module.EpochReport.__call__ = counted, slow
(here / f"{name}.ready").touch()
while not (here / "go").exists():
    time.sleep(0.01)
outcome = sweep(configs, device="cpu")
print(json.dumps({"steps": len(steps), "stopped": outcome.stopped, "there": [outcome[c] is not None for c in configs]}))
"""


def start(here, name, pause, *configs):
    command = [sys.executable, "-c", CHILD, str(here), name, str(pause), *(config.model_dump_json() for config in configs)]
    return subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path, *children):
    until = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < until and all(child.poll() is None for child in children), [c.communicate() for c in children]
        time.sleep(0.01)


def said(child):
    out, error = child.communicate(timeout=120)
    assert child.returncode == 0, error
    return out, json.loads(out.strip().splitlines()[-1])


def test_two_processes_train_a_run_once_and_sigterm_ends_in_a_checkpoint(house, tiny, undisturbed, steps):
    """Three children at once, for the import is most of their time: two ask for the same run, the third is told to stop."""
    shared, long, after = tiny(), tiny(training={"epochs": 8}), tiny(seed=1)
    expected = undisturbed(shared), undisturbed(long)
    home = house.home
    twins = [start(home, name, 0.1, shared) for name in ("a", "b")]
    stopped = start(home, "c", 0.3, long, after)
    for name in ("a", "b", "c"):
        wait_for(home / f"{name}.ready", *twins, stopped)
    (home / "go").touch()
    wait_for(home / "c.epoch", stopped)
    stopped.send_signal(signal.SIGTERM)
    results = [said(child) for child in (*twins, stopped)]

    assert sorted(result["steps"] for _, result in results[:2]) == [0, 8]
    assert sum("made by another process; waiting" in out for out, _ in results[:2]) == 1
    assert all(result["there"] == [True] for _, result in results[:2])
    assert records.find(shared.id).essence() == expected[0]

    _, result = results[2]
    assert 0 < result["steps"] < 16 and result["there"] == [False, False]
    assert "because SIGTERM was received; run again to go on from there" in result["stopped"]
    assert list((cache_dir() / "checkpoints" / long.id).glob("step-*.pt"))
    steps.clear()
    assert sweep([long], device="cpu")[long].essence() == expected[1]
    assert steps == list(range(result["steps"], 16)), "it did not go on from where it stopped"


def test_waiting_for_another_process_can_be_stopped(house, tiny, capsys):
    config = tiny()
    with (
        lock(cache_dir() / "locks" / config.id),
        pytest.raises(Stopped, match=f"another process was at work on {config.id}, because enough"),
    ):
        run(config, "cpu", stop=lambda: "enough")
