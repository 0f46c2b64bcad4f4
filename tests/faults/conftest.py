"""Tiny runs in folders of their own, and a count of the steps that were really trained."""

import os
from dataclasses import replace

import pytest

from helpers.core.files import cache_dir
from helpers.runs import run as running
from helpers.runs.config import RunConfig
from helpers.training import Training

TINY = {
    "data": {"dataset": "embedded", "train_images": 128, "test_images": 32},
    "encoder": {"name": "resnet_tiny", "stem": "stride2"},
    "method": {"name": "simclr", "options": {"temperature": 0.1, "hidden": 16, "out": 8}},
    "training": {"epochs": 4, "batch_size": 64, "optimizer": "radam", "rate": 1e-3},
    "evaluation": {"maps": None, "probe_every": 0},
}


@pytest.fixture
def tiny():
    """A tiny config; keywords change its sections."""

    def make(**changes) -> RunConfig:
        merged = {key: value | changes.pop(key, {}) for key, value in TINY.items()}
        return RunConfig(**merged, **changes)

    return make


_undisturbed = {}


@pytest.fixture
def undisturbed(house):
    """undisturbed(config): what its record holds when nothing happens to it."""

    def essence(config: RunConfig) -> dict:
        if config.id not in _undisturbed:
            house(f"undisturbed-{config.id}")
            _undisturbed[config.id] = running.run(config, "cpu").essence()
            house(f"disturbed-{config.id}")
        return _undisturbed[config.id]

    return essence


@pytest.fixture
def house(tmp_path, monkeypatch):
    """move(name) puts records, checkpoints and locks into a fresh folder, move.home; the test begins in one. Packs are shared."""
    packs = cache_dir() / "packs"
    packs.mkdir(parents=True, exist_ok=True)

    def move(name: str):
        home = move.home = tmp_path / name
        (home / "cache").mkdir(parents=True)
        (home / "cache" / "packs").symlink_to(packs)
        for setting in ("RUNS_DIR", "CACHE_DIR", "RESULTS_DIR"):
            monkeypatch.setenv(setting, str(home / setting.removesuffix("_DIR").lower()))

    move("home")
    return move


@pytest.fixture
def steps(monkeypatch):
    """The training steps taken from here on, as the step that each began at."""
    taken = []
    original = Training.take

    def take(self, group):
        taken.append(self.step)
        return original(self, group)

    monkeypatch.setattr(Training, "take", take)
    return taken


@pytest.fixture
def every_step(monkeypatch):
    """A checkpoint after every step, as if each took a minute."""
    original = running.settings_of
    monkeypatch.setattr(running, "settings_of", lambda config, rate: replace(original(config, rate), checkpoint_seconds=0.0))


@pytest.fixture
def failing(monkeypatch):
    """failing(name, number, code): the system call os.<name> fails so from its n-th use on a path that holds the text."""

    def arrange(call: str, text: str, code: int, after: int = 0):
        original, seen = getattr(os, call), []

        def fails(*arguments, **keywords):
            if any(text in str(part) for part in arguments):
                seen.append(arguments)
                if len(seen) > after:
                    raise OSError(code, os.strerror(code))
            return original(*arguments, **keywords)

        monkeypatch.setattr(os, call, fails)
        return lambda: monkeypatch.setattr(os, call, original)

    return arrange
