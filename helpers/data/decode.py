"""Encoded images to uint8 pixels, in a pool of threads: PIL lets go of the interpreter while it decodes."""

import io
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from helpers.data.sources import Item, batched

CHUNK = 32


def pixels(content: bytes | Path | np.ndarray, size: int | None) -> np.ndarray:
    """One image as uint8 [3,h,w]. With a size: the centre square, resized to it (PIL, bilinear, antialiased)."""
    if isinstance(content, np.ndarray):
        if size is None or content.shape[:2] == (size, size):
            return content.transpose(2, 0, 1)
        image = Image.fromarray(np.ascontiguousarray(content))
    else:
        image = Image.open(content if isinstance(content, Path) else io.BytesIO(content))
        if size is not None:
            image.draft("RGB", (2 * size, 2 * size))  # a large JPEG is decoded at a fraction of its size
    if image.mode.startswith("I"):  # 16 bits of grey: PIL's own conversion would clip them to white
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    image = image.convert("RGB")
    if size is not None and image.size != (size, size):
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    return np.asarray(image).transpose(2, 0, 1)


def decoded(items: Iterable[Item], size: int | None) -> Iterator[tuple[str, np.ndarray | str]]:
    """Where each image came from and its pixels, or why it would not decode; in order, with a bounded number in memory."""
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        for chunk in batched(items, CHUNK):
            waiting.append(pool.submit(_decode, chunk, size))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _decode(chunk: Iterable[Item], size: int | None) -> list[tuple[str, np.ndarray | str]]:
    results: list = []
    for where, content in chunk:
        try:
            results.append((where, pixels(content, size)))
        except Exception as error:  # PIL's plugins raise nearly anything on damaged files
            results.append((where, _why(error)))
    return results


def _why(error: Exception) -> str:
    """The reason without the machine's folders, which PIL's and the system's own words may hold."""
    if isinstance(error, UnidentifiedImageError):
        return "no image format that PIL knows"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
