"""The bench: its arithmetic, and one round at toy size."""

import json

import pytest
import torch
from torchvision import transforms

from helpers.commands import bench, bench_standard
from helpers.views import make_views

ROUNDS = {
    "bound": [100.0, 50.0, 110.0],  # the second round was disturbed, all of it
    "views": [2000.0, 1000.0, 2200.0],
    "end_to_end": [90.0, 45.0, 99.0],
    "standard": [40.0, 20.0, 44.0],
    "views_standard": [400.0, 200.0, 440.0],
}


@pytest.fixture
def row():
    return bench.row("resnet18", 256, ROUNDS, flops=256 * 10**9, peak=10**9, device=torch.device("cpu"))


def test_ratios_are_taken_round_by_round(row):
    assert row["ratio_to_bound"] == 0.9 and row["ratio_to_standard"] == 2.25 and row["ratio_of_views"] == 5
    assert row["share_of_data_and_views"] == 0.05
    assert row["end_to_end"] == 90 and row["spread"]["end_to_end"] == 0.6
    assert row["flops_per_second"] == 90 * 10**9


def test_saving_replaces_the_same_case_and_keeps_others(row, tmp_path, monkeypatch):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    bench.save({**row, "backbone": "other"})
    bench.save(row)
    bench.save({**row, "end_to_end": 95.0})
    (written,) = (tmp_path / "bench").glob("*.json")
    rows = json.loads(written.read_text())
    assert [(r["backbone"], r["end_to_end"]) for r in rows] == [("other", 90.0), ("resnet18", 95.0)]
    assert "95.0" in written.with_suffix(".md").read_text()


def test_the_standard_recipe_has_our_strengths():
    crop, flip, jitter, grey, *_ = bench_standard.recipe(make_views("contest", 32).settings, 32).transforms
    assert crop.scale == (0.08, 1) and flip.p == 0.5 and jitter.p == 0.8 and grey.p == 0.2
    assert jitter.transforms[0].hue == (-0.1, 0.1) and isinstance(crop, transforms.RandomResizedCrop)


@pytest.mark.slow
def test_one_round_at_toy_size(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    assert bench.main(["--backbone", "resnet_tiny", "--batch", "8", "--repeats", "1", "--seconds", "0.01", "--device", "cpu"]) == 0
    (row,) = json.loads(next((tmp_path / "bench").glob("*.json")).read_text())
    assert all(row[name] > 0 for name in bench.WHAT) and row["lightly"] is None
    assert row["views"] > row["end_to_end"] and row["flops_per_second"] > 1e6
    assert "times the standard approach" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--batch", "1"], ["--repeats", "0"], ["--device", "cuda:99"], ["--batch", "100000000"]])
def test_impossible_calls_are_said(arguments, capsys):
    assert bench.main(arguments) == 2
    assert capsys.readouterr().err.startswith("Error: ")
