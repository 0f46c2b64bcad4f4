"""Packs: made once, again when the source changes or the pack is damaged, by one process at a time, in little memory."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.core.errors import DataError
from helpers.core.files import cache_dir
from helpers.data import load, packing


@pytest.fixture(autouse=True)
def pets(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "cache"))
    for split in ("train", "test"):
        (tmp_path / "data/pets" / split / "cat").mkdir(parents=True)
        for number in range(5):
            write(tmp_path / f"data/pets/{split}/cat/{number}.png", number)
    return tmp_path / "data/pets"


def write(path, value, size=6):
    Image.fromarray(np.full((size, size, 3), value, dtype=np.uint8)).save(path)


def packs():
    return sorted(path for path in (cache_dir() / "packs").iterdir() if not path.name.startswith("."))


def count_makes(monkeypatch):
    made = []
    make = packing._make
    monkeypatch.setattr(packing, "_make", lambda *a: (made.append(a[1]), make(*a)))
    return made


def test_packed_once_as_memory_maps(monkeypatch):
    made = count_makes(monkeypatch)
    first, second = load("pets"), load("pets")
    assert made == ["pets"] and first.hash == second.hash
    assert isinstance(second.split("train").images, np.memmap) and second.split("train").images.dtype == np.uint8
    assert second.split("train").images[:, 0, 0, 0].tolist() == list(range(5)) and second.image_size == 6
    assert sorted(path.name for path in packs()[0].iterdir()) == [
        "images-test.npy", "images-train.npy", "labels-test.npy", "labels-train.npy", "pack.json",
    ]  # fmt: skip


def test_a_changed_source_and_another_size_are_packed_anew(pets):
    first = load("pets")
    small = load("pets", image_size=3)
    assert small.image_size == 3 and small.hash != first.hash and load("pets").image_size == 6
    write(pets / "train/cat/0.png", 200)
    os.utime(pets / "train/cat/0.png", ns=(1, 1))
    changed = load("pets")
    assert changed.hash != first.hash and changed.split("train").images[0, 0, 0, 0] == 200


def test_writing_to_a_loaded_image_never_reaches_the_pack():
    load("pets").split("train").images[:] = 9
    assert load("pets").split("train").images[:, 0, 0, 0].tolist() == list(range(5))


@pytest.mark.parametrize("file", ["images-train.npy", "labels-test.npy", "pack.json"])
@pytest.mark.parametrize("cut", [0.5, None])
def test_a_damaged_pack_is_made_again(monkeypatch, file, cut):
    first = load("pets")
    path = packs()[0] / file
    if cut is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    made = count_makes(monkeypatch)
    again = load("pets")
    assert made == ["pets"] and again.hash == first.hash and len(again.split("train").images) == 5


def test_the_pack_alone_is_enough(pets):
    first = load("pets")
    pets.rename(pets.with_name("gone"))
    assert load("pets").hash == first.hash
    with pytest.raises(Exception, match="pets"):
        load("pets", image_size=5)


def test_splits_of_different_sizes_are_an_error(pets):
    write(pets / "test/cat/4.png", 1, size=7)
    with pytest.raises(DataError, match=r"pets/test/cat/4.png is 7 x 7, not 6 x 6.*image_size"):
        load("pets")


def test_a_failed_packing_leaves_nothing(pets):
    (pets / "train/cat/3.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="3.png"):
        load("pets")
    assert packs() == [] and not list((cache_dir() / "packs").glob(".*.part"))


def test_a_full_disk_is_said(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packing, "_write_header", full)
    with pytest.raises(DataError, match="disk is full"):
        load("pets")
    assert packs() == []


def test_two_processes_pack_at_once(tmp_path):
    code = "from helpers.data import load; d = load('embedded', options={'train': 600}); print(d.hash, d.split('train').images.sum())"
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert answers[0] == answers[1] and len(packs()) == 1


PEAK = """
from helpers.data import load
data = load("cifar10")
print(len(data.split("train")), len(data.split("test")), data.classes[3])
print(next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
REAL = Path(os.environ.get("DATA_DIR", "data"))


@pytest.mark.skipif(not (REAL / "cifar10/train.parquet").is_file(), reason="needs CIFAR-10 as Parquet in DATA_DIR")
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_packing_cifar10_peaks_under_a_gigabyte(tmp_path):
    environment = {**os.environ, "DATA_DIR": str(REAL.resolve())}
    run = subprocess.run([sys.executable, "-c", PEAK], env=environment, capture_output=True, text=True, check=True)
    counts, peak = run.stdout.splitlines()[-2:]  # before them, how far the packing is
    assert counts == "50000 10000 cat"
    assert float(peak) < 1000, f"peak {peak} MiB"
