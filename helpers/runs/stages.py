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
        found = read(path)
        if found is None:
            found = work()
            if any(found):
                packed = io.BytesIO()
                np.savez(packed, **found[1], **{EVALUATIONS: json.dumps(found[0])})
                write_bytes(path, packed.getvalue())
        self.evaluations |= found[0]
        self.arrays |= found[1]


def read(path: Path) -> Found | None:
    """None where there is nothing, or nothing whole: the stage is then done again."""
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return json.loads(str(arrays.pop(EVALUATIONS))), arrays
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        path.unlink(missing_ok=True)
        return None
