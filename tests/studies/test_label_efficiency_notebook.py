"""The notebook of label efficiency, executed at toy size from its first cell to its last."""

import csv
import json

import pytest

from helpers.commands import study


def rows(path):
    with open(path, newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.slow
def test_the_notebook_runs_from_start_to_end(tmp_path, monkeypatch, capfd):
    for name in ("RESULTS_DIR", "RUNS_DIR", "CHECKPOINT_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    given = {"train_images": 200, "test_images": 60, "fractions": [0.05, 0.1, 1.0], "draws": 2, "checkpoints": [1], "device": "cpu"}
    given |= {"label_epochs": 1, "label_steps": 2, "seeds": 2, "image_size": 16}
    given |= {"training": {"epochs": 2, "batch_size": 100, "optimizer": "adam", "schedule": "constant"}}
    arguments = [word for name, value in given.items() for word in ("-p", name, json.dumps(value))]
    folder = tmp_path / "results_dir" / "label_efficiency" / "demo-custom"

    assert study.main(["label_efficiency", "--preset", "demo", *arguments]) == 0, capfd.readouterr().err
    accuracy = rows(folder / "accuracy.csv")
    assert len(accuracy) == 4 * 3 and all(0 <= float(row["top-1 (%)"]) <= float(row["top-3 (%)"]) <= 100 for row in accuracy)
    assert {(row["labels"], row["labelled images"]) for row in accuracy} == {("5 %", "10"), ("10 %", "20"), ("100 %", "200")}
    claims = {row["claim"]: row for row in rows(folder / "claims.csv")}
    assert list(claims) == ["L1", "L2", "L3", "L4", "L5"] and {row["verdict"] for row in claims.values()} == {"undecided"}
    assert "n = 2" in claims["L1"]["reason"] and "compared only for SimCLR at batch 200" in claims["L4"]["reason"]
    assert len(rows(folder / "saved.csv")) == 2 * 2 and len(rows(folder / "losses.csv")) == len(rows(folder / "cost.csv")) == 2
    names = {each["name"] for each in json.loads((folder / "index.json").read_text())}
    assert {"fractions", "saved", "published", "accuracy", "epochs", "loss", "losses", "neighbours", "neighbour_table", "verdicts"} <= names

    bad = [*arguments[: arguments.index("fractions") + 1], json.dumps([0.001, 0.1]), *arguments[arguments.index("fractions") + 2 :]]
    assert study.main(["label_efficiency", "--preset", "demo", *bad]) == 1
    assert "a class without a label cannot be learnt" in capfd.readouterr().err.replace("\n", " ")
