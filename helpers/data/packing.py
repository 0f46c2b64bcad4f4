"""Packs: a dataset decoded once into uint8 memory maps with a content hash, in CACHE_DIR/packs.

A pack is filled in a folder beside its place and renamed into it under a lock, so two processes may ask for it at once.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.core.errors import DataError, RecordError
from helpers.core.files import cache_dir, lock, read_json, shown, write_json
from helpers.core.progress import Counted
from helpers.data.dataset import Dataset, Split
from helpers.data.decode import decoded
from helpers.data.sources import TEST_SHARE, Opened, Source

FORMAT = 2
ROWS = 256
NAMED = 5  # damaged images that a message lists before it counts the rest


def packed(name: str, source: Source, requests: Sequence[dict], skip_damaged: bool) -> list[Dataset]:
    """The dataset's pack for each request, made now if there is none, if it is damaged, or if it left out images that it was not
    allowed to. Requests differ in image_size alone: what is missing is made in one pass over the source."""
    folders = [_packs() / f"{name}-{_key(name, source, request)}" for request in requests]
    found = [_read(folder, skip_damaged) for folder in folders]
    if None in found:
        with contextlib.ExitStack() as held:
            for folder in sorted(set(folders)):  # in one order, so that two processes never wait for each other
                held.enter_context(lock(folder.parent / f".{folder.name}.lock"))
            found = [_read(folder, skip_damaged) for folder in folders]  # another process may have made them while this one waited
            missing = {folder: request for folder, request, pack in zip(folders, requests, found, strict=True) if pack is None}
            if missing:
                _make(missing, name, source, skip_damaged)
                found = [_read(folder, skip_damaged) for folder in folders]
    return found


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
        return Dataset(pack["name"], splits, tuple(pack["classes"]), pack["source"], pack["licence"], pack["hash"], pack["side"])
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


def _make(folders: dict[Path, dict], name: str, source: Source, skip_damaged: bool) -> None:
    """Fill these folders with packs for their requests, whole or not at all."""
    parts = {folder: folder.parent / f".{folder.name}.part" for folder in folders}
    try:
        for part in parts.values():
            shutil.rmtree(part, ignore_errors=True)  # what a killed process left
            part.mkdir(parents=True)
        opened = source.open(next(iter(folders.values())).get("test_share", TEST_SHARE))
        written = _write(list(parts.values()), name, opened, [request["image_size"] for request in folders.values()], skip_damaged)
        for (folder, request), (splits, digest) in zip(folders.items(), written.packs, strict=True):
            pack = {"name": name, "request": request, "splits": splits, "classes": opened.classes, "licence": opened.licence}
            pack |= {"source": opened.source + written.note, "skipped": written.skipped, "hash": digest, "side": written.side}
            write_json(parts[folder] / "pack.json", pack)
            shutil.rmtree(folder, ignore_errors=True)
            os.rename(parts[folder], folder)
    except OSError as error:
        why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
        raise DataError(f"Cannot pack {name} into {shown(_packs())}: {why}. Free some space or set CACHE_DIR to another folder.") from error
    finally:
        for part in parts.values():
            shutil.rmtree(part, ignore_errors=True)


@dataclass(frozen=True)
class _Written:
    """What came of a pass over a source: for each size the splits' facts and the hash of everything, what there is to say, and the median of
    the images' own shorter sides."""

    packs: list[tuple[dict, str]]
    skipped: int
    note: str
    side: int


def _write(parts: list[Path], name: str, opened: Opened, sizes: list[int | None], skip_damaged: bool) -> _Written:
    facts, digests, shapes = [{} for _ in parts], [[] for _ in parts], [None for _ in parts]
    damaged, fourth, sides = [], 0, []
    counted = Counted(f"Packing {name}", sum(raw.count for raw in opened.splits.values()))
    try:
        for split, raw in opened.splits.items():
            good = np.ones(raw.count, dtype=bool)
            with contextlib.ExitStack() as open_files:
                writers = [
                    open_files.enter_context(_Writer(part / f"images-{split}.npy", raw.count, shape))
                    for part, shape in zip(parts, shapes, strict=True)
                ]
                for number, image in enumerate(decoded(raw.items(), sizes)):
                    counted.add()
                    fourth += image.fourth
                    sides += [image.side] if image.side else []
                    good[number] = not image.why
                    if image.why:
                        damaged.append(f"{image.where} ({image.why})")
                    for writer, pixels in zip(writers, image.pixels, strict=False):  # a damaged one has none
                        writer.add(image.where, pixels)
                if not good.any() and (skip_damaged or not damaged):
                    raise DataError(f"The {split} split of {name} holds no image that can be read.")
            for place, (part, writer) in enumerate(zip(parts, writers, strict=True)):
                shapes[place] = writer.shape
                if raw.labels is not None:
                    labels = raw.labels[good].astype(np.int64)
                    writer.digest.update(labels)
                    np.save(part / f"labels-{split}.npy", labels)
                facts[place][split] = {"shape": [int(good.sum()), *(writer.shape or ())], "labels": raw.labels is not None}
                digests[place].append(f"{split}:{writer.digest.hexdigest()}")
    finally:
        counted.close()
    if damaged and not skip_damaged:
        raise DataError(_told(damaged, counted.total))
    note = f"; {len(damaged)} damaged images left out" if damaged else ""
    note += f"; of {fourth} images with four bands the first three are used" if fourth else ""
    hashes = [hashlib.sha256("\n".join(sorted(each)).encode()).hexdigest()[:16] for each in digests]
    return _Written(list(zip(facts, hashes, strict=True)), len(damaged), note, int(np.median(sides)))


def _told(damaged: list[str], total: int) -> str:
    remedy = "or leave such images out: skip_damaged=True"
    if len(damaged) == 1:
        return f"An image will not decode: {damaged[0]}. Replace it, {remedy}."
    shown_here = ", ".join(damaged[:NAMED]) + (f" and {len(damaged) - NAMED} more" if len(damaged) > NAMED else "")
    return f"{len(damaged)} of {total:,} images will not decode: {shown_here}. Replace them, {remedy}."


class _Writer:
    """One split's images at one size, written block by block; `digest` is the hash of their pixels, `shape` that of an image."""

    def __init__(self, path: Path, count: int, shape: tuple | None):
        self.path, self.count, self.shape = path, count, shape  # `shape` is what the images of the splits before have
        self.digest, self.block, self.written = hashlib.sha256(), [], 0

    def __enter__(self) -> "_Writer":
        self.file = open(self.path, "wb")
        return self

    def add(self, where: str, pixels: np.ndarray) -> None:
        self.shape = self.shape or pixels.shape
        if pixels.shape != self.shape or self.shape[1] != self.shape[2]:
            sizes = f"{pixels.shape[2]} x {pixels.shape[1]}" + (
                "" if pixels.shape == self.shape else f", not {self.shape[2]} x {self.shape[1]} like those before"
            )
            raise DataError(f"{where} is {sizes}. Images of several sizes, or not square, need image_size=... to be brought to one.")
        self.block.append(pixels)
        if len(self.block) == ROWS:
            self._flush()

    def _flush(self) -> None:
        if self.block:
            if self.written == 0:
                _write_header(self.file, (self.count, *self.shape))
            block = np.ascontiguousarray(np.stack(self.block))
            self.digest.update(block)
            self.file.write(block)
            self.written, self.block = self.written + len(block), []

    def __exit__(self, kind, *_) -> None:
        try:
            if kind is None and self.shape is not None:
                self._flush()
                self.file.seek(0)
                _write_header(self.file, (self.written, *self.shape))  # for images left out: numpy pads, so the length may change in place
                self.file.flush()
                os.fsync(self.file.fileno())
        finally:
            self.file.close()


def _write_header(file, shape: tuple) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
