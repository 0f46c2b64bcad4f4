#!/usr/bin/env python3
"""Put the parts of the kit together: python3 join [--to FOLDER]. Needs Python 3.11 and nothing else.

Lies beside index.json and the parts, part-1.zip and on. Parts may come one by one: call it after each, and it takes in what is whole.
What is damaged or missing is named, and the rest is put in its place.
"""

import argparse
import hashlib
import importlib.metadata
import io
import json
import os
import re
import sys
import tempfile
import time
import zipfile
from pathlib import Path, PurePosixPath

FORMAT = 1
MIB = 2**20


def main(arguments=None) -> int:
    """The exit code: 0 everything is there, 1 something is missing or damaged, 2 there is no kit here."""
    kit = Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description="Put the parts of the kit together.")
    parser.add_argument("--to", type=Path, default=kit.parent / "studies", help="the folder to put everything into")
    place = parser.parse_args(arguments).to.resolve()
    started = time.monotonic()
    try:
        index = json.loads((kit / "index.json").read_text(encoding="utf-8"))
        if index["format"] != FORMAT:
            raise ValueError(f"format {index['format']}, and this reads {FORMAT}")
    except (OSError, ValueError, KeyError) as error:
        print(
            f"Error: {kit / 'index.json'} cannot be read ({error}). Copy it again, from the folder that `make gpu-kit` wrote.",
            file=sys.stderr,
        )
        return 2
    parts, wrong = {}, {}
    for name, about in index["parts"].items():
        problem = damage(kit / name, about)
        if problem:
            wrong[name] = problem
        else:
            parts[name] = zipfile.ZipFile(kit / name)
    lacking = []
    for about in index["files"]:
        try:
            needed = sorted({part for part, _ in about["pieces"]} & wrong.keys())
            done = unpack(about, place, parts if not needed else None)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            done, needed = None, [str(error)]
        if done is None:
            lacking.append((about["name"], needed))
        else:
            print(f"{about['name']}: {done}")
    for name, problem in wrong.items():
        print(f"{name}: {problem}", file=sys.stderr)
    for name, needed in lacking:
        print(f"Missing: {name} ({', '.join(needed)})", file=sys.stderr)
    here = {about["name"] for about in index["files"]} - {name for name, _ in lacking}
    print(f"\n{len(here)} of {len(index['files'])} files are in {place}, after {time.monotonic() - started:.1f} s.")
    if "code.zip" in here:
        print(f"Next:  cd {place} && PYTHONPATH=packages python3 -m helpers.commands.gpu_day --minutes 14")
    if lacking:
        print(
            "Copy the parts that are missing or damaged again and call this once more; what is here is kept. Studies without their images are left out."
        )
    return 1 if lacking else 0


def damage(path: Path, about: dict) -> str:
    """What is wrong with a part, "" where nothing is."""
    if not path.is_file():
        return "is not here"
    if path.stat().st_size != about["bytes"]:
        return f"has {path.stat().st_size:,} bytes, not {about['bytes']:,}: it was cut short"
    return "" if digest_of(path) == about["sha256"] else "is not what its checksum says: it was damaged on the way"


def unpack(about: dict, place: Path, parts: dict | None) -> str | None:
    """Put one file into its place and say so, None where it cannot be. Without parts it is looked for where it may lie already."""
    name, kind = about["name"], about["kind"]
    if kind == "data":
        target = inside(place, "data/" + name)
        if target.is_file() and target.stat().st_size == about["bytes"] and digest_of(target) == about["sha256"]:
            return "here already"
        if parts is None:
            return None
        write(target, content(about, parts))
        return f"{about['bytes'] / MIB:.1f} MiB"
    if kind == "wheel" and (known := unneeded(name)):
        return known
    mark = inside(place, f".kit/{name}")
    if mark.is_file() and mark.read_text() == about["sha256"]:
        return "here already"
    if parts is None:
        return None
    count = extract(content(about, parts), place if kind == "code" else inside(place, "packages"))
    write(mark, about["sha256"].encode())
    return f"{count} files"


def unneeded(wheel: str) -> str:
    """Why a wheel is left out: its package is there, or it is for another Python; "" where it is needed."""
    package, version, *_, python, _, _ = wheel.removesuffix(".whl").split("-")
    try:
        return f"left out, version {importlib.metadata.version(package)} is installed"
    except importlib.metadata.PackageNotFoundError:
        pass
    own = f"cp{sys.version_info.major}{sys.version_info.minor}"
    if python.startswith("cp") and own not in python.split("."):
        raise ValueError(
            f"it is for {python}, and this is {own}: make the kit with --python {sys.version_info.major}.{sys.version_info.minor}"
        )
    return ""


def content(about: dict, parts: dict) -> bytes:
    data = b"".join(parts[part].read(piece) for part, piece in about["pieces"])
    if hashlib.sha256(data).hexdigest() != about["sha256"]:
        raise ValueError("its pieces do not make what its checksum says")
    return data


def extract(data: bytes, folder: Path) -> int:
    """The files of a zip into a folder, none of them outside it and none a link."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        files = [info for info in archive.infolist() if not info.is_dir()]
        targets = [inside(folder, info.filename) for info in files]
        if any((info.external_attr >> 16) & 0o170000 not in (0, 0o100000) for info in files):
            raise ValueError("it holds a link or a device")
        for info, target in zip(files, targets, strict=True):
            write(target, archive.read(info), executable=bool((info.external_attr >> 16) & 0o100))
    return len(files)


def inside(folder: Path, name: str) -> Path:
    """The place of a name in a folder, an error where it would lie outside."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or re.search(r"[\\:\0]", name):
        raise ValueError(f"{name!r} would lie outside the folder")
    target = folder.joinpath(*parts)
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{name!r} would lie outside the folder, behind a link")
    return target


def write(path: Path, data: bytes, executable: bool = False) -> None:
    """A file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o755 if executable else 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def digest_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
