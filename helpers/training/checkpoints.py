"""Checkpoints: everything a run needs to go on, written whole, the last two kept, a damaged one passed over."""

import hashlib
import io
import shutil
import warnings
from pathlib import Path

import torch

from helpers.core.files import shown, write_with

KEPT = 2
_MAGIC = b"helpers-checkpoint-1\n"


def save(folder: Path, step: int, state: dict) -> Path:
    """Write the state after `step` steps with its digest in front, then drop all but the last two."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()

    def write(part: Path) -> None:
        with open(part, "wb") as file:
            file.write(_MAGIC + hashlib.sha256(payload).digest())
            file.write(payload)

    path = write_with(Path(folder) / f"step-{step:09d}.pt", write)
    for old in _newest_first(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def load_newest(folder: Path, device: torch.device) -> dict | None:
    """The newest state whose digest is right, or None. A damaged file is named in a warning and dropped, and the one before is taken.

    Dropped, because as the newest by its name it would push out good ones that are saved after it.
    """
    for path in _newest_first(folder):
        content = path.read_bytes()
        start = len(_MAGIC) + 32
        payload = content[start:]
        if content.startswith(_MAGIC) and hashlib.sha256(payload).digest() == content[len(_MAGIC) : start]:
            return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        path.unlink(missing_ok=True)
        then = "going back to the one before it" if _newest_first(folder) else "there is no other, so the run starts over"
        warnings.warn(f"Checkpoint {shown(path)} is damaged or cut short; {then}.", stacklevel=2)
    return None


def remove(folder: Path) -> None:
    """Drop a finished run's checkpoints, and what was being written when a process was killed."""
    shutil.rmtree(folder, ignore_errors=True)


def _newest_first(folder: Path) -> list[Path]:
    return sorted(Path(folder).glob("step-*.pt"), reverse=True)
