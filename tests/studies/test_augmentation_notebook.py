"""The notebook of the grid of augmentations, executed at toy size from its first cell to its last."""

import csv
import json

import pytest

from helpers.commands import study


def rows(path):
    with open(path, newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.slow
def test_the_notebook_runs_from_start_to_end_a_part_at_a_time(tmp_path, monkeypatch, capfd):
    for name in ("RESULTS_DIR", "RUNS_DIR", "CHECKPOINT_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    given = {"train_images": 64, "test_images": 40, "operations": ["Crop", "Color"], "device": "cpu"}
    given |= {"training": {"epochs": 1, "batch_size": 32, "optimizer": "muon", "rate": 0.02}}
    given |= {"ablations": {"batch size": [16, 32], "left out": ["nothing", "crop"]}}
    arguments = [word for name, value in given.items() for word in ("-p", name, json.dumps(value))]
    folder = tmp_path / "results_dir" / "augmentation_grid" / "demo-custom"

    assert study.main(["augmentation_grid", "--preset", "demo", *arguments, "-p", "part", "grid"]) == 0, capfd.readouterr().err
    grid = {row["first \\ second"]: row for row in rows(folder / "grid_table.csv")}
    assert not grid["Crop"]["Color"].startswith("missing") and grid["Blur"]["Crop"].startswith("missing")
    assert {row["accuracy (%)"] for row in rows(folder / "ablation_table.csv")} == {""}

    assert study.main(["augmentation_grid", "--preset", "demo", *arguments, "-p", "part", "ablations"]) == 0, capfd.readouterr().err
    assert all(float(row["accuracy (%)"]) > 0 for row in rows(folder / "ablation_table.csv"))
    assert {row["first \\ second"]: row for row in rows(folder / "grid_table.csv")} == grid  # drawn from before
    claims = rows(folder / "claims.csv")
    assert [row["claim"] for row in claims] == ["A1", "A2", "A3", "A4", "A5"] and {row["verdict"] for row in claims} == {"undecided"}
    costs = rows(folder / "cost.csv")
    assert len({row["run"] for row in costs}) == len(costs) == 5 + 3 and all(float(row["seconds"]) > 0 for row in costs)
    names = {each["name"] for each in json.loads((folder / "index.json").read_text())}
    assert {"steps", "cells", "pair", "grid", "pairs", "rows", "noise", "ablations", "verdicts", "overhead"} <= names
    executed = (folder / "augmentation_grid.ipynb").read_text()
    assert "application/vnd.jupyter.widget-view" not in executed  # the preview is for a person
