"""The checksums of a folder of runs: any change of a record is named, and what was written down is never written anew."""

import shutil
import subprocess

import pytest

from helpers.core.errors import RecordError
from helpers.runs.seals import SEAL, broken, folders, seal_new


def put(runs, run):
    (runs / run).mkdir()
    (runs / run / "record.json").write_text("{}\n")
    (runs / run / "metrics.csv").write_text("epoch\n1\n")
    return runs / run


@pytest.fixture
def runs(tmp_path):
    put(tmp_path, "x-1")
    put(tmp_path, "x-2")
    assert seal_new(tmp_path) == ["x-1", "x-2"]
    return tmp_path


def test_sealed_records_are_whole_and_any_sha256sum_agrees(runs):
    assert broken(runs) == []
    if shutil.which("sha256sum"):
        assert subprocess.run(["sha256sum", "-c", SEAL], cwd=runs, capture_output=True).returncode == 0


def test_every_change_is_named(runs):
    record = runs / "x-1"
    (record / "record.json").write_text("{} \n")
    (record / "metrics.csv").unlink()
    (record / "notes.txt").write_text("more")
    shutil.rmtree(runs / "x-2")
    gone, more, changed, whole = broken(runs)
    assert "metrics.csv is gone" in gone and "notes.txt is in no line" in more and "record.json does not match its hash" in changed
    assert "x-2 is gone" in whole


def test_checksums_that_cannot_be_read_are_an_error(runs):
    (runs / SEAL).write_text("nonsense\n")
    with pytest.raises(RecordError, match="cannot be read.*git checkout"):
        broken(runs)


def test_only_what_is_new_is_sealed_and_nothing_of_the_demos(runs):
    (runs / "x-1" / "record.json").write_text("{} \n")
    for run in ("x-0", ".x-3", "embedded-1"):
        put(runs, run)
    assert [path.name for path in folders(runs)] == ["x-0", "x-1", "x-2"]
    assert any("x-0 has no line" in problem for problem in broken(runs))
    assert seal_new(runs) == ["x-0"] and seal_new(runs) == []
    assert len(broken(runs)) == 1, "a line that is there is never written anew"
    assert (runs / SEAL).read_text().splitlines() == sorted((runs / SEAL).read_text().splitlines(), key=lambda line: line.split("  ")[1])
