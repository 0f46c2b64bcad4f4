"""The kit for a machine without network: packed, carried in parts, put together by a script that needs Python alone."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
import zipfile

import pytest

from helpers.commands import gpu_kit
from helpers.core.errors import DataError, UserError
from helpers.core.files import REPOSITORY, zipped
from helpers.runs import records

MOST = 400_000
OWN = f"cp{sys.version_info.major}{sys.version_info.minor}"


def wheel(folder, name: str, tags: str, files: dict[str, bytes]):
    with zipfile.ZipFile(folder / f"{name}-1.0-{tags}.whl", "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)


@pytest.fixture
def packed(tmp_path, monkeypatch):
    """A kit of small parts: the code, two wheels, and a dataset of two files, one of which is larger than a part."""
    for name in ("DATA_DIR", "RESULTS_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.delenv("RUNS_DIR", raising=False)
    monkeypatch.setattr(gpu_kit, "present", lambda name: None)
    images = tmp_path / "data_dir" / "birds"
    images.mkdir(parents=True)
    (images / "large.parquet").write_bytes(hashlib.shake_256(b"birds").digest(2 * MOST))
    (images / "small.parquet").write_bytes(b"few birds")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(
        wheels,
        "notathing",
        "py3-none-any",
        {"notathing/__init__.py": b"number = 7\n", "notathing-1.0.dist-info/METADATA": b"Name: notathing\n"},
    )
    wheel(wheels, "torch", "py3-none-any", {"torch/__init__.py": b"raise ImportError\n"})
    for run, kind in (("cifar10-range-a", "cuda"), ("cifar10-b", "cuda"), ("cifar10-c", "cpu")):
        records.save(run, config={}, manifest={"device": {"type": kind}}, metrics=[], evaluations={}, arrays={})
    index = gpu_kit.make(tmp_path / "kit", wheels, ["birds"], most=MOST)
    return tmp_path / "kit", index


def join(kit, to):
    """As on a machine where nothing of ours is installed."""
    return subprocess.run([sys.executable, "-I", str(kit / "join"), "--to", str(to)], capture_output=True, text=True)


def test_what_was_packed_is_what_arrives(packed, tmp_path):
    kit, index = packed
    assert all((kit / part).stat().st_size <= MOST for part in index["parts"]) and len(index["parts"]) > 3
    done = join(kit, tmp_path / "there")
    assert done.returncode == 0, done.stderr
    there = tmp_path / "there"
    assert (there / "data/birds/large.parquet").read_bytes() == (tmp_path / "data_dir/birds/large.parquet").read_bytes()
    assert (there / "helpers/runs/run.py").read_bytes() == (REPOSITORY / "helpers/runs/run.py").read_bytes()
    assert (there / "notebooks").is_dir() and (there / "tests/gpu").is_dir()
    assert (there / "packages/notathing/__init__.py").is_file() and not (there / "packages/torch").exists()
    assert "torch-1.0-py3-none-any.whl: left out, version" in done.stdout
    assert f"cd {there} && PYTHONPATH=packages python3 -m helpers.commands.gpu_day --minutes 14" in done.stdout


def test_of_the_results_only_what_a_day_must_know_is_carried(packed, tmp_path):
    join(packed[0], tmp_path / "there")
    results = tmp_path / "there" / "results"
    assert json.loads((results / "gpu_day/elsewhere.json").read_text())["runs"] == ["cifar10-b", "cifar10-range-a"]
    assert {path.name for path in results.glob("runs/*")} == {"cifar10-range-a"}
    assert {path.name for path in results.iterdir()} == {"gpu_day", "runs"}


def test_parts_may_come_one_by_one(packed, tmp_path):
    kit, index = packed
    later, there = tmp_path / "later", tmp_path / "there"
    later.mkdir()
    last = list(index["parts"])[-1]
    shutil.move(kit / last, later / last)
    first = join(kit, there)
    assert first.returncode == 1 and f"{last}: is not here" in first.stderr
    assert "Missing: birds/" in first.stderr and (there / "helpers").is_dir()
    shutil.move(later / last, kit / last)
    for part in list(index["parts"])[:-1]:
        (kit / part).unlink()
    second = join(kit, there)
    held = [each["name"] for each in index["files"] if [last] == sorted({part for part, _ in each["pieces"]})]
    assert held and all(f"{name}: " in second.stdout for name in held)
    assert "code.zip: here already" in second.stdout


def test_a_damaged_part_is_named_and_the_rest_still_done(packed, tmp_path):
    kit, index = packed
    damaged = next(part for each in index["files"] if each["name"] == "birds/large.parquet" for part, _ in each["pieces"][1:])
    content = bytearray((kit / damaged).read_bytes())
    content[len(content) // 2] ^= 1
    (kit / damaged).write_bytes(bytes(content))
    done = join(kit, tmp_path / "there")
    assert done.returncode == 1
    assert f"{damaged}: is not what its checksum says" in done.stderr and f"Missing: birds/large.parquet ({damaged})" in done.stderr
    assert (tmp_path / "there/helpers").is_dir() and not (tmp_path / "there/data/birds/large.parquet").exists()
    (kit / damaged).write_bytes(bytes(content[:-100]))
    assert "it was cut short" in join(kit, tmp_path / "there").stderr


def test_no_archive_writes_outside_its_folder(packed, tmp_path):
    kit, index = packed
    for number, name in enumerate(("../out.txt", "/out.txt", "a/../../out.txt")):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(name, b"out")
        swap(kit, index, "code.zip", buffer.getvalue(), f"evil-{number}.zip")
        done = join(kit, tmp_path / "there")
        assert done.returncode == 1 and "would lie outside the folder" in done.stderr
    index["files"] = [each | {"name": "../../out.txt"} if each["kind"] == "data" else each for each in index["files"]]
    (kit / "index.json").write_text(json.dumps(index))
    assert "would lie outside the folder" in join(kit, tmp_path / "there").stderr
    assert list(tmp_path.rglob("out.txt")) == []


def swap(kit, index, name: str, data: bytes, part: str) -> None:
    """Another content for a file of the kit, with every checksum right."""
    (kit / part).write_bytes(zipped({"0": data}, packed=False))
    held = (kit / part).read_bytes()
    index["parts"][part] = {"bytes": len(held), "sha256": hashlib.sha256(held).hexdigest()}
    about = next(each for each in index["files"] if each["name"] == name)
    about |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pieces": [[part, "0"]]}
    (kit / "index.json").write_text(json.dumps(index))


def test_a_wheel_for_another_python_is_named(packed, tmp_path):
    kit, index = packed
    about = next(each for each in index["files"] if each["name"].startswith("notathing"))
    about["name"] = "notathing-1.0-cp39-cp39-manylinux_2_17_x86_64.whl"
    (kit / "index.json").write_text(json.dumps(index))
    done = join(kit, tmp_path / "there")
    assert done.returncode == 1 and f"it is for cp39, and this is {OWN}: make the kit with --python" in done.stderr


def test_a_folder_without_an_index_is_no_kit(packed, tmp_path):
    kit, _ = packed
    (kit / "index.json").unlink()
    assert join(kit, tmp_path / "there").returncode == 2


def test_what_is_not_here_cannot_be_packed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setattr(gpu_kit, "fetch_wheels", lambda python: tmp_path)
    before = set((REPOSITORY / "kit").iterdir()) if (REPOSITORY / "kit").is_dir() else None
    assert gpu_kit.main(["--datasets", "cifar10"]) == 2
    assert "'cifar10' is not here" in capsys.readouterr().err
    assert (set((REPOSITORY / "kit").iterdir()) if (REPOSITORY / "kit").is_dir() else None) == before, "an earlier kit stays"
    with pytest.raises(DataError, match="Its authors share it"):
        gpu_kit.make(tmp_path / "kit", tmp_path, ["aid"])
    monkeypatch.setattr(gpu_kit, "CODE", 1000)
    with pytest.raises(UserError, match="The code packs to .* and .* are allowed"):
        gpu_kit.make(tmp_path / "kit", tmp_path, [])


def test_the_code_is_small():
    assert len(gpu_kit.code_zip()) < 2 * gpu_kit.MIB
