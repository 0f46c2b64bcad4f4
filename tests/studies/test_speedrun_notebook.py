"""The race's notebook, executed at toy size from its first cell to its last."""

import json

import pytest

from helpers.commands import study


@pytest.mark.slow
def test_the_notebook_runs_from_start_to_end(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path / "results"))
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    recipe = {"encoder": {"name": "resnet_tiny", "stem": "stride2"}, "training": {"epochs": 1, "batch_size": 32, "optimizer": "muon"}}
    given = {
        "device": "cpu",
        "train_images": 96,
        "test_images": 48,
        "seeds": 1,
        "target": 1.0,
        "recipe": recipe,
        "trial": {},
        "validation": 32,
        "trial_images": 96,
        "candidates": {"four views": {"views": {"options": {"count": 4}}}},
    }
    arguments = [word for name, value in given.items() for word in ("-p", name, json.dumps(value))]
    assert study.main(["speedrun", "--preset", "demo", *arguments]) == 0, capfd.readouterr().err
    folder = tmp_path / "results" / "speedrun" / "demo-custom"
    race = (folder / "race.csv").read_text()
    assert "reached" in race and "missing" not in race
    assert (folder / "candidates.csv").read_text().count("\n") == 3
    assert {each["name"] for each in json.loads((folder / "index.json").read_text())} == {
        "candidates",
        "race",
        "result",
        "race_curves",
        "breakdown",
        "breakdown_bars",
        "cost",
    }
