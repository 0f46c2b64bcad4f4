"""Records: one folder a run, written whole or not at all, small enough to commit.

record.json     config, manifest and evaluations
metrics.csv     a row an epoch
arrays.npz.xz   what the figures are drawn from, packed as a whole: the predictions of one run are much alike
"""

import contextlib
import functools
import io
import json
import lzma
import os
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.core.errors import RecordError, UserError
from helpers.core.files import read_json, results_dir, shown, why_not, write_bytes, write_text

RECORD, METRICS, ARRAYS = FILES = ("record.json", "metrics.csv", "arrays.npz.xz")
SECTIONS = ("config", "manifest", "evaluations")  # of record.json
PACKING = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 0, "lp": 1, "pb": 1}]  # contexts by every other byte suit half floats: 2 % less
LARGEST = 300_000  # bytes of arrays a record may hold
VOLATILE = (
    "left_out",
    "seconds",
    "training_seconds",
    "started",
    "ended",
    "energy",
    "host",
    "device",
    "resumed",
    "startup",
    "profile",
    "code",
    "versions",
)


def runs_dir() -> Path:
    """Where records lie: results/runs, or RUNS_DIR where that is set (FRESH=1 sets it to an empty folder)."""
    return Path(os.environ["RUNS_DIR"]).resolve() if os.environ.get("RUNS_DIR") else results_dir() / "runs"


@dataclass(frozen=True)
class Record:
    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @functools.cached_property
    def content(self) -> dict[str, dict]:
        """record.json, whose parts are config, manifest and evaluations."""
        content = read_json(self.path / RECORD)
        if not isinstance(content, dict) or any(not isinstance(content.get(name), dict) for name in SECTIONS):
            raise RecordError(f"{shown(self.path / RECORD)} holds no {', '.join(SECTIONS)}. Delete its folder and run again.")
        return content

    @property
    def config(self) -> dict:
        return self.content["config"]

    @property
    def manifest(self) -> dict:
        return self.content["manifest"]

    @property
    def evaluations(self) -> dict[str, dict]:
        return self.content["evaluations"]

    @functools.cached_property
    def metrics(self) -> pd.DataFrame:
        with contextlib.suppress(pd.errors.EmptyDataError):
            return pd.read_csv(self.path / METRICS)
        return pd.DataFrame()

    @functools.cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        try:
            return unpacked((self.path / ARRAYS).read_bytes())
        except (OSError, ValueError, EOFError, KeyError, lzma.LZMAError, zipfile.BadZipFile) as error:
            raise RecordError(f"{shown(self.path / ARRAYS)} is damaged ({error}). Delete its folder and run again.") from error

    def check(self) -> "Record":
        """That nothing is missing or cut short, without reading what may never be asked for: thousands are looked at before one is drawn."""
        for name in FILES:
            if not (self.path / name).is_file():
                raise RecordError(f"{shown(self.path)} has no {name}: it was cut short. Delete the folder and run again.")
        lines = (self.path / METRICS).read_bytes()
        epochs = None if self.diverged else self.config.get("training", {}).get("epochs")
        if not lines.endswith(b"\n") or (epochs is not None and lines.count(b"\n") != epochs + 1):
            found = max(lines.count(b"\n") - 1, 0)
            raise RecordError(
                f"{shown(self.path / METRICS)} was cut short: {found} of {epochs or 'some'} epochs. Delete its folder and run again."
            )
        with open(self.path / ARRAYS, "rb") as file:
            head, size = file.read(6), file.seek(0, os.SEEK_END)
            file.seek(max(size - 2, 0))
            if head != b"\xfd7zXZ\x00" or file.read() != b"YZ":
                raise RecordError(f"{shown(self.path / ARRAYS)} was cut short. Delete its folder and run again.")
        return self

    @property
    def diverged(self) -> str:
        """Of a trial: why it did not train to its end; empty where it did."""
        return self.manifest.get("diverged", "")

    def agrees(self, other: "Record") -> bool:
        """Whether both came to the same, as far as both still hold it: arrays that nobody reads may have been left out of either."""
        out = {*self.manifest.get("left_out", ()), *other.manifest.get("left_out", ())}
        mine, theirs = self.essence(), other.essence()
        for each in (mine, theirs):
            each["arrays"] = {name: array for name, array in each["arrays"].items() if name not in out}
        return mine == theirs

    def essence(self) -> dict:
        """What must be the same when the same config is run again: all but times, energy and host."""
        metrics = self.metrics.drop(columns=[c for c in self.metrics if "seconds" in c or c == "watts"], errors="ignore")
        return {
            "config": self.config,
            "manifest": {k: v for k, v in self.manifest.items() if k not in VOLATILE},
            "metrics": metrics.to_csv(index=False),  # every digit, and two missing values are the same
            "evaluations": self.evaluations,
            "arrays": {k: (v.dtype.str, v.shape, v.tobytes()) for k, v in self.arrays.items()},
        }


def find(run: str) -> Record | None:
    """The record of that id, checked, or None. One that is damaged is moved aside with a word, and counts as missing."""
    path = runs_dir() / run
    if not path.is_dir():
        return None
    try:
        return Record(path).check()
    except RecordError as error:
        aside = path.with_name(f".damaged-{path.name}")
        shutil.rmtree(aside, ignore_errors=True)
        with contextlib.suppress(OSError):  # results may be read-only, and reading goes on
            path.rename(aside)
        print(f"{error} It counts as missing" + ("." if path.exists() else f"; it was moved aside, to {aside.name}."))
        return None


def everything() -> list[Record]:
    """Every record there is, by its id; what begins with a dot is half written or set aside."""
    return [Record(path.parent) for path in sorted(runs_dir().glob(f"*/{RECORD}")) if not path.parent.name.startswith(".")]


def save(run: str, *, config: dict, manifest: dict, metrics: list[dict], evaluations: dict, arrays: dict[str, np.ndarray]) -> Record:
    """Write a record beside its place and rename it in; two processes that finish the same run leave one record."""
    content = {"config": config, "manifest": manifest, "evaluations": evaluations}
    packed = packed_arrays(arrays)
    if len(packed) > LARGEST:
        sizes = ", ".join(f"{k} {v.nbytes // 1000} kB" for k, v in sorted(arrays.items(), key=lambda item: -item[1].nbytes)[:3])
        raise UserError(f"The arrays of {run} are {len(packed) // 1000} kB, a record holds {LARGEST // 1000}; largest: {sizes}.")
    return write(runs_dir() / run, content, pd.DataFrame(metrics).to_csv(index=False), packed)


def write(path: Path, content: dict[str, dict], metrics: str, arrays: bytes) -> Record:
    part = _empty_folder(path)
    try:
        write_text(part / RECORD, json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":")) + "\n")
        write_text(part / METRICS, metrics)
        write_bytes(part / ARRAYS, arrays)
        part.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        part.rename(path)
    except OSError as error:
        raise RecordError(why_not(path, error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Record(path)


def packed_arrays(arrays: dict[str, np.ndarray]) -> bytes:
    plain = io.BytesIO()
    np.savez(plain, **arrays)
    return lzma.compress(plain.getvalue(), check=lzma.CHECK_CRC32, filters=PACKING)


def unpacked(packed: bytes, most: int = -1) -> dict[str, np.ndarray]:
    """The arrays; an error where they come to more than so many bytes, or to anything that numpy would have to unpickle."""
    opened = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    plain = opened.decompress(packed, max_length=most)
    if not opened.eof:
        raise ValueError("cut short, or more than a record holds")
    with np.load(io.BytesIO(plain), allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def _empty_folder(path: Path) -> Path:
    """A new folder beside `path`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    except OSError as error:
        raise RecordError(why_not(path, error)) from error


def check_writable() -> None:
    """An error if no record could be written: to be known before the training, not after it."""
    _empty_folder(runs_dir() / "writable").rmdir()
