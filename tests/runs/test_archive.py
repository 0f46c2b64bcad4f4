"""Records travel in one file: the same bytes for the same records, and nothing taken in that is not whole, ours and safe."""

import json
import shutil
import stat
import zipfile

import numpy as np
import pytest

from helpers.commands import campaign as command
from helpers.core.errors import RecordError, UserError
from helpers.runs import archive, records, transfer, untrained
from helpers.runs.config import RangeTest, RunConfig

CONFIGS = {config.id: config for config in (RunConfig(data={"dataset": "x"}, seed=seed) for seed in range(2))}
ONE, TWO = sorted(CONFIGS)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """here(name) makes a fresh folder of that name the place of records."""

    def move(name: str):
        monkeypatch.setenv("RUNS_DIR", str(tmp_path / name))
        return tmp_path / name

    move("first")
    return move


def save(run=ONE, accuracy=50.0, seconds=1.0, arrays=None):
    return records.save(
        run,
        config=CONFIGS[run].changes(),
        manifest={"seconds": seconds, "stem": "cifar"},
        metrics=[{"epoch": 1, "loss": 0.1 + 0.2, "seconds": seconds}],
        evaluations={"linear": {"top1": accuracy}},
        arrays=arrays or {"labels": np.arange(10, dtype=np.uint8)},
    )


@pytest.fixture
def mailed(here, tmp_path):
    """An archive of two records, and a fresh folder to take it in."""
    save(ONE)
    save(TWO, 60.0)
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
    assert archive.take_in(mailed) == ([ONE, TWO], [], [])
    taken = records.Record(records.runs_dir() / TWO).check()
    assert taken.evaluations == {"linear": {"top1": 60.0}} and taken.metrics["loss"][0] == 0.1 + 0.2
    assert archive.take_in(mailed) == ([], [ONE, TWO], [])
    assert sorted(path.name for path in records.runs_dir().iterdir()) == [ONE, TWO]
    here("first")
    assert records.Record(records.runs_dir() / TWO).essence() == taken.essence()


def test_arrays_that_were_left_out_of_a_record_are_no_other_outcome(here):
    full = save(arrays={"labels": np.arange(10, dtype=np.uint8), "map.images": np.ones(5, dtype=np.uint8)})
    here("lean")
    told = {"seconds": 9.0, "stem": "cifar", "left_out": ["map.images"]}
    rest = {"metrics": [{"epoch": 1, "loss": 0.1 + 0.2, "seconds": 9.0}], "evaluations": {"linear": {"top1": 50.0}}}
    lean = records.save(ONE, config=CONFIGS[ONE].changes(), manifest=told, arrays={"labels": np.arange(10, dtype=np.uint8)}, **rest)
    assert full.agrees(lean) and lean.agrees(full)
    here("other")
    assert not lean.agrees(save(arrays={"labels": np.arange(1, 11, dtype=np.uint8)})) and not lean.agrees(save(TWO))


def test_the_same_records_make_the_same_bytes(mailed, here, tmp_path):
    archive.take_in(mailed)
    archive.export(tmp_path / "b.zip")
    assert (tmp_path / "b.zip").read_bytes() == mailed.read_bytes()
    with zipfile.ZipFile(mailed) as packed:
        manifest = json.loads(packed.read("manifest.json"))
    assert manifest["format"] == archive.FORMAT and "source" in manifest["code"] and len(manifest["files"]) == 2 * len(records.FILES)


def test_only_the_runs_asked_for_are_exported(here, tmp_path):
    save(ONE)
    save(TWO)
    assert archive.export(tmp_path / "a.zip", [TWO, "x-3"]) == [TWO]
    with pytest.raises(UserError, match="no record to export"):
        archive.export(tmp_path / "b.zip", ["x-3"])
    assert not (tmp_path / "b.zip").exists()


def test_a_damaged_record_is_not_exported(here, tmp_path):
    (save().path / "record.json").write_text("{")
    with pytest.raises(RecordError, match="record.json"):
        archive.export(tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_an_archive_too_large_to_mail_is_not_written(here, tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, 100_000).astype(np.uint8)
    save(ONE)
    save(TWO, arrays={"noise": noise})
    monkeypatch.setattr(archive, "LARGEST", 50_000)
    with pytest.raises(UserError, match=rf"2 records would have 0.1 MB.*largest records: {TWO} 10\d kB, {ONE} \d kB"):
        archive.export(tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_a_record_with_another_outcome_is_never_overwritten_and_the_others_arrive(mailed, capsys):
    save(TWO, 61.0)
    assert command.main(["--import", str(mailed)]) == 1
    assert "Imported 1 records; 0 were here already.\n1 more are here with another outcome" in capsys.readouterr().out
    assert archive.take_in(mailed) == ([], [ONE], [TWO])
    assert records.find(ONE).evaluations["linear"]["top1"] == 50.0
    assert records.find(TWO).evaluations["linear"]["top1"] == 61.0


def test_times_and_hosts_may_differ(mailed):
    save(TWO, 60.0, seconds=99.0)
    assert archive.take_in(mailed) == ([ONE], [TWO], [])
    assert records.find(TWO).manifest["seconds"] == 99.0


def test_a_damaged_record_is_replaced_by_the_archives(mailed, capsys):
    (save(TWO, 60.0).path / "record.json").write_text("{")
    assert archive.take_in(mailed) == ([ONE, TWO], [], [])
    assert records.find(TWO) and "moved aside" in capsys.readouterr().out


def other_format(content):
    content["manifest.json"] = content["manifest.json"].replace(b'"format": 2', b'"format": 3')


def wrong_byte(content):
    content[f"results/runs/{ONE}/record.json"] = content[f"results/runs/{ONE}/record.json"].replace(b"50", b"99")


def unsigned(content):
    content["results/runs/x-3/record.json"] = b"{}"


def missing(content):
    del content[f"results/runs/{ONE}/record.json"]


def outside(content):
    content["results/runs/../../../evil/record.json"] = b"{}"


def hidden(content):
    content["results/runs/.x/record.json"] = b"{}"


def absolute(content):
    content["/results/runs/x-3/record.json"] = b"{}"


def other_file(content):
    content[f"results/runs/{ONE}/run.py"] = b"print()"


def no_manifest(content):
    del content["manifest.json"]


def strange_manifest(content):
    content["manifest.json"] = b"[1, 2]"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (other_format, "it has format 3, and this version of the code reads format 2"),
        (wrong_byte, f"{ONE}/record.json is not what its checksum says"),
        (unsigned, "x-3/record.json is not what its checksum says"),
        (missing, f"{ONE}/record.json is not what its checksum says"),
        (outside, "evil/record.json' is no file of a record"),
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


def forged(path, changes):
    """The archive with these files changed and its checksums made right again."""

    def change(content):
        content |= {f"results/runs/{name}": data for name, data in changes.items()}
        files = {name: archive._digest(data) for name, data in content.items() if name != "manifest.json"}
        content["manifest.json"] = json.dumps({"format": archive.FORMAT, "code": {}, "files": files}).encode()

    rewritten(path, change)


@pytest.mark.parametrize(
    ("file", "data", "says"),
    [
        ("record.json", b"{", "record.json cannot be read"),
        ("record.json", b"3", "record.json cannot be read"),
        (
            "record.json",
            json.dumps({"config": CONFIGS[ONE].changes(), "manifest": 3, "evaluations": {}}).encode(),
            "holds no config, manifest",
        ),
        ("record.json", b'{"config": [1, 2]}', "record.json cannot be read"),
        ("record.json", json.dumps({"config": CONFIGS[TWO].changes()}).encode(), f"the record {ONE} holds the config of {TWO}"),
        ("record.json", b'{"config": {"sead": 1}}', "record.json cannot be read .*seed"),
        ("arrays.npz.xz", b"PK", "arrays.npz.xz cannot be read"),
        ("metrics.csv", b"epoch,loss", "metrics.csv"),
    ],
)
def test_a_record_that_does_not_hold_together_is_refused_though_its_checksums_are_right(mailed, file, data, says):
    forged(mailed, {f"{ONE}/{file}": data})
    with pytest.raises(RecordError, match=says):
        archive.take_in(mailed)
    assert not records.runs_dir().exists() or list(records.runs_dir().iterdir()) == []


def test_a_range_test_has_the_name_that_its_config_gives_it(mailed, here, tmp_path):
    config = RunConfig(data={"dataset": "x"}, training={"rate": RangeTest(seeds=1), "epochs": 3})
    record = {"manifest": {}, "metrics": [], "evaluations": {}, "arrays": {}}
    records.save(config.range_test_id, config=config.range_test_config(), **record)
    archive.export(tmp_path / "range.zip", [config.range_test_id])
    here("third")
    assert archive.take_in(tmp_path / "range.zip") == ([config.range_test_id], [], [])
    forged(tmp_path / "range.zip", {f"{config.range_test_id}/record.json": json.dumps({"config": config.changes()}).encode()})
    with pytest.raises(RecordError, match=f"{config.range_test_id} holds the config of {config.id}"):
        archive.take_in(tmp_path / "range.zip")


def test_arrays_that_unpack_to_more_than_records_hold_are_not_loaded(here, tmp_path, monkeypatch):
    save(arrays={"zeros": np.zeros(1_000_000, np.uint8)})
    archive.export(tmp_path / "a.zip")
    here("second")
    monkeypatch.setattr(archive, "UNPACKED", 100_000)
    with pytest.raises(RecordError, match=f"{ONE}/arrays.npz.xz cannot be read .*more than a record holds"):
        archive.take_in(tmp_path / "a.zip")


def test_another_way_of_packing_is_refused(mailed):
    with zipfile.ZipFile(mailed, "a") as packed:
        packed.writestr(f"results/runs/{ONE}-3/record.json", "{}", zipfile.ZIP_LZMA)
    with pytest.raises(RecordError, match="is packed by method 14"):
        archive.take_in(mailed)


def test_a_link_in_an_archive_is_refused(mailed):
    with zipfile.ZipFile(mailed, "a") as packed:
        info = zipfile.ZipInfo("results/runs/x-3/record.json")
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


def test_sixty_committed_records_fit_into_one_archive(here, tmp_path, monkeypatch):
    monkeypatch.delenv("RUNS_DIR")
    if not records.runs_dir().is_dir():
        pytest.skip("there are no committed records")
    sixty = sorted(path.name for path in records.runs_dir().iterdir() if path.is_dir() and not path.name.startswith("."))[:60]
    ids = archive.export(tmp_path / "all.zip", sixty)
    assert (tmp_path / "all.zip").stat().st_size < 10_000_000
    shutil.rmtree(here("third"), ignore_errors=True)
    assert archive.take_in(tmp_path / "all.zip") == (ids, [], [])


def test_a_transfer_has_the_name_that_its_config_gives_it(mailed, here, tmp_path):
    values = {"run": "cifar10-0123456789ab", "data": {"dataset": "y", "image_size": 32}}
    name, record = transfer.named(values), {"metrics": [], "evaluations": {}, "arrays": {}}
    records.save(name, config=values, manifest={"kind": "transfer"}, **record)
    archive.export(tmp_path / "transfer.zip", [name])
    here("fifth")
    assert archive.take_in(tmp_path / "transfer.zip") == ([name], [], [])
    other = json.dumps({"config": values | {"run": "cifar10-ba9876543210"}, "manifest": {"kind": "transfer"}}).encode()
    forged(tmp_path / "transfer.zip", {f"{name}/record.json": other})
    with pytest.raises(RecordError, match=f"{name} holds the config of y-transfer-"):
        archive.take_in(tmp_path / "transfer.zip")


def test_an_untrained_reference_has_the_name_that_its_config_gives_it(mailed, here, tmp_path):
    config = RunConfig(data={"dataset": "x"}, seed=4)
    name, record = untrained.reference_id(config), {"metrics": [], "evaluations": {}, "arrays": {}}
    records.save(name, config=untrained.reference_config(config), manifest={"kind": "untrained"}, **record)
    archive.export(tmp_path / "reference.zip", [name])
    here("fourth")
    assert archive.take_in(tmp_path / "reference.zip") == ([name], [], [])
    other = json.dumps({"config": untrained.reference_config(config) | {"seed": 5}, "manifest": {"kind": "untrained"}}).encode()
    forged(tmp_path / "reference.zip", {f"{name}/record.json": other})
    with pytest.raises(RecordError, match=f"{name} holds the config of x-untrained-"):
        archive.take_in(tmp_path / "reference.zip")
