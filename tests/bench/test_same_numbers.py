"""Fast and plain runs compared: the arithmetic of the table, and both trained at toy size."""

import shutil
from types import SimpleNamespace

import pandas as pd
import pytest

from helpers.bench.same_numbers import READOUT, config, table
from helpers.commands.bench import main


class Found(dict):
    """As an Outcome is asked: by config."""

    def __getitem__(self, asked):
        return self.get(asked.id)


def outcome(values: dict):
    """Records that say what they are given: (way, seed) -> accuracy."""
    configs = {("vit_micro", way, seed): config("vit_micro", way, seed, "embedded", 200, 1) for way, seed in values}
    found = {
        configs["vit_micro", way, seed].id: SimpleNamespace(id=f"{way}{seed}", evaluations={READOUT: {"top1": value}})
        for (way, seed), value in values.items()
        if value is not None
    }
    return table(Found(found), configs)


def test_a_difference_within_the_spread_of_seeds_is_called_so():
    values = {("plain", 0): 40.0, ("plain", 1): 42.0, ("plain", 2): 41.0, ("fast", 0): 41.0, ("fast", 1): 42.5, ("fast", 2): 41.0}
    (row,) = outcome(values).to_dict("records")
    assert row["n"] == 3 and row["fast − plain"] == pytest.approx(0.5) and row["spread of seeds"] == 2.0 and row["within"]
    assert row["low"] < 0.5 < row["high"]
    worse = outcome(values | {("fast", n): 37.0 for n in range(3)})
    assert not worse["within"].iloc[0]


def test_pairs_without_both_runs_do_not_count():
    (row,) = outcome({("plain", 0): 40.0, ("plain", 1): None, ("fast", 0): 41.0, ("fast", 1): 42.0}).to_dict("records")
    assert row["n"] == 1 and row["within"] is None


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU")
def test_full_speed_reaches_the_plain_run_s_accuracy_at_toy_size(tmp_path, monkeypatch):
    for name in ("RESULTS_DIR", "CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    code = main("same-numbers --dataset embedded --images 256 --epochs 2 --seeds 2 --nets vit_micro --device cpu".split())
    frame = pd.read_csv(tmp_path / "results_dir" / "bench" / "same-numbers.csv")
    assert frame["n"].item() == 2 and len(frame["runs"].item().split()) == 4
    assert abs(frame["fast − plain"].item()) <= max(frame["spread of seeds"].item(), 2.0)  # two seeds may happen to lie close together
    assert code == (0 if frame["within"].item() else 1)
    assert "vit_micro" in (tmp_path / "results_dir" / "bench" / "same-numbers.md").read_text()


def test_impossible_calls_are_said(capsys):
    assert main(["same-numbers", "--images", "64", "--seeds", "1"]) == 2
    assert "batch_size" in capsys.readouterr().err
