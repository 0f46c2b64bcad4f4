"""The checksums in a record's folder: any change of its files is named, and a seal that is there is never written anew."""

import shutil
import subprocess

import pytest

from helpers.runs.seals import SEAL, broken, folders, seal, seal_new


@pytest.fixture
def record(tmp_path):
    folder = tmp_path / "x-1"
    folder.mkdir()
    (folder / "config.json").write_text("{}\n")
    (folder / "metrics.csv").write_text("epoch\n1\n")
    seal(folder)
    return folder


def test_a_sealed_record_is_whole_and_any_sha256sum_agrees(record):
    assert broken(record) == []
    if shutil.which("sha256sum"):
        assert subprocess.run(["sha256sum", "-c", SEAL], cwd=record, capture_output=True).returncode == 0


def test_every_change_is_named(record):
    (record / "config.json").write_text("{} \n")
    (record / "metrics.csv").unlink()
    (record / "notes.txt").write_text("more")
    gone, more, changed = broken(record)
    assert "metrics.csv is gone" in gone and "notes.txt is in no line" in more and "config.json does not match its hash" in changed


@pytest.mark.parametrize("text, says", [(None, "has no SHA256SUMS"), ("nonsense\n", "cannot be read"), ("", "in no line")])
def test_a_seal_that_is_gone_or_damaged_is_no_seal(record, text, says):
    (record / SEAL).unlink() if text is None else (record / SEAL).write_text(text)
    assert says in broken(record)[0]


def test_only_what_is_new_is_sealed(record, tmp_path):
    (record / "config.json").write_text("{} \n")
    new = tmp_path / "x-2"
    new.mkdir()
    (new / "config.json").write_text("{}\n")
    (tmp_path / ".x-3").mkdir()
    assert [path.name for path in folders(tmp_path)] == ["x-1", "x-2"]
    assert seal_new(tmp_path) == ["x-2"] and seal_new(tmp_path) == []
    assert broken(new) == [] and len(broken(record)) == 1
