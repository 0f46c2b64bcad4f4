"""The checksums of a record, in a file within its folder: whether it still holds what was recorded is known wherever it is copied to.

One file a record, so that records of several machines come together without touching each other's lines; as `sha256sum` writes it,
so that `sha256sum -c SHA256SUMS` checks it without this code.
"""

import hashlib
from pathlib import Path

from helpers.core.files import shown, write_text

SEAL = "SHA256SUMS"


def seal(folder: Path) -> None:
    """Write down what the files of a record are."""
    write_text(folder / SEAL, "".join(f"{digest}  {name}\n" for name, digest in _digests(folder).items()))


def seal_new(runs: Path) -> list[str]:
    """Seal the records that have no seal yet, as those have that were made before there were seals; their ids. A seal is never written anew."""
    new = [folder for folder in folders(runs) if not (folder / SEAL).is_file()]
    for folder in new:
        seal(folder)
    return [folder.name for folder in new]


def broken(folder: Path) -> list[str]:
    """What in a record is not as its seal says, a sentence each; none where all is."""
    try:
        lines = (folder / SEAL).read_text(encoding="utf-8").splitlines()
        sealed = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except FileNotFoundError:
        return [f"{shown(folder)} has no {SEAL}: nothing says what was recorded. `make claims` seals records that are new."]
    except (OSError, ValueError) as error:
        return [f"{shown(folder / SEAL)} cannot be read ({error}). `git checkout {shown(folder)}` restores it."]
    there = _digests(folder)
    mend = f"`git checkout {shown(folder)}` restores what was committed."
    said = [f"{shown(folder / name)} is gone, and the record's {SEAL} names it: {mend}" for name in sealed if name not in there]
    said += [f"{shown(folder / name)} is in no line of the record's {SEAL}." for name in there if name not in sealed]
    return said + [
        f"{shown(folder / name)} does not match its hash: sealed as {digest[:12]}…, now {there[name][:12]}…. {mend}"
        for name, digest in sealed.items()
        if name in there and there[name] != digest
    ]


def folders(runs: Path) -> list[Path]:
    """The records in a folder of runs; what begins with a dot is half written or set aside."""
    return sorted(path for path in runs.iterdir() if path.is_dir() and not path.name.startswith(".")) if runs.is_dir() else []


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != SEAL and not path.name.startswith("."))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
