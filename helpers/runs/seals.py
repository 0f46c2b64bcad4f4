"""The checksums of all records in a folder of runs, in one file as `sha256sum` writes it: `sha256sum -c SHA256SUMS` checks without this code.

`make claims` writes down what is new; what stands there is never written anew. The demo's records are made again on every machine and
are nobody's evidence: they have no seal.
"""

import hashlib
from pathlib import Path

from helpers.core.errors import RecordError
from helpers.core.files import shown, write_text

SEAL = "SHA256SUMS"


def seal_new(runs: Path) -> list[str]:
    """Write down the files of the records that have no lines yet; their ids."""
    sealed = sealed_in(runs)
    new = {folder.name: _digests(folder) for folder in folders(runs) if folder.name not in sealed}
    if new:
        lines = [f"{digest}  {run}/{name}\n" for run, files in sorted((sealed | new).items()) for name, digest in sorted(files.items())]
        write_text(runs / SEAL, "".join(lines))
    return list(new)


def sealed_in(runs: Path) -> dict[str, dict[str, str]]:
    """Each record's files and their checksums, as they were written down."""
    try:
        lines = (runs / SEAL).read_text(encoding="utf-8").splitlines() if (runs / SEAL).is_file() else []
        found: dict[str, dict[str, str]] = {}
        for digest, path in (line.split("  ", 1) for line in lines):
            run, name = path.split("/")
            found.setdefault(run, {})[name] = digest
    except (OSError, ValueError) as error:
        raise RecordError(f"{shown(runs / SEAL)} cannot be read ({error}). `git checkout {shown(runs / SEAL)}` restores it.") from error
    return found


def broken(runs: Path) -> list[str]:
    """What in the records is not as their seal says, a sentence each; none where all is."""
    sealed, said = sealed_in(runs), []
    there = {folder.name: folder for folder in folders(runs)}
    for run in sorted(there.keys() | sealed.keys()):
        folder, files = runs / run, sealed.get(run)
        if run not in there:
            said.append(f"{shown(folder)} is gone, and {SEAL} names it: `git checkout {shown(folder)}` restores it.")
        elif files is None:
            said.append(f"{shown(folder)} has no line in {SEAL}: nothing says what was recorded. `make claims` seals records that are new.")
        else:
            said += _changed(folder, files, _digests(folder))
    return said


def _changed(folder: Path, sealed: dict[str, str], there: dict[str, str]) -> list[str]:
    mend = f"`git checkout {shown(folder)}` restores what was committed."
    said = [f"{shown(folder / name)} is gone, and {SEAL} names it: {mend}" for name in sealed if name not in there]
    said += [f"{shown(folder / name)} is in no line of {SEAL}." for name in there if name not in sealed]
    return said + [
        f"{shown(folder / name)} does not match its hash: sealed as {digest[:12]}…, now {there[name][:12]}…. {mend}"
        for name, digest in sealed.items()
        if name in there and there[name] != digest
    ]


def folders(runs: Path) -> list[Path]:
    """The records of a folder of runs that are evidence; what begins with a dot is half written or set aside."""
    found = runs.iterdir() if runs.is_dir() else ()
    return sorted(path for path in found if path.is_dir() and not path.name.startswith((".", "embedded-")))


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
