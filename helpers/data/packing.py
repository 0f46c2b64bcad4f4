"""Packs: a dataset decoded once into uint8 memory maps with a content hash, in CACHE_DIR/packs.

A pack is filled in a folder beside its place and renamed into it under a lock, so two processes may ask for it at once.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from helpers.core.errors import DataError, RecordError
from helpers.core.files import cache_dir, lock, read_json, shown, write_json
from helpers.data.dataset import Dataset, Split
from helpers.data.decode import decoded
from helpers.data.sources import Opened, RawSplit, Source, batched

FORMAT = 1
ROWS = 256


def packed(name: str, source: Source, request: dict, skip_damaged: bool) -> Dataset:
    """The dataset's pack, made now if there is none, if it is damaged, or if it left out images that it was not allowed to."""
    folder = _packs() / f"{name}-{_key(name, source, request)}"
    pack = _read(folder, skip_damaged)
    if pack is None:
        with lock(folder.parent / f".{folder.name}.lock"):
            pack = _read(folder, skip_damaged)  # another process may have made it while this one waited
            if pack is None:
                _make(folder, name, source.open(), request, skip_damaged)
                pack = _read(folder, skip_damaged)
    return pack


def kept(name: str, request: dict, skip_damaged: bool) -> Dataset | None:
    """The newest whole pack that was made for the request, whatever its source was: for machines that have only the pack."""
    found = sorted(_packs().glob(f"{name}-*/pack.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    packs = (_read(path.parent, skip_damaged, name, request) for path in found)
    return next((pack for pack in packs if pack is not None), None)


def _packs() -> Path:
    return cache_dir() / "packs"


def _key(name: str, source: Source, request: dict) -> str:
    facts = json.dumps([FORMAT, name, request, source.stamp], sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


def _read(folder: Path, skip_damaged: bool, name: str | None = None, request: dict | None = None) -> Dataset | None:
    """The pack in the folder, or None where it is missing, cut short, holds fewer images than allowed, or is another's."""
    try:
        pack = read_json(folder / "pack.json")
        if pack["skipped"] and not skip_damaged:
            return None
        if request is not None and (pack["name"], pack["request"]) != (name, request):
            return None
        splits = {split: _map(folder, split, facts) for split, facts in pack["splits"].items()}
        return Dataset(pack["name"], splits, tuple(pack["classes"]), pack["source"], pack["licence"], pack["hash"])
    except (RecordError, KeyError, TypeError, ValueError, OSError, EOFError):
        return None


def _map(folder: Path, split: str, facts: dict) -> Split:
    # Copy on write: torch wants memory that it could write to, the file stays as it is.
    images = np.load(folder / f"images-{split}.npy", mmap_mode="c")
    if list(images.shape) != facts["shape"] or images.dtype != np.uint8:
        raise ValueError("not the shape it was packed with")
    labels = np.load(folder / f"labels-{split}.npy") if facts["labels"] else None
    if labels is not None and len(labels) != len(images):
        raise ValueError("not as many labels as images")
    return Split(images, labels)


def _make(folder: Path, name: str, opened: Opened, request: dict, skip_damaged: bool) -> None:
    part = folder.parent / f".{folder.name}.part"
    try:
        shutil.rmtree(part, ignore_errors=True)  # what a killed process left
        part.mkdir(parents=True)
        skipped, facts, digests, size, shape = 0, {}, [], request["image_size"], None
        for split, raw in opened.splits.items():
            count, shape, digest, damaged = _write_split(part, name, split, raw, size, shape, skip_damaged)
            facts[split] = {"shape": [count, *shape], "labels": raw.labels is not None}
            digests.append(f"{split}:{digest}")
            skipped += damaged
        note = f"; {skipped} damaged images left out" if skipped else ""
        pack = {"name": name, "request": request, "splits": facts, "classes": opened.classes, "licence": opened.licence}
        pack |= {"source": opened.source + note, "skipped": skipped}
        pack["hash"] = hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()[:16]
        write_json(part / "pack.json", pack)
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(part, folder)
    except OSError as error:
        why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
        raise DataError(
            f"Cannot pack {name} into {shown(folder.parent)}: {why}. Free some space or set CACHE_DIR to another folder."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_split(
    part: Path, name: str, split: str, raw: RawSplit, size: int | None, shape: tuple | None, skip_damaged: bool
) -> tuple[int, tuple, str, int]:
    """Write one split's images and labels; returns how many, an image's shape, the hash of both and how many were left out.

    `size` is what images are brought to, `shape` what those of the splits before have.
    """
    digest, good = hashlib.sha256(), np.ones(raw.count, dtype=bool)
    images = _checked(decoded(raw.items(), size), good, shape, skip_damaged)
    with open(part / f"images-{split}.npy", "wb") as file:
        written = 0
        for some in batched(images, ROWS):
            block = np.ascontiguousarray(np.stack(some))
            if written == 0:
                shape = block.shape[1:]
                _write_header(file, (raw.count, *shape))
            digest.update(block)
            file.write(block)
            written += len(block)
        if written == 0:
            raise DataError(f"The {split} split of {name} holds no image that can be read.")
        file.seek(0)
        _write_header(file, (written, *shape))  # again, for images left out: numpy pads headers so that the length may change in place
        file.flush()
        os.fsync(file.fileno())
    if raw.labels is not None:
        labels = raw.labels[good].astype(np.int64)
        digest.update(labels)
        np.save(part / f"labels-{split}.npy", labels)
    return written, shape, digest.hexdigest(), raw.count - written


def _write_header(file, shape: tuple) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _checked(images: Iterator, good: np.ndarray, shape: tuple | None, skip_damaged: bool) -> Iterator[np.ndarray]:
    """The pixels of all images that decode, marking in `good` those that do not; an image of another size is an error."""
    for number, (where, pixels) in enumerate(images):
        if isinstance(pixels, str):
            if not skip_damaged:
                raise DataError(
                    f"An image will not decode: {where} ({pixels}). Replace it, or leave such images out with skip_damaged=True."
                )
            good[number] = False
            continue
        shape = shape or pixels.shape
        if pixels.shape != shape or shape[1] != shape[2]:
            sizes = f"{pixels.shape[2]} x {pixels.shape[1]}" + (
                "" if pixels.shape == shape else f", not {shape[2]} x {shape[1]} like those before"
            )
            raise DataError(f"{where} is {sizes}. Images of several sizes, or not square, need image_size=... to be brought to one.")
        yield pixels
