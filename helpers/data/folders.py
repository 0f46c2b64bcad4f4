"""A folder of class folders, with or without train and test folders above them."""

import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.core.errors import DataError
from helpers.data.sources import Item, Opened, RawSplit, Source, stamp, with_test

SPLITS = ("train", "test", "val", "valid", "validation", "unlabeled")
OTHER_SPLITS = ("training", "testing", "dev", "eval", "evaluation", "trainset", "testset")  # what people call them besides
# What PIL opens and is no picture, or only a frame around one that it cannot read.
NO_PICTURES = ("HDF5", "GRIB", "BUFR", "MPEG", "EPS", "WMF", "PDF", "FITS")


def find(name: str, places: list[Path]) -> Source | None:
    """The dataset as a folder of class folders in the place of its name."""
    for place in places:
        files = _files(place)
        if files:
            return Source(stamp(files, place), lambda share, place=place, files=files: _open(name, place, files, share))
    return None


def _files(place: Path) -> list[Path]:
    """Every image file at least one folder below the place, in a fixed order; hidden files and folders do not count."""
    if not place.is_dir():
        return []
    endings = {ending for ending, kind in Image.registered_extensions().items() if kind in Image.OPEN and kind not in NO_PICTURES}
    found, seen = [], set()
    for folder, below, names in os.walk(place, followlinks=True):  # a class folder may be a link to where the images lie
        here = os.path.realpath(folder)
        below[:] = [] if here in seen else sorted(name for name in below if not _hidden(name))
        if here not in seen and Path(folder) != place:
            # A link that leads nowhere stays: an image that cannot be read is to be named, not passed over.
            found += [Path(folder, name) for name in names if not _hidden(name) and Path(name).suffix.lower() in endings]
        seen.add(here)
    return sorted(found)


def _hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


def _open(name: str, place: Path, files: list[Path], share: float) -> Opened:
    by_split: dict[str, list[Path]] = {}
    has_splits = (place / "train").is_dir()
    tops = {path.relative_to(place).parts[0] for path in files}
    if not has_splits and len(tops) > 1 and {top.casefold() for top in tops} <= {*SPLITS, *OTHER_SPLITS}:
        raise DataError(
            f"The folders of {name}/ ({_listed(sorted(tops))}) look like splits, and would be taken for classes. Call them train/ and test/."
        )
    for path in files:
        top = path.relative_to(place).parts[0]
        if has_splits and top not in SPLITS:
            raise DataError(
                f"The folder {name}/ has train/ beside {top}/, which is no split ({', '.join(SPLITS)}). Move the folder {top}/ away."
            )
        by_split.setdefault(top if has_splits else "train", []).append(path)
    roots = {split: place / split if has_splits else place for split in by_split}
    labelled = [_class(path, roots[split]) for split, paths in by_split.items() if split != "unlabeled" for path in paths]
    classes = tuple(sorted(set(labelled)))
    if has_splits and (unknown := sorted(set(classes) - {_class(path, roots["train"]) for path in by_split["train"]})):
        raise DataError(f"{name}/ tests classes that train/ has no image of: {_listed(unknown)}. Put some there, or take the class out.")
    _check(name, place, files, set(roots.values()))
    splits, note = with_test({split: _split(place, roots[split], paths, classes, split) for split, paths in by_split.items()}, share)
    return Opened(splits, classes, f"images in {name}/, one folder a class{note}")


def _check(name: str, place: Path, files: list[Path], roots: Iterable[Path]) -> None:
    """Classes without an image and pictures that are there twice: nobody means them, and they would spoil a split unseen."""
    full = {path.relative_to(root).parts[0] for root in roots for path in files if root in path.parents}
    loops = {link.name for root in roots for link in root.iterdir() if link.is_symlink() and link.resolve() in (root, *root.parents)}
    empty = sorted({folder.name for root in roots for folder in root.iterdir() if folder.is_dir() and folder.name not in full})
    if empty := [folder for folder in empty if not _hidden(folder) and folder not in loops]:
        raise DataError(f"{name}/ has class folders without an image: {_listed(empty)}. Put images there or remove the folders.")
    alike: dict[str, set[str]] = {}
    for folder in full:
        alike.setdefault(_plain(folder), set()).add(folder)
    if twice := [sorted(names) for names in alike.values() if len(names) > 1]:
        raise DataError(f"{name}/ has class folders that differ in letters' case or coding alone: {_listed(twice[0])}. Make them one.")
    seen: dict[tuple[Path, str], Path] = {}
    for path in files:
        other = seen.setdefault((path.parent, _plain(path.stem)), path)
        if other is not path:
            where = path.relative_to(place).parent
            raise DataError(
                f"Two files of one name in {name}/{where}/: {other.name} and {path.name}. The same picture twice could end up in train "
                "and in test. Remove one of them, or give it a name of its own."
            )


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _class(path: Path, root: Path) -> str:
    names = path.relative_to(root).parts
    if len(names) < 2:
        raise DataError(f"{root.name}/{path.name} lies in no class folder. Move it into the folder of its class, or away.")
    return names[0]


def _split(place: Path, root: Path, paths: list[Path], classes: tuple[str, ...], split: str) -> RawSplit:
    numbers = {name: number for number, name in enumerate(classes)}
    labels = None if split == "unlabeled" else np.array([numbers[_class(path, root)] for path in paths], dtype=np.int64)

    def items() -> Iterator[Item]:
        return ((f"{place.name}/{path.relative_to(place)}", path) for path in paths)

    return RawSplit(len(paths), labels, items)
