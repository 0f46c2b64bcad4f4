"""A campaign that is killed, stopped, moved or robbed of its device goes on where it was and repeats nothing."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from helpers.campaigns import campaign
from helpers.commands import campaign as command
from helpers.methods import METHODS
from helpers.runs import records
from helpers.runs.run import run
from helpers.training import Training
from tests.small_study import known, write_study

SEEDS, STEPS = 4, 8  # runs, and steps of each
KILLS = 3

CHILD = """
import sys, time
from dataclasses import replace
import torch
torch.set_num_threads(1)
from helpers.commands.campaign import main
from helpers.runs import run as running
from helpers.training import Training
log, folder, *words = sys.argv[1:]
from helpers import studies
studies.__path__.append(folder)
take, settings_of = Training.take, running.settings_of

def counted(self, group):
    take(self, group)
    with open(log, "a") as lines:
        lines.write(f"{self.step}\\n")
    time.sleep(0.02)

Training.take = counted
running.settings_of = lambda config, rate: replace(settings_of(config, rate), checkpoint_seconds=0.0)
sys.exit(main(words))
"""


@pytest.fixture
def small(tmp_path, tiny):
    """A folder with one study, "small", and a list of it."""
    folder = write_study(tmp_path, tiny().model_dump(mode="json", exclude={"seed"}), SEEDS)
    (folder / "list.toml").write_text('[[study]]\nname = "small"\n')
    for _ in known(folder):
        yield folder


_left_alone = {}


@pytest.fixture
def left_alone(house):
    """left_alone(runs): what their records hold when nothing happens to them."""

    def essences(runs) -> list[dict]:
        house("alone")
        for config in runs:
            if config.id not in _left_alone:
                _left_alone[config.id] = run(config, "cpu").essence()
        house("disturbed")
        return [_left_alone[config.id] for config in runs]

    return essences


def go(small, *words):
    return command.main([str(small / "list.toml"), "--device", "cpu", *words])


def configs(small):
    return campaign.configs_in(campaign.read_stages(str(small / "list.toml")))


def test_killed_at_three_random_moments_it_ends_with_the_same_records(house, small, left_alone, tmp_path):
    runs = configs(small)
    expected = left_alone(runs)
    chance, log = random.Random(0), tmp_path / "steps"
    log.touch()
    words = [sys.executable, "-c", CHILD, str(log), str(small), str(small / "list.toml"), "--device", "cpu"]

    def taken():
        return len(log.read_text().splitlines())

    for at in sorted(chance.sample(range(2, SEEDS * STEPS - 1), KILLS)):
        child = subprocess.Popen(words, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        until = time.monotonic() + 120
        while taken() < at:
            assert time.monotonic() < until and child.poll() is None, child.communicate()
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.04))
        child.kill()
        child.communicate()
        assert child.returncode == -signal.SIGKILL, "it ended before it was killed"
    last = subprocess.run(words, env=os.environ, capture_output=True, text=True, timeout=120)
    assert last.returncode == 0, last.stdout + last.stderr
    assert [records.find(config.id).essence() for config in runs] == expected
    assert SEEDS * STEPS <= taken() <= SEEDS * STEPS + KILLS, "a kill may cost the step that was not yet saved, and no more"


def test_sigterm_ends_in_a_checkpoint_and_elsewhere_nothing_is_repeated(house, small, left_alone, steps, monkeypatch, capsys):
    runs = configs(small)
    expected = left_alone(runs)
    steps.clear()
    take = Training.take

    def asked_to_stop(self, group):
        take(self, group)
        if len(steps) == STEPS + 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(Training, "take", asked_to_stop)
    assert go(small, "--budget", "2h") == 75
    out = capsys.readouterr().out
    assert "SIGTERM was received" in out and "Go on" in out and "--budget 2h" in out
    assert len(steps) == STEPS + 3 and campaign.saved_step(runs[1]) == 3

    old = house.home
    house("elsewhere")
    shutil.copytree(old / "runs", house.home / "runs")
    shutil.copytree(old / "cache" / "checkpoints", house.home / "cache" / "checkpoints")
    assert go(small) == 0
    assert len(steps) == SEEDS * STEPS, "a step was repeated"
    assert steps[STEPS + 3 :] == [*range(3, STEPS), *range(STEPS), *range(STEPS)]
    assert [records.find(config.id).essence() for config in runs] == expected
    assert go(small) == 0 and len(steps) == SEEDS * STEPS
    assert go(small, "--budget", "1") == 0, "a budget that start-up has used up is enough where nothing is left to do"


def test_a_lost_device_ends_the_campaign_and_its_checkpoint_stands(house, small, left_alone, steps, every_step, monkeypatch, capsys):
    runs = configs(small)
    expected = left_alone(runs)
    steps.clear()
    embed = METHODS["simclr"].embed

    def lost(self, inputs):
        if len(steps) > 5:
            raise RuntimeError("CUDA error: unspecified launch failure\nCUDA kernel errors might be reported later.")
        return embed(self, inputs)

    with monkeypatch.context() as broken:
        broken.setattr(METHODS["simclr"], "embed", lost)
        assert go(small) == 1
    out = capsys.readouterr().out
    assert len(steps) == 6, "the other runs were tried on a dead device"
    assert f"{runs[0].id} failed: RuntimeError: CUDA error: unspecified launch failure. Its checkpoint after step 5 stands." in out
    assert "was lost" in out
    steps.clear()
    assert go(small) == 0
    assert steps[0] == 5 and len(steps) == 3 + (SEEDS - 1) * STEPS
    assert [records.find(config.id).essence() for config in runs] == expected


def test_a_budget_too_short_for_anything_says_so_and_loses_nothing(house, small, steps, capsys, monkeypatch):
    assert go(small, "--budget", "1") == 2
    assert "The budget of 1 s is too short: starting up took" in capsys.readouterr().err
    ages = [0.0]  # a process that is new, and then older than its budget
    monkeypatch.setattr(campaign, "process_seconds", lambda: ages.pop() if ages else 99.0)
    with open(small / "list.toml", "a") as file:
        file.write("parameters = { rate = { seeds = 1, coarse_steps = 10, fine_steps = 10 }, seeds = 1 }\n")
    assert go(small, "--budget", "0.05") == 2
    assert "before the first step, or the first range test, was done" in capsys.readouterr().err
    assert len(steps) <= 10 and not list(records.runs_dir().glob("*-*"))


def test_the_shortest_budget_that_starts_still_moves_on(house, small, steps, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(campaign, "process_seconds", lambda: 0.0)
    assert go(small, "--budget", "0.1", "--export", str(tmp_path / "records.zip")) == 75
    said = capsys.readouterr()
    assert "with a checkpoint" in said.out and "no record to export" in said.err
    assert 1 <= len(steps) == campaign.saved_step(configs(small)[0]) < STEPS


def test_what_is_exported_on_one_machine_costs_nothing_on_another(house, small, steps, tmp_path, capsys):
    archive = tmp_path / "records.zip"
    assert go(small, "--export", str(archive)) == 0
    held = 2 * SEEDS  # each seed's run, and the untrained net that it is compared with
    assert len(steps) == SEEDS * STEPS and f"records.zip holds {held} records" in capsys.readouterr().out
    house("another")
    assert go(small, "--import", str(archive)) == 0
    assert len(steps) == SEEDS * STEPS and f"Imported {held} records; 0 were here already." in capsys.readouterr().out
    assert archive.stat().st_size < 10_000_000
