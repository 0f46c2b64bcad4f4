"""Records travel in one file: the same bytes for the same records, and nothing taken in that is not whole, ours and safe."""

import json
import shutil
import stat
import zipfile

import numpy as np
import pytest

from helpers.core.errors import RecordError, UserError
from helpers.study import archive, records


@pytest.fixture
def here(tmp_path, monkeypatch):
    """here(name) makes a fresh folder of that name the place of records."""

    def move(name: str):
        monkeypatch.setenv("RUNS_DIR", str(tmp_path / name))
        return tmp_path / name

    move("first")
    return move


def save(run="x-1", accuracy=50.0, seconds=1.0, arrays=None):
    return records.save(
        run,
        config={"seed": 0},
        manifest={"seconds": seconds, "stem": "cifar"},
        metrics=[{"epoch": 1, "loss": 0.1 + 0.2, "seconds": seconds}],
        evaluations={"linear": {"top1": accuracy}},
        arrays=arrays or {"labels": np.arange(10, dtype=np.uint8)},
    )


@pytest.fixture
def mailed(here, tmp_path):
    """An archive of two records, and a fresh folder to take it in."""
    save("x-1")
    save("x-2", 60.0)
    archive.export(tmp_path / "a.zip")
    here("second")
    return tmp_path / "a.zip"


def rewritten(path, change):
    """The archive with its content changed: change(names to bytes)."""
    with zipfile.ZipFile(path) as old:
        content = {name: old.read(name) for name in old.namelist()}
    change(content)
    with zipfile.ZipFile(path, "w") as new:
        for name, data in content.items():
            new.writestr(name, data)


def test_records_arrive_as_they_were_and_a_second_time_change_nothing(mailed, here):
    assert archive.take_in(mailed) == (["x-1", "x-2"], [])
    taken = records.Record(records.runs_dir() / "x-2").check()
    assert taken.evaluations == {"linear": {"top1": 60.0}} and taken.metrics["loss"][0] == 0.1 + 0.2
    assert archive.take_in(mailed) == ([], ["x-1", "x-2"])
    assert sorted(path.name for path in records.runs_dir().iterdir()) == ["x-1", "x-2"]
    here("first")
    assert records.Record(records.runs_dir() / "x-2").essence() == taken.essence()


def test_the_same_records_make_the_same_bytes(mailed, here, tmp_path):
    archive.take_in(mailed)
    archive.export(tmp_path / "b.zip")
    assert (tmp_path / "b.zip").read_bytes() == mailed.read_bytes()
    with zipfile.ZipFile(mailed) as packed:
        manifest = json.loads(packed.read("manifest.json"))
    assert manifest["format"] == archive.FORMAT and "source" in manifest["code"] and len(manifest["files"]) == 2 * len(records.FILES)


def test_only_the_runs_asked_for_are_exported(here, tmp_path):
    save("x-1")
    save("x-2")
    assert archive.export(tmp_path / "a.zip", ["x-2", "x-3"]) == ["x-2"]
    with pytest.raises(UserError, match="no record to export"):
        archive.export(tmp_path / "b.zip", ["x-3"])
    assert not (tmp_path / "b.zip").exists()


def test_a_damaged_record_is_not_exported(here, tmp_path):
    (save().path / "evaluations.json").write_text("{")
    with pytest.raises(RecordError, match="evaluations.json"):
        archive.export(tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_an_archive_too_large_to_mail_is_not_written(here, tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, 100_000).astype(np.uint8)
    save("small-1")
    save("large-1", arrays={"noise": noise})
    monkeypatch.setattr(archive, "LARGEST", 50_000)
    with pytest.raises(UserError, match=r"2 records would have 0.1 MB.*largest records: large-1 10\d kB, small-1 \d kB"):
        archive.export(tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_a_record_with_another_outcome_is_never_overwritten(mailed):
    save("x-2", 61.0)
    with pytest.raises(RecordError, match="Nothing was imported.*another outcome: x-2"):
        archive.take_in(mailed)
    assert [path.name for path in records.runs_dir().iterdir()] == ["x-2"]
    assert records.find("x-2").evaluations["linear"]["top1"] == 61.0


def test_times_and_hosts_may_differ(mailed):
    save("x-2", 60.0, seconds=99.0)
    assert archive.take_in(mailed) == (["x-1"], ["x-2"])
    assert records.find("x-2").manifest["seconds"] == 99.0


def test_a_damaged_record_is_replaced_by_the_archives(mailed, capsys):
    (save("x-2", 60.0).path / "manifest.json").write_text("{")
    assert archive.take_in(mailed) == (["x-1", "x-2"], [])
    assert records.find("x-2") and "moved aside" in capsys.readouterr().out


def other_format(content):
    content["manifest.json"] = content["manifest.json"].replace(b'"format": 1', b'"format": 2')


def wrong_byte(content):
    content["results/runs/x-1/evaluations.json"] = content["results/runs/x-1/evaluations.json"].replace(b"50", b"99")


def unsigned(content):
    content["results/runs/x-3/config.json"] = b"{}"


def missing(content):
    del content["results/runs/x-1/config.json"]


def outside(content):
    content["results/runs/../../../evil/config.json"] = b"{}"


def hidden(content):
    content["results/runs/.x/config.json"] = b"{}"


def absolute(content):
    content["/results/runs/x-3/config.json"] = b"{}"


def other_file(content):
    content["results/runs/x-1/run.py"] = b"print()"


def no_manifest(content):
    del content["manifest.json"]


def strange_manifest(content):
    content["manifest.json"] = b"[1, 2]"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (other_format, "it has format 2, and this version of the code reads format 1"),
        (wrong_byte, "x-1/evaluations.json is not what its checksum says"),
        (unsigned, "x-3/config.json is not what its checksum says"),
        (missing, "x-1/config.json is not what its checksum says"),
        (outside, "evil/config.json' is no file of a record"),
        (hidden, "is no file of a record"),
        (absolute, "is no file of a record"),
        (other_file, "run.py' is no file of a record"),
        (no_manifest, "no archive of records.*manifest.json"),
        (strange_manifest, "no archive of records"),
    ],
)
def test_what_is_wrong_in_an_archive_is_named_and_nothing_is_taken_in(mailed, change, says):
    rewritten(mailed, change)
    with pytest.raises(RecordError, match=rf"Nothing was imported from a.zip: .*{says}"):
        archive.take_in(mailed)
    assert not records.runs_dir().exists()


def test_a_record_that_does_not_hold_together_is_refused_though_its_checksums_are_right(mailed, here):
    path = here("first") / "x-1" / "metrics.csv"
    path.write_text(path.read_text() * 2)
    with zipfile.ZipFile(mailed) as old:
        files = json.loads(old.read("manifest.json"))["files"]

    def lie(content):
        content["results/runs/x-1/evaluations.json"] = b"{"
        files["results/runs/x-1/evaluations.json"] = archive._digest(b"{")
        content["manifest.json"] = json.dumps({"format": archive.FORMAT, "code": {}, "files": files}).encode()

    rewritten(mailed, lie)
    here("second")
    with pytest.raises(RecordError, match="evaluations.json"):
        archive.take_in(mailed)
    assert list(records.runs_dir().iterdir()) == []


def test_a_link_in_an_archive_is_refused(mailed):
    with zipfile.ZipFile(mailed, "a") as packed:
        info = zipfile.ZipInfo("results/runs/x-3/config.json")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        packed.writestr(info, "../../elsewhere")
    with pytest.raises(RecordError, match="is no file of a record"):
        archive.take_in(mailed)


def test_an_archive_cut_short_or_missing_is_refused(mailed):
    whole = mailed.read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        mailed.write_bytes(whole[:size])
        with pytest.raises(RecordError, match="cut short"):
            archive.take_in(mailed)
    with pytest.raises(UserError, match="Cannot read the archive nowhere.zip: No such file"):
        archive.take_in(mailed.with_name("nowhere.zip"))
    assert not records.runs_dir().exists()


def test_more_than_records_hold_is_not_unpacked(mailed, monkeypatch):
    monkeypatch.setattr(archive, "UNPACKED", 100)
    with pytest.raises(RecordError, match="far more than records do"):
        archive.take_in(mailed)


def test_the_committed_records_fit_into_one_archive(here, tmp_path, monkeypatch):
    monkeypatch.delenv("RUNS_DIR")
    if not records.runs_dir().is_dir():
        pytest.skip("there are no committed records")
    ids = archive.export(tmp_path / "all.zip")
    assert (tmp_path / "all.zip").stat().st_size < 10_000_000
    shutil.rmtree(here("third"), ignore_errors=True)
    assert archive.take_in(tmp_path / "all.zip") == (ids, [])
