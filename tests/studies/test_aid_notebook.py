"""The notebook of scenes from above, executed at toy size on a newcomer's folder with all the oddities such folders have."""

import csv
import json

import pytest

from helpers.commands import study
from tests.oddities import odd_folder


def rows(path):
    with open(path, newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.slow
def test_a_folder_of_ones_own_needs_one_parameter(tmp_path, monkeypatch, capfd):
    for name in ("RESULTS_DIR", "RUNS_DIR", "CHECKPOINT_DIR", "CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    place = odd_folder(tmp_path / "Meine Szenen", each=20)
    # Everything beside data_dir is only to be quick.
    small = {"epochs": 1, "range_steps": 10, "resolutions": [32], "backbones": ["ResNet", "ViT"], "map_images": 10, "device": "cpu"}
    small |= {"companion": {"dataset": "embedded", "image_size": 32, "few": 64, "many": 128, "epochs": 2, "test_images": 40}}
    arguments = [word for name, value in small.items() for word in ("-p", name, json.dumps(value))]
    assert study.main(["aid_remote_sensing", "--preset", "demo", "-p", "data_dir", str(place), *arguments]) == 0, capfd.readouterr().err
    folder = tmp_path / "results_dir" / "aid_remote_sensing" / "demo-custom-meine_szenen"
    forensic = rows(folder / "forensic_table.csv")
    measured = [row for row in forensic if row["backbone"] in ("ResNet", "ViT")]
    assert len(measured) == 8 and all(float(row["accuracy"]) >= 0 and row["n"] == "1" for row in measured)
    assert [row["note"] for row in forensic if row["backbone"] == "ConvNeXt"] == ["missing"] * 4
    assert {row["class"] for row in rows(folder / "class_table.csv")} == {"Hafen Süd", "bare land", "農地"}
    claims = rows(folder / "claims.csv")
    assert [row["claim"] for row in claims] == [f"D{n}" for n in range(1, 8)]
    assert {(row["verdict"], row["scope"]) for row in claims} == {("undecided", "reduced")}
    assert all(("missing" in row["note"]) == (row["backbone"] == "ConvNeXt") for row in rows(folder / "transfer.csv"))
    executed = (folder / "aid_remote_sensing.ipynb").read_text(encoding="utf-8")
    assert str(tmp_path) not in executed and "Meine Szenen" in executed
    records = [*(tmp_path / "runs_dir").glob("meine_szenen_*/*.json")]
    assert records and not any(str(tmp_path) in path.read_text(encoding="utf-8") for path in records)
