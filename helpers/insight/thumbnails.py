"""Pictures small enough for a record, and where to put them on a map of the feature space."""

import io
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from helpers.core.errors import UserError

QUALITY = 90  # of the JPEG that keeps pictures: a 64-px one takes about 2 kB where its pixels take 12


def thumbnails(images, side: int = 24) -> np.ndarray:
    """uint8 [n, side, side, 3] of images uint8 [n, 3, H, W]: the layout that matplotlib and PIL draw."""
    images = torch.as_tensor(np.ascontiguousarray(images) if isinstance(images, np.ndarray) else images)
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise UserError(f"Thumbnails are made of uint8 images [n, 3, H, W]; these are {images.dtype} {tuple(images.shape)}.")
    small = F.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
    return small.round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()


def montage(pictures: np.ndarray, columns: int, gap: int = 2) -> np.ndarray:
    """One picture uint8 [H, W, 3] of pictures [n, h, w, 3] in rows of `columns`, on white."""
    count, height, width, _ = pictures.shape
    rows = -(-count // columns)
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for place, picture in enumerate(pictures):
        top, left = (place // columns) * (height + gap), (place % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def keep(pictures: np.ndarray) -> np.ndarray:
    """Square pictures uint8 [n, s, s, 3], or maps in [0, 1] [n, s, s], as the bytes of one JPEG: an array that a record can hold."""
    from PIL import Image

    pictures = np.asarray(pictures)
    if pictures.ndim not in (3, 4) or pictures.shape[1] != pictures.shape[2] or not len(pictures):
        raise UserError(f"Pictures to keep are square, [n, s, s, 3] or [n, s, s], and at least one; these are {pictures.shape}.")
    if pictures.dtype != np.uint8:
        pictures = np.rint(255 * np.clip(pictures.astype(np.float32), 0, 1)).astype(np.uint8)
    strip = pictures.reshape(-1, *pictures.shape[2:])
    data = io.BytesIO()
    Image.fromarray(strip).save(data, "JPEG", quality=QUALITY, subsampling=0)
    return np.frombuffer(data.getvalue(), np.uint8)


def kept(data: np.ndarray) -> np.ndarray:
    """What `keep` was given, but for JPEG's losses: pictures uint8 [n, s, s, 3], or maps uint8 [n, s, s]."""
    from PIL import Image

    strip = np.asarray(Image.open(io.BytesIO(np.asarray(data).tobytes())))
    return strip.reshape(-1, strip.shape[1], *strip.shape[1:])


class Layout(NamedTuple):
    """Which images to draw on a map, where their middles go, and how wide the place of each is, all in the map's units."""

    rows: np.ndarray
    positions: np.ndarray
    width: float


def thumbnail_layout(points, count: int) -> Layout:
    """At most `count` images that do not overlap: the map is cut into squares, and each shows the image nearest to its middle.

    The grid is the finest that fills no more than `count` squares. Images sit in the middle of their square, so each is at most
    half a square's diagonal from where it belongs.
    """
    points = np.asarray(points, dtype=np.float64)
    if len(points) == 0 or count < 1:
        raise UserError(f"A map needs at least one point and one thumbnail: there are {len(points)} points, {count} thumbnails.")
    low = points.min(0)
    extent = float((points - low).max()) or 1.0
    for across in range(int(np.ceil(np.sqrt(count))) * 4, 0, -1):
        width = extent / across
        cells = np.minimum(((points - low) / width).astype(np.int64), across - 1)
        filled, cell = np.unique(cells, axis=0, return_inverse=True)
        if len(filled) <= count:
            break
    middles = low + (filled + 0.5) * width
    away = np.square(points - middles[cell]).sum(1)
    order = np.lexsort((np.arange(len(points)), away, cell))
    rows = order[np.unique(cell[order], return_index=True)[1]]
    return Layout(rows, middles.astype(np.float32), width)
