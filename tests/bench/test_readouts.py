"""The bench of linear probe and kNN: its arithmetic, its features, and two rounds at toy size."""

import json

import numpy as np
import pytest
import torch

from helpers.bench import readouts as bench
from helpers.commands.bench import main

SECONDS = {
    "fit": [1.0, 2.0, 1.0],  # the second round was disturbed, all of it
    "fit_sklearn": [10.0, 20.0, 10.0],
    "probe": [2.0, 4.0, 2.0],
    "knn": [3.0, 6.0, 3.0],
    "product": [2.0, 4.0, 2.0],
    "knn_sklearn": [9.0, 18.0, 9.0],
}
RIGHT, WRONG = np.array([0, 1, 2, 3]), np.array([0, 1, 2, 0])


def test_ratios_are_taken_round_by_round_and_accuracies_compared():
    answers = {"fit": RIGHT, "fit_sklearn": WRONG, "probe": WRONG, "knn": WRONG, "knn_sklearn": RIGHT}
    row = bench.row(SECONDS, answers, RIGHT)
    assert (row["fit_times_sklearn"], row["probe_times_sklearn"], row["knn_over_product"], row["knn_times_sklearn"]) == (10, 5, 1.5, 3)
    assert row["seconds"]["fit"] == 1 and row["spread"]["fit"] == 1 and row["rounds"] == 3
    assert row["accuracy"] == {"fit": 100, "fit_sklearn": 75, "probe": 75, "knn": 75, "knn_sklearn": 100}
    assert row["points_from_sklearn"] == {"fit": 25, "probe": 0, "knn": -25}
    assert row["same_answers"] == {"fit": 75, "knn": 75}


def test_features_are_seeded_correlated_and_not_separable():
    train, test = bench.make_features(2000, 500, 64, torch.device("cpu"))
    again, _ = bench.make_features(2000, 500, 64, torch.device("cpu"))
    assert torch.equal(train.x, again.x) and torch.equal(train.y, again.y)
    assert (len(train.x), len(test.x), train.x.min()) == (2000, 500, 0)
    axes = torch.linalg.eigvalsh(torch.corrcoef(train.x.T))
    assert axes[-1] / axes[0] > 100
    assert 30 < bench.linear.probe(train, test, bench.CLASSES).top1 < 90


def test_two_rounds_at_toy_size(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    assert main(["readouts", "--count", "600", "--test", "200", "--width", "16", "--repeats", "2", "--device", "cpu"]) == 0
    (path,) = (tmp_path / "bench").glob("*-readouts.json")
    row = json.loads(path.read_text())
    assert set(row["seconds"]) == set(bench.WHAT) and min(row["seconds"].values()) > 0
    assert abs(row["points_from_sklearn"]["fit"]) <= 2 and row["same_answers"]["fit"] > 95
    assert row["objective"]["fit"] == pytest.approx(row["objective"]["fit_sklearn"], rel=2e-3)
    assert row["peak_memory"] > 1e8 and row["device"]["type"] == "cpu"
    assert "the bare float32 matrix product" in path.with_suffix(".md").read_text()
    assert "times as fast as scikit-learn" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--count", "10"], ["--repeats", "0"], ["--device", "cuda:99"]])
def test_impossible_calls_are_said(arguments, capsys):
    assert main(["readouts", *arguments]) == 2
    assert capsys.readouterr().err.startswith("Error: ")
