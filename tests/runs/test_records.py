"""Records are whole or not there; a damaged one is set aside, not read."""

import numpy as np
import pytest

from helpers.core.errors import RecordError, UserError
from helpers.runs import records


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNS_DIR", str(tmp_path))
    return tmp_path


def save(run="x-1", **changes):
    parts = {
        "config": {"seed": 0},
        "manifest": {"seconds": 1.0, "stem": "cifar"},
        "metrics": [{"epoch": 1, "loss": 0.1 + 0.2, "seconds": 3.0}],
        "evaluations": {"linear": {"top1": 50.0}},
        "arrays": {"labels": np.arange(10, dtype=np.uint8)},
    }
    return records.save(run, **(parts | changes))


def test_a_record_comes_back_exactly(runs):
    save()
    record = records.find("x-1")
    assert record.metrics["loss"][0] == 0.1 + 0.2
    assert record.evaluations["linear"]["top1"] == 50.0
    assert np.array_equal(record.arrays["labels"], np.arange(10))
    assert [p.name for p in runs.iterdir()] == ["x-1"]


@pytest.mark.parametrize("name", records.FILES)
def test_a_record_cut_short_counts_as_missing_and_is_kept_aside(runs, name, capsys):
    path = save().path / name
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 3])
    if name == records.METRICS:
        path.unlink()
    assert records.find("x-1") is None
    assert "x-1" in capsys.readouterr().out
    assert (runs / ".damaged-x-1").is_dir()
    assert records.find("x-1") is None


def test_only_what_is_asked_for_is_read(runs, monkeypatch):
    save()
    monkeypatch.setattr(records, "unpacked", lambda packed: pytest.fail("arrays were unpacked"))
    monkeypatch.setattr(records.pd, "read_csv", lambda path: pytest.fail("metrics were parsed"))
    assert records.find("x-1").evaluations["linear"]["top1"] == 50.0
    assert [record.id for record in records.everything()] == ["x-1"]


def test_arrays_that_do_not_hold_together_are_named_when_they_are_asked_for(runs):
    path = save().path / records.ARRAYS
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(whole)
    with pytest.raises(RecordError, match="arrays.npz.xz is damaged.*Delete"):
        _ = records.find("x-1").arrays


def test_arrays_too_large_for_a_record_are_refused(runs):
    noise = np.random.default_rng(0).integers(0, 255, 400_000).astype(np.uint8)
    with pytest.raises(UserError, match="a record holds"):
        save(arrays={"noise": noise})
    assert list(runs.iterdir()) == []


def test_two_records_are_the_same_but_for_times_energy_and_host(runs):
    one = save("x-1")
    two = save("x-2", manifest={"seconds": 9.0, "stem": "cifar", "energy": {"watt_hours": 3}})
    other = save("x-3", metrics=[{"epoch": 1, "loss": 0.3, "seconds": 3.0}])
    assert one.essence() == two.essence() != other.essence()
