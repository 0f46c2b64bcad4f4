"""What a reader hands to packing: the files a dataset consists of and, once opened, its splits image by image."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import compress, islice
from pathlib import Path

import numpy as np

from helpers.core.errors import DataError
from helpers.core.files import shown
from helpers.core.seeds import derive

# One image: where it came from (for errors), and its encoded bytes, its file, or its pixels as uint8 [h,w,3].
Item = tuple[str, bytes | Path | np.ndarray]

TEST_SHARE = 0.2  # of each class, where a dataset has no test split


@dataclass(frozen=True)
class RawSplit:
    """A split as it lies in its files: how many images, their labels (or None), and a function that reads them in order."""

    count: int
    labels: np.ndarray | None
    items: Callable[[], Iterator[Item]]

    def __post_init__(self):
        if self.labels is not None and len(self.labels) != self.count:
            raise DataError(f"{len(self.labels)} labels for {self.count} images: the dataset's files do not belong together.")


@dataclass(frozen=True)
class Opened:
    """A dataset ready to be packed."""

    splits: dict[str, RawSplit]
    classes: tuple[str, ...]
    source: str
    licence: str = "not stated"


@dataclass(frozen=True)
class Source:
    """A dataset that was found: a stamp that changes when its content does, and how to open it.

    open() takes the share of each class that becomes the test split where the dataset has none of its own."""

    stamp: list
    open: Callable[[float], Opened]


def stamp(files: list[Path], place: Path) -> list:
    """Where in the place each file lies, its size and time: what a pack made from them depends on."""
    facts = ((path, path.stat() if path.exists() else path.lstat()) for path in files)
    return [[path.relative_to(place).as_posix(), fact.st_size, fact.st_mtime_ns] for path, fact in facts]


def batched(items: Iterable, size: int) -> Iterator[list]:
    """Lists of up to `size` items."""
    items = iter(items)
    while some := list(islice(items, size)):
        yield some


def names_of_classes(labels: np.ndarray, names: tuple[str, ...] | None, where: Path) -> tuple[str, ...]:
    """The class names, numbers where none are given; labels that have no name are an error."""
    highest = int(labels.max(initial=-1))
    if labels.min(initial=0) < 0:
        raise DataError(f"{shown(where)} has negative labels among others. Put the images without a class into a split of their own.")
    if names is None:
        return tuple(str(label) for label in range(highest + 1))
    if highest >= len(names):
        raise DataError(f"{shown(where)} has label {highest}, but names only {len(names)} classes. Correct the labels or the class names.")
    return names


def with_test(splits: dict[str, RawSplit], share: float = TEST_SHARE) -> tuple[dict[str, RawSplit], str]:
    """The splits with a test split, and what was done to get one: a validation split renamed, or a share of each class held out."""
    splits = dict(splits)
    if "test" in splits or not splits:
        return splits, ""
    for other in ("validation", "valid", "val"):
        if other in splits and len(splits) > 1:
            splits["test"] = splits.pop(other)
            return splits, f"; its {other} split serves as test"
    whole = splits.get("train") if "train" in splits else next(iter(splits.values())) if len(splits) == 1 else None
    if whole is None or whole.labels is None or whole.count < 2:
        return splits, ""
    keep = _held_in(whole.labels, share)
    made = {"train": _part(whole, keep), "test": _part(whole, ~keep)}
    kept = {name: split for name, split in splits.items() if split is not whole}
    told = "fifth" if share == TEST_SHARE else f"{100 * share:g} %"
    return made | kept, f"; it has no test split, so a seeded {told} of each class serves as test"


def _held_in(labels: np.ndarray, share: float) -> np.ndarray:
    """True for the images that stay in train: a seeded part of each class, at least one either way where a class has two."""
    keep = np.zeros(len(labels), dtype=bool)
    draws = np.random.default_rng(derive(0, "split"))
    for label in np.unique(labels):
        members = draws.permutation(np.flatnonzero(labels == label))
        stay = round((1 - share) * len(members))
        keep[members[: max(1, min(stay, len(members) - 1))]] = True
    return keep


def _part(whole: RawSplit, keep: np.ndarray) -> RawSplit:
    return RawSplit(int(keep.sum()), whole.labels[keep], lambda: compress(whole.items(), keep))
