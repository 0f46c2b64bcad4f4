"""Two processes at the same run, and SIGTERM in the middle of a sweep: nothing is trained twice and nothing is lost."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from helpers.core.files import cache_dir, lock
from helpers.runs.run import run
from helpers.runs.sweep import sweep
from helpers.training import Stopped

CHILD = """
import json, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from helpers.runs.config import RunConfig
from helpers.runs import run as module
from helpers.runs.sweep import sweep
from helpers.training import Training
here, configs = Path(sys.argv[1]), [RunConfig.model_validate_json(text) for text in sys.argv[2:]]
steps, take = [], Training.take

def counted(self, group):
    steps.append(self.step)
    take(self, group)

def slow(self, row, epochs):
    (here / self.name).touch()
    time.sleep(0.3)

Training.take, module.EpochReport.__call__ = counted, slow
outcome = sweep(configs, device="cpu")
print(json.dumps({"steps": len(steps), "stopped": outcome.stopped, "there": [outcome[c] is not None for c in configs]}))
"""


def wait_for(path, child):
    until = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < until and child.poll() is None, child.communicate()
        time.sleep(0.01)


def test_two_processes_train_a_run_once_and_sigterm_ends_in_a_checkpoint(house, tiny, undisturbed, steps, capsys):
    """A child and this process ask for the same run; then the child, at its next run by now, is told to stop."""
    shared, long, after = tiny(), tiny(training={"epochs": 8}), tiny(seed=1)
    expected = undisturbed(shared), undisturbed(long)
    steps.clear()
    command = [sys.executable, "-c", CHILD, str(house.home), *(config.model_dump_json() for config in (shared, long, after))]
    child = subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(house.home / shared.id, child)  # it has ended an epoch of the first
    assert run(shared, "cpu").essence() == expected[0]
    assert "made by another process; waiting" in capsys.readouterr().out and steps == []

    wait_for(house.home / long.id, child)
    child.send_signal(signal.SIGTERM)
    out, error = child.communicate(timeout=120)
    assert child.returncode == 0, error
    result = json.loads(out.strip().splitlines()[-1])
    assert result["there"] == [True, False, False]
    assert "because SIGTERM was received; run again to go on from there" in result["stopped"]
    assert 8 < result["steps"] < 8 + 16, "trained once, and half of the second"

    assert sweep([long], device="cpu")[long].essence() == expected[1]
    assert steps == list(range(result["steps"] - 8, 16)), "it did not go on from where it stopped"


def test_waiting_for_another_process_can_be_stopped(house, tiny, capsys):
    config = tiny()
    with (
        lock(cache_dir() / "locks" / config.id),
        pytest.raises(Stopped, match=f"another process was at work on {config.id}, because enough"),
    ):
        run(config, "cpu", stop=lambda: "enough")
