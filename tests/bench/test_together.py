"""Several runs at once: both ways are measured, and reported as they were."""

import json

import pytest

from helpers.commands import bench


@pytest.mark.slow
def test_one_round_at_toy_size(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    arguments = ["--case", "simclr:vit_micro:patch8:32:8", "--workers", "2", "--repeats", "1", "--seconds", "0.05", "--device", "cpu"]
    assert bench.main(["together", *arguments]) == 0
    (row,) = json.loads(next((tmp_path / "bench").glob("*-together.json")).read_text())
    assert row["workers"] == 2 and row["alone"] > 1 and row["together"] > 1 and row["shared"] > 1
    assert row["ratio"] == pytest.approx(row["together"] / row["alone"], rel=0.01 + 0.05 / row["alone"])  # written to a tenth
    assert f"{row['ratio']:.2f}" in next((tmp_path / "bench").glob("*-together.md")).read_text()


@pytest.mark.parametrize("arguments", [["--workers", "-1"], ["--case", "simclr:resnet_tiny"], ["--device", "cuda:99"]])
def test_impossible_calls_are_said(arguments, capsys):
    assert bench.main(["together", *arguments]) == 2
    assert capsys.readouterr().err.startswith("Error: ")
