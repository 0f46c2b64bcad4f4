"""What a rented machine without network needs, in parts that are easy to carry: python -m helpers.commands.gpu_kit [--datasets NAME ...].

Code, the wheels that such a machine lacks, and images, in this order, cut into parts of at most 45 MiB that do not need each other, and
`join`, which puts them together there (kit_join.py). Executed pages and records stay at home, but for the range tests that runs to come need.
"""

import argparse
import hashlib
import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from helpers.core.errors import DataError, UserError, answered
from helpers.core.files import REPOSITORY, cache_dir, data_dir, shown, write_bytes, write_json, zipped
from helpers.data.catalogue import present
from helpers.runs import records
from helpers.runs.records import runs_dir

MIB = 2**20
PART = 45 * MIB  # the most that one part holds
CODE = 5 * MIB  # the most that the code may come to
SMALL = MIB  # no piece is smaller, unless it is a whole file
# A machine with torch, torchvision, timm and the usual scientific packages lacks these; captum is for the pictures that some runs keep.
WHEELS = ("pydantic", "pydantic-core", "typing-inspection", "annotated-types", "captum")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
DATASETS = ("cifar10", "stl10", "aid")
JOIN = Path(__file__).parents[1] / "gpu_day" / "join.py"


@dataclass
class Kit:
    """Parts as they fill: one zip after another, a file cut where a part is full."""

    folder: Path
    most: int
    parts: dict[str, dict] = field(default_factory=dict)
    files: list[dict] = field(default_factory=list)
    held: dict[str, bytes] = field(default_factory=dict)  # the pieces of the part at hand

    def add(self, name: str, kind: str, data: bytes) -> None:
        pieces, start = [], 0
        while start < len(data) or not pieces:
            room = self.most - sum(map(len, self.held.values())) - 1024 * (len(self.held) + 2)  # names and headers
            left = len(data) - start
            if self.held and left > room and room < SMALL:
                self.close()
                continue
            size = min(left, room)
            piece = f"{len(self.files):03d}-{len(pieces)}"
            self.held[piece] = data[start : start + size]
            pieces.append([f"part-{len(self.parts) + 1}.zip", piece])
            start += size
        self.files.append({"name": name, "kind": kind, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pieces": pieces})

    def close(self) -> None:
        """Write the part at hand."""
        if not self.held:
            return
        data = zipped(self.held, packed=False)
        name = f"part-{len(self.parts) + 1}.zip"
        write_bytes(self.folder / name, data)
        self.parts[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        self.held = {}


def make(folder: Path, wheels: Path, datasets: list[str], most: int = PART) -> dict:
    """Write the kit into a folder; its index. Nothing of an earlier kit stays there."""
    images = [(name, path) for name in datasets for path in data_files(name)]
    code = code_zip()
    if len(code) > CODE:
        raise UserError(
            f"The code packs to {len(code) / MIB:.1f} MiB, and {CODE / MIB:g} are allowed: what is large in it belongs into results/ or is no code."
        )
    shutil.rmtree(folder, ignore_errors=True)
    kit = Kit(folder, most)
    kit.add("code.zip", "code", code)
    for wheel in sorted(wheels.glob("*.whl")):
        kit.add(wheel.name, "wheel", wheel.read_bytes())
    for name, path in images:
        kit.add(f"{name}/{path.relative_to(data_dir() / name).as_posix()}", "data", path.read_bytes())
    kit.close()
    index = {"format": 1, "parts": kit.parts, "files": kit.files}
    write_json(folder / "index.json", index)
    write_bytes(folder / "join", JOIN.read_bytes())
    (folder / "join").chmod(0o755)
    return index


def code_zip() -> bytes:
    files = dict(code_files())
    return zipped({name: data for name, (data, _) in files.items()}, runnable=[name for name, (_, runs) in files.items() if runs])


def code_files() -> Iterator[tuple[str, tuple[bytes, bool]]]:
    """Every file that git holds or would add, without the results; and what a day on a GPU must know of earlier ones."""
    call = ["git", "-C", str(REPOSITORY), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".", ":!results"]
    listed = subprocess.run(call, capture_output=True, text=True)
    if listed.returncode:
        raise UserError("A kit is made from a git checkout, and this is none: make it where the repository was cloned.")
    for name in sorted(filter(None, listed.stdout.split("\0"))):
        path = REPOSITORY / name
        if path.is_file() and not path.is_symlink():
            yield name, (path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR))
    runs = done_on_gpus()
    yield "results/gpu_day/elsewhere.json", (json.dumps({"format": 1, "runs": runs}, indent=1).encode(), False)
    for run in filter(lambda run: "-range-" in run, runs):
        for path in sorted((runs_dir() / run).iterdir()):
            yield f"results/runs/{run}/{path.name}", (path.read_bytes(), False)


def done_on_gpus() -> list[str]:
    """The records that GPUs made: a day repeats none of them."""
    return [record.id for record in records.everything() if (record.manifest.get("device") or {}).get("type") == "cuda"]


def data_files(name: str) -> list[Path]:
    """The files of a dataset as they lie in DATA_DIR, where they are all that its reader needs."""
    present(name)
    files = sorted(path for path in (data_dir() / name).rglob("*") if path.is_file() and not path.name.startswith("."))
    if not files:
        raise DataError(f"{shown(data_dir())}/{name} (DATA_DIR) holds no file to carry. Put {name} there, as a folder of its own.")
    return files


def fetch_wheels(python: str) -> Path:
    """The wheels for that Python, in the versions installed here; fetched once, then kept in the cache."""
    folder = cache_dir() / "kit-wheels" / python
    for name in WHEELS:
        try:
            number = version(name)
        except PackageNotFoundError as error:
            raise UserError(f"{name} is not installed here, so which version to carry is not known. `make setup` installs it.") from error
        if not list(folder.glob(f"{name.replace('-', '_')}-{number}-*.whl")):
            for old in folder.glob(f"{name.replace('-', '_')}-*.whl"):
                old.unlink()
            call = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "--python-version", python]
            call += ["--implementation", "cp", *(word for platform in PLATFORMS for word in ("--platform", platform))]
            done = subprocess.run([*call, "-d", str(folder), f"{name}=={number}"], capture_output=True, text=True)
            if done.returncode:
                reason = (done.stderr.strip() or "no reason given").splitlines()[-1]
                raise UserError(
                    f"The wheel of {name} {number} for Python {python} could not be fetched ({reason}). Make the kit where there is a network."
                )
    return folder


def told(index: dict) -> str:
    """The parts, their sizes and what is in them."""
    lines = []
    for part, about in index["parts"].items():
        held = [
            each["name"] + (" (a piece)" if len(each["pieces"]) > 1 else "")
            for each in index["files"]
            if any(p == part for p, _ in each["pieces"])
        ]
        lines.append(f"{part}  {about['bytes'] / MIB:5.1f} MiB  {', '.join(held)}")
    return "\n".join(lines)


@answered
def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 written, 2 something is missing here."""
    parser = argparse.ArgumentParser(prog="python -m helpers.commands.gpu_kit", description="Pack what a machine without network needs.")
    parser.add_argument("--datasets", nargs="*", default=list(DATASETS), help=f"folders of DATA_DIR ({', '.join(DATASETS)})")
    parser.add_argument("--python", default="3.12", help="that machine's Python")
    given = parser.parse_args(arguments)
    folder = REPOSITORY / "kit"
    index = make(folder, fetch_wheels(given.python), given.datasets)
    print(f"{told(index)}\n\nCarry {shown(folder)}/ there, all at once or part by part, and there:  python3 kit/join")
    return 0


if __name__ == "__main__":
    sys.exit(main())
