"""Where a number comes from: the code, the packages and the machine."""

import functools
import hashlib
import platform
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import version

import torch

from helpers.core.devices import describe
from helpers.core.files import REPOSITORY
from helpers.runs.config import RunConfig
from helpers.runs.energy import EnergyMeter
from helpers.runs.material import material

PACKAGES = ("torch", "torchvision", "timm", "numpy", "scikit-learn", "pydantic", "pandas")


@functools.cache
def code_version() -> dict:
    """The commit, whether helpers/ differs from it, and a hash of helpers/ that needs no git."""
    digest = hashlib.sha256()
    for path in sorted((REPOSITORY / "helpers").rglob("*.py")):
        digest.update(path.relative_to(REPOSITORY).as_posix().encode() + b"\0" + path.read_bytes())
    commit = _git("rev-parse", "HEAD")
    changed = bool(_git("status", "--porcelain", "--", "helpers")) if commit else None
    return {"commit": commit, "changed": changed, "source": digest.hexdigest()[:16]}


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(("git", "-C", str(REPOSITORY), *words), capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@functools.cache
def versions() -> dict:
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def host(device: torch.device | None = None) -> dict:
    """The machine, or a device of it; no names of machines, people or folders."""
    return describe(device) if device is not None else {"system": platform.system(), "machine": platform.machine()}


def manifest(config: RunConfig, started: float, meter: EnergyMeter, device: torch.device, metrics: list[dict] | None = None) -> dict:
    """What every record says of the run that it is of; `metrics` are those of its training."""
    images, energy = material(config.data), meter.used()
    if metrics and all("watts" in row for row in metrics):  # of the training alone, and of all of it where it was interrupted
        energy["training_watt_hours"] = sum(row["watts"] * row["seconds"] for row in metrics) / 3600
    return {
        "code": code_version(),
        "versions": versions(),
        "host": host(),
        "device": host(device),
        "dataset": {"name": images.dataset.name, "hash": images.dataset.hash, "source": images.dataset.source},
        "seed": config.seed,
        "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
        "ended": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - started, 2),
        "energy": energy,
    }
