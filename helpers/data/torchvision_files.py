"""CIFAR-10, CIFAR-100 and STL-10 as torchvision lays them out. A file is checked against torchvision's own MD5 before it is read."""

import hashlib
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.core.errors import DataError
from helpers.core.files import shown
from helpers.data.sources import Item, Opened, RawSplit, Source, stamp

ROWS = 1000


@dataclass(frozen=True)
class Official:
    """A dataset torchvision knows: its class there (which holds the URL and every MD5), its folder, title and terms."""

    name: str
    folder: str
    title: str
    licence: str

    @property
    def reference(self) -> type:
        from torchvision import datasets  # here, because it takes seconds and 160 MB that most loads never need

        return getattr(datasets, self.name)

    @property
    def checksums(self) -> dict[str, str]:
        """MD5 by file name."""
        meta = getattr(self.reference, "meta", None)
        return dict([*self.reference.train_list, *self.reference.test_list]) | ({meta["filename"]: meta["md5"]} if meta else {})


CIFAR_TERMS = "no licence stated; cite Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images"
STL_TERMS = "no licence stated (images from ImageNet); cite Coates, Ng and Lee 2011"
OFFICIAL = {
    "cifar10": Official("CIFAR10", "cifar-10-batches-py", "CIFAR-10", CIFAR_TERMS),
    "cifar100": Official("CIFAR100", "cifar-100-python", "CIFAR-100", CIFAR_TERMS),
    "stl10": Official("STL10", "stl10_binary", "STL-10", STL_TERMS),
}


def command(name: str) -> str:
    """What to type to get the dataset."""
    return f"python -m helpers.data.download {name}"


def find(name: str, places: list[Path]) -> Source | None:
    """The dataset in torchvision's layout in the first of the places that has its folder."""
    official = OFFICIAL.get(name)
    folder = next((place / official.folder for place in places if (place / official.folder).is_dir()), None) if official else None
    if folder is None:
        return None
    files = sorted(path for path in folder.iterdir() if path.is_file())
    read = _open_stl10 if name == "stl10" else _open_cifar
    return Source(stamp(files, folder), lambda share: read(name, official, folder))


def checked(name: str, path: Path) -> Path:
    """The path, once it is there and has the MD5 torchvision knows for it."""
    if not path.is_file():
        raise DataError(f"{OFFICIAL[name].title} is incomplete: {_shown(path)} is missing. Get it again with: {command(name)}")
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if digest != OFFICIAL[name].checksums[path.name]:
        raise DataError(
            f"{_shown(path)} is truncated or damaged: its checksum is wrong. Delete its folder and get it again with: {command(name)}"
        )
    return path


def _shown(path: Path) -> str:
    """The file with its folder: file names alone (data_batch_1) say little."""
    return f"{shown(path.parent)}/{path.name}"


def _unpickle(name: str, path: Path) -> dict:
    """CIFAR's batches are pickles; only the very bytes the authors published are ever unpickled."""
    with open(checked(name, path), "rb") as file:
        return pickle.load(file, encoding="latin1")


def _open_cifar(name: str, official: Official, folder: Path) -> Opened:
    meta = official.reference.meta
    classes = tuple(_unpickle(name, folder / meta["filename"])[meta["key"]])
    batches = {
        "train": [folder / file for file, _ in official.reference.train_list],
        "test": [folder / file for file, _ in official.reference.test_list],
    }
    splits = {split: _cifar_split(name, files) for split, files in batches.items()}
    return Opened(splits, classes, f"{official.title}, official batches", official.licence)


def _cifar_split(name: str, files: list[Path]) -> RawSplit:
    labels = []
    for file in files:
        content = _unpickle(name, file)
        labels.append(np.array(content["labels"] if "labels" in content else content["fine_labels"], dtype=np.int64))

    def items() -> Iterator[Item]:
        for file in files:
            pixels = _unpickle(name, file)["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            yield from ((f"{file.name}, image {row}", image) for row, image in enumerate(pixels))

    return RawSplit(sum(map(len, labels)), np.concatenate(labels), items)


def _open_stl10(name: str, official: Official, folder: Path) -> Opened:
    names = folder / "class_names.txt"  # torchvision knows no checksum of this one
    if not names.is_file():
        raise DataError(f"{official.title} is incomplete: {_shown(names)} is missing. Get it again with: {command(name)}")
    classes = tuple(names.read_text().split())
    splits = {"train": _stl_split(name, folder / "train_X.bin", folder / "train_y.bin")}
    splits["test"] = _stl_split(name, folder / "test_X.bin", folder / "test_y.bin")
    if (folder / "unlabeled_X.bin").is_file():
        splits["unlabeled"] = _stl_split(name, folder / "unlabeled_X.bin", None)
    return Opened(splits, classes, f"{official.title}, official files", official.licence)


def _stl_split(name: str, images: Path, labels: Path | None) -> RawSplit:
    count = checked(name, images).stat().st_size // (3 * 96 * 96)
    numbers = None if labels is None else np.fromfile(checked(name, labels), dtype=np.uint8).astype(np.int64) - 1

    def items() -> Iterator[Item]:
        with open(images, "rb") as file:
            for first in range(0, count, ROWS):
                block = np.fromfile(file, dtype=np.uint8, count=min(ROWS, count - first) * 3 * 96 * 96)
                pixels = block.reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1)  # stored column by column
                yield from ((f"{images.name}, image {first + row}", image) for row, image in enumerate(pixels))

    return RawSplit(count, numbers, items)
