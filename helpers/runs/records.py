"""Records: one folder a run, written whole or not at all, small enough to commit.

config.json  manifest.json  metrics.csv  evaluations.json  arrays.npz (what the figures are drawn from)  SHA256SUMS (of these)
"""

import contextlib
import functools
import io
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.core.errors import RecordError, UserError
from helpers.core.files import read_json, results_dir, shown, why_not, write_bytes, write_json, write_text
from helpers.runs.seals import seal

FILES = ("config.json", "manifest.json", "metrics.csv", "evaluations.json", "arrays.npz")
LARGEST = 300_000  # bytes of arrays a record may hold
VOLATILE = (
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
    def config(self) -> dict:
        return read_json(self.path / "config.json")

    @functools.cached_property
    def manifest(self) -> dict:
        return read_json(self.path / "manifest.json")

    @functools.cached_property
    def evaluations(self) -> dict[str, dict]:
        return read_json(self.path / "evaluations.json")

    @functools.cached_property
    def metrics(self) -> pd.DataFrame:
        with contextlib.suppress(pd.errors.EmptyDataError):
            return pd.read_csv(self.path / "metrics.csv")
        return pd.DataFrame()

    @functools.cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        try:
            with np.load(self.path / "arrays.npz", allow_pickle=False) as stored:
                return {name: stored[name] for name in stored.files}
        except (OSError, ValueError, EOFError, KeyError) as error:
            raise RecordError(f"{shown(self.path / 'arrays.npz')} is damaged ({error}). Delete its folder and run again.") from error

    def check(self) -> "Record":
        """Read everything once; an error that names the file where something is missing or cut short."""
        for name in FILES:
            if not (self.path / name).is_file():
                raise RecordError(f"{shown(self.path)} has no {name}: it was cut short. Delete the folder and run again.")
        try:
            _ = self.config, self.manifest, self.evaluations, self.metrics, self.arrays
        except RecordError:
            raise
        except Exception as error:  # a cut file fails in as many ways as there are parsers
            raise RecordError(f"{shown(self.path)} cannot be read ({type(error).__name__}: {error}). Delete it and run again.") from error
        epochs = self.config.get("training", {}).get("epochs", len(self.metrics))
        if len(self.metrics) != epochs or not (self.path / "metrics.csv").read_bytes().endswith(b"\n"):
            raise RecordError(
                f"{shown(self.path / 'metrics.csv')} was cut short: {len(self.metrics)} of {epochs} epochs. Delete its folder and run again."
            )
        return self

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


def save(run: str, *, config: dict, manifest: dict, metrics: list[dict], evaluations: dict, arrays: dict[str, np.ndarray]) -> Record:
    """Write a record beside its place and rename it in; two processes that finish the same run leave one record."""
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    if packed.tell() > LARGEST:
        sizes = ", ".join(f"{k} {v.nbytes // 1000} kB" for k, v in sorted(arrays.items(), key=lambda item: -item[1].nbytes)[:3])
        raise UserError(f"The arrays of {run} are {packed.tell() // 1000} kB, a record holds {LARGEST // 1000}; largest: {sizes}.")
    path = runs_dir() / run
    part = _empty_folder(path)
    try:
        write_json(part / "config.json", config)
        write_json(part / "manifest.json", manifest)
        write_text(part / "metrics.csv", pd.DataFrame(metrics).to_csv(index=False))
        write_json(part / "evaluations.json", evaluations)
        write_bytes(part / "arrays.npz", packed.getvalue())
        seal(part)
        part.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        part.rename(path)
    except OSError as error:
        raise RecordError(why_not(path, error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Record(path)


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
