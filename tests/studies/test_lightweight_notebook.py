"""The notebook of lightweight architectures, executed at toy size from its first cell to its last."""

import csv
import json

import pytest

from helpers.commands import study


@pytest.mark.slow
def test_the_notebook_runs_from_start_to_end(tmp_path, monkeypatch, capfd):
    for name in ("RESULTS_DIR", "RUNS_DIR", "CHECKPOINT_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    given = {"train_images": 64, "test_images": 40, "epochs": 1, "nets": ["ShuffleNetV2"], "plain_nets": [], "map_images": 30}
    given |= {"device": "cpu", "techniques": ["Split-Brain", "SimCLR", "BYOL"]}
    arguments = [word for name, value in given.items() for word in ("-p", name, json.dumps(value))]
    assert study.main(["lightweight_architectures", "--preset", "demo", *arguments]) == 0, capfd.readouterr().err
    folder = tmp_path / "results_dir" / "lightweight_architectures" / "demo-custom"
    with open(folder / "claims.csv", newline="", encoding="utf-8") as lines:
        claims = list(csv.DictReader(lines))
    assert [row["claim"] for row in claims] == [f"W{number}" for number in range(1, 13)]
    assert {row["verdict"] for row in claims} == {"undecided"}  # one seed, and most cells missing
    with open(folder / "accuracy.csv", newline="", encoding="utf-8") as lines:
        cells = {(row["technique"], row["net"], row["readout"]): row for row in csv.DictReader(lines)}
    shown = cells["BYOL", "ShuffleNetV2", "frozen, linear probe"]
    assert float(shown["ours, last"]) >= 0 and shown["published (maximum)"].startswith("71")
    assert not cells["MoCo v2", "ShuffleNetV2", "frozen, linear probe"]["ours, last"]
    names = {each["name"] for each in json.loads((folder / "index.json").read_text())}
    assert {
        "grid",
        "accuracy",
        "curves_by_net",
        "cost_fronts",
        "saliency",
        "tints",
        "paper_co2",
        "published_counts",
        "verdicts",
        "cost",
    } <= names
