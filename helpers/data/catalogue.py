"""Datasets by name: where each is looked for, and what is said when it is not there."""

import re
from pathlib import Path

from helpers.core.errors import DataError, UserError, unknown
from helpers.core.files import data_dir, shown
from helpers.data import embedded, folders, packing, parquet, torchvision_files
from helpers.data.dataset import Dataset
from helpers.data.sources import Source

DATASETS = ("embedded", *torchvision_files.OFFICIAL)
# Datasets of the studies that nobody may download for you: where their authors share them.
ELSEWHERE = {"aid": "https://captain-whu.github.io/AID/ (its 30 class folders go there as they are)"}


def load(
    name: str,
    *,
    root: Path | str | None = None,
    image_size: int | None = None,
    options: dict | None = None,
    test_share: float | None = None,
    skip_damaged: bool = False,
) -> Dataset:
    """The dataset by its name, packed on first use: one of DATASETS, or any folder of DATA_DIR (or of `root`).

    Looked for in this order: our pack, torchvision's layout, a folder of class folders, Parquet. `image_size` resizes at packing,
    `options` go to the embedded dataset's drawing, `test_share` is what becomes the test split of a dataset without one (a fifth
    where it is left out), `skip_damaged` leaves out images that will not decode.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UserError(f"{name!r} is no dataset name: use letters, digits, dots, dashes and underscores, the name of a folder.")
    if image_size is not None and image_size < 1:
        raise UserError(f"image_size is {image_size}: give at least 1, or leave it out to keep the images' own size.")
    if name == "embedded":
        source, options = embedded.find(image_size, options or {})
        return packing.packed(name, source, [{"image_size": options["size"], "options": options}], skip_damaged)[0]
    if options:
        raise UserError(f"Only the embedded dataset takes options; {name!r} was given {', '.join(sorted(options))}.")
    home = data_dir() if root is None else Path(root).expanduser()
    request = request_of(image_size, test_share)
    source = _find(name, home)
    if source is not None:
        return packing.packed(name, source, [request], skip_damaged)[0]
    pack = packing.kept(name, request, skip_damaged) if root is None else None
    if pack is None:
        raise _missing(name, home)
    return pack


def request_of(image_size: int | None, test_share: float | None) -> dict:
    """What is asked of a dataset's files, as packs are known by it."""
    if test_share is not None and not 0 < test_share < 1:
        raise UserError(f"test_share is {test_share!r}: give a share above 0 and below 1.")
    return {"image_size": image_size, "options": {}} | ({} if test_share is None else {"test_share": test_share})


def _find(name: str, home: Path) -> Source | None:
    place = home / name
    return torchvision_files.find(name, [place, home]) or folders.find(name, [place]) or parquet.find(name, [place])


def present(name: str) -> None:
    """An error that says what to do, unless DATA_DIR holds this dataset's files."""
    if _find(name, data_dir()) is None:
        raise _missing(name, data_dir())


def _missing(name: str, home: Path) -> Exception:
    looked = f"Looked in {shown(home)}/{name} (DATA_DIR) for torchvision's layout, class folders with images, and Parquet files"
    if name in DATASETS:
        return DataError(f"Dataset {name!r} is not here. {looked}. Get it with: {torchvision_files.command(name)}")
    if name in ELSEWHERE and not (home / name).is_dir():
        return DataError(f"Dataset {name!r} is not here. {looked}. Its authors share it at {ELSEWHERE[name]}.")
    if (home / name).is_dir():
        return DataError(f"The folder of dataset {name!r} holds nothing that can be read. {looked}. Put one of these there.")
    others = [path.name for path in home.iterdir() if path.is_dir() and not path.name.startswith(".")] if home.is_dir() else []
    return UserError(
        f"{unknown('dataset', name, sorted({*DATASETS, *others}))} {looked}; put your own images there to use them by this name."
    )
