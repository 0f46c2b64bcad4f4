"""Records of the former layout, six files each, into the present one of three: python -m helpers.commands.move_records. Once is enough.

config.json, manifest.json and evaluations.json become record.json, arrays.npz is packed as a whole, the checksums of all stand in one file.
Nothing of what was recorded changes: a record whose checksums do not hold, or that does not read the same afterwards, stays as it is.
"""

import argparse
import hashlib
import sys
from pathlib import Path

import numpy as np

from helpers.core.errors import RecordError
from helpers.core.files import read_json, shown
from helpers.runs import records, seals

FORMER = {"config.json", "manifest.json", "evaluations.json", "metrics.csv", "arrays.npz"}


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 all moved, 1 some stayed as they were."""
    argparse.ArgumentParser(prog="python -m helpers.commands.move_records", description="Move old records.").parse_args(arguments)
    runs = records.runs_dir()
    former = [path.parent for path in sorted(runs.glob("*/config.json")) if not path.parent.name.startswith(".")]
    left = 0
    for folder in former:
        try:
            move(folder)
        except (OSError, ValueError, KeyError, RecordError) as error:
            left += 1
            print(f"{shown(folder)} stays as it is: {error}", file=sys.stderr)
    seals.seal_new(runs)
    print(f"{len(former) - left} records moved, {left} left; checksums in {shown(runs / seals.SEAL)}.")
    return 1 if left else 0


def move(folder: Path) -> records.Record:
    wrong = [name for name, digest in sealed(folder).items() if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest]
    if wrong:
        raise ValueError(f"{wrong[0]} is not what its checksum says")
    content = {name: read_json(folder / f"{name}.json") for name in records.SECTIONS}
    metrics = (folder / "metrics.csv").read_text(encoding="utf-8")
    with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    packed = records.packed_arrays(arrays)
    again = records.unpacked(packed)
    if list(again) != list(arrays) or any(
        (again[k].dtype, again[k].shape, again[k].tobytes()) != (v.dtype, v.shape, v.tobytes()) for k, v in arrays.items()
    ):
        raise ValueError("its arrays do not come back the same")
    return records.write(folder, content, metrics, packed).check()


def sealed(folder: Path) -> dict[str, str]:
    """Its own checksums, which must be of exactly the former files; none where it was never sealed."""
    if not (folder / seals.SEAL).is_file():
        return {}
    lines = (folder / seals.SEAL).read_text(encoding="utf-8").splitlines()
    found = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    if set(found) != FORMER:
        raise ValueError(f"its {seals.SEAL} names other files")
    return found


if __name__ == "__main__":
    sys.exit(main())
