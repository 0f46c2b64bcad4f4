"""Records of the former layout: moved whole and once, or left where they are."""

import hashlib
import json

import numpy as np
import pytest

from helpers.commands import move_records
from helpers.runs import records
from helpers.runs.seals import broken

ARRAYS = {"labels": np.arange(50, dtype=np.uint8), "tsne": np.random.default_rng(0).normal(size=(9, 2)).astype(np.float16)}


def former(runs, run, sealed=True):
    folder = runs / run
    folder.mkdir(parents=True)
    for name, content in (
        ("config", {"training": {"epochs": 1}}),
        ("manifest", {"stem": "cifar"}),
        ("evaluations", {"linear": {"top1": 0.1 + 0.2}}),
    ):
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1))
    (folder / "metrics.csv").write_text("epoch,loss\n1,0.30000000000000004\n")
    np.savez_compressed(folder / "arrays.npz", **ARRAYS)
    if sealed:
        lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(folder.iterdir())]
        (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "runs"))
    return tmp_path / "runs"


def test_a_moved_record_holds_the_same_in_three_files(runs, capsys):
    former(runs, "x-1")
    former(runs, "x-2", sealed=False)
    assert move_records.main([]) == 0 and "2 records moved, 0 left" in capsys.readouterr().out
    record = records.find("x-1")
    assert sorted(path.name for path in record.path.iterdir()) == sorted(records.FILES)
    assert record.config == {"training": {"epochs": 1}} and record.manifest == {"stem": "cifar"}
    assert record.evaluations == {"linear": {"top1": 0.1 + 0.2}} and record.metrics["loss"].tolist() == [0.1 + 0.2]
    assert {k: (v.dtype, v.tobytes()) for k, v in record.arrays.items()} == {k: (v.dtype, v.tobytes()) for k, v in ARRAYS.items()}
    assert broken(runs) == []
    assert move_records.main([]) == 0 and "0 records moved" in capsys.readouterr().out


@pytest.mark.parametrize("damage", [("metrics.csv", b"epoch\n"), ("arrays.npz", b"PK"), ("manifest.json", b"{")])
def test_a_record_that_is_not_what_was_sealed_stays_as_it_is(runs, capsys, damage):
    folder = former(runs, "x-1")
    (folder / damage[0]).write_bytes(damage[1])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert move_records.main([]) == 1
    assert f"x-1 stays as it is: {damage[0]} is not what its checksum says" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
