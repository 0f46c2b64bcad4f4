"""The stages of a run that is not yet a record: what each came to waits beside the checkpoints, so that none is done twice."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from helpers.core.files import write_bytes

Found = tuple[dict[str, dict], dict[str, np.ndarray]]  # evaluations and arrays, as a record keeps them
EVALUATIONS = "evaluations"  # the name under which the first lie among the second


class Stages:
    def __init__(self, folder: Path):
        self.folder = folder
        self.evaluations: dict[str, dict] = {}
        self.arrays: dict[str, np.ndarray] = {}

    def __call__(self, name: str, work: Callable[[], Found]) -> None:
        """Do the work of a stage, or read what it came to before this run was interrupted."""
        path = self.folder / f"stage-{name}.npz"
        found = stored(path)
        if found is None:
            evaluations, arrays = work()
            found = arrays | {EVALUATIONS: json.dumps(evaluations)}
            if evaluations or arrays:
                store(path, found)
        self.evaluations |= json.loads(str(found.pop(EVALUATIONS)))
        self.arrays |= found


def store(path: Path, arrays: dict) -> None:
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    write_bytes(path, packed.getvalue())


def stored(path: Path) -> dict[str, np.ndarray] | None:
    """None where there is nothing, or nothing whole: it is then done again."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        path.unlink(missing_ok=True)
        return None
