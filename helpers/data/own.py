"""A folder of the user's own, wherever it lies: packed at all sizes in one pass, and from then on known by a name."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from helpers.core.errors import DataError
from helpers.core.files import shown, slug
from helpers.data import folders, packing, parquet
from helpers.data.catalogue import request_of
from helpers.data.dataset import Dataset


def adopt(folder: str | Path, sizes: Sequence[int], *, test_share: float | None = None, skip_damaged: bool = False) -> list[Dataset]:
    """The folder's images at each size: class folders, with or without train/ and test/ above them, or Parquet files.

    Their name holds the folder's own and a digest of its files' names, sizes and times: load(name) finds the packs in any process,
    a folder that changed is another dataset, and no record ever knows where on this machine it lay.
    """
    place = Path(folder).expanduser().resolve()
    if not place.is_dir():
        raise DataError(f"data_dir: there is no folder {place.name!r} in {shown(place.parent)}/. Give the path of a folder of class folders.")
    source = folders.find(place.name, [place]) or parquet.find(place.name, [place])
    if source is None:
        raise DataError(
            f"data_dir: {place.name}/ holds no class folders with images and no Parquet files. Put the images of each class into a "
            "folder of its own, named as the class."
        )
    requests = [request_of(size, test_share) for size in sizes]
    return packing.packed(f"{slug(place.name)}-{_digest(source.stamp)}", source, requests, skip_damaged)


def _digest(stamp: list) -> str:
    return hashlib.sha256(json.dumps(stamp).encode()).hexdigest()[:8]
