"""Where a number comes from: the code, the packages and the machine."""

import functools
import hashlib
import platform
import subprocess
from importlib.metadata import version

import torch

from helpers.core.devices import describe
from helpers.core.files import REPOSITORY

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
