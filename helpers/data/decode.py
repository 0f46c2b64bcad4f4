"""Encoded images to uint8 pixels, in a pool of threads: PIL lets go of the interpreter while it decodes."""

import io
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from helpers.data.sources import Item, batched

CHUNK = 32
FOURTH = ("RGBA", "RGBX", "RGBa")  # modes of PIL with a band beyond red, green and blue
LARGEST = 3 * 10**8  # pixels of an image: PIL's own limit of 1.8 * 10**8 guards against files of strangers, these are the user's
COARSE = 256  # a large JPEG is decoded at a fraction of its size, never below this: one decoding then serves all sizes up to half of it
SAMPLES, PLANES, EXTRA, BITS = 277, 284, 338, 258  # tags of TIFF
DARK = 4096  # 16 bits of which only the lower 12 are used would leave next to nothing in the upper 8


@dataclass(frozen=True)
class Decoded:
    """One image: where it came from, its pixels uint8 [3,h,w] at each size asked for (none if it would not decode, and why), and
    whether it had a fourth band, which is left out; `side` is the shorter one of the image as it came."""

    where: str
    pixels: tuple[np.ndarray, ...] = ()
    why: str = ""
    fourth: bool = False
    side: int = 0


def pixels(content: bytes | Path | np.ndarray, size: int | None) -> np.ndarray:
    """One image as uint8 [3,h,w]. With a size: the centre square, resized to it (PIL, bilinear, antialiased)."""
    return _at_sizes(content, [size])[0][0]


def decoded(items: Iterable[Item], sizes: Sequence[int | None]) -> Iterator[Decoded]:
    """The images in order, each read once for all sizes, with a bounded number in memory."""
    workers = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque = deque()
        for chunk in batched(items, CHUNK):
            waiting.append(pool.submit(_decode, chunk, sizes))
            if len(waiting) > 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _decode(chunk: Iterable[Item], sizes: Sequence[int | None]) -> list[Decoded]:
    results = []
    for where, content in chunk:
        try:
            found, fourth, side = _at_sizes(content, sizes)
            results.append(Decoded(where, tuple(found), fourth=fourth, side=side))
        except Exception as error:  # PIL's plugins raise nearly anything on damaged files
            results.append(Decoded(where, why=_why(error)))
    return results


def _at_sizes(content: bytes | Path | np.ndarray, sizes: Sequence[int | None]) -> tuple[list[np.ndarray], bool, int]:
    """The pixels at each size, each as if it alone had been asked for; whether there was a fourth band; the shorter side."""
    if isinstance(content, np.ndarray):
        return [_squared(content, size) for size in sizes], False, min(content.shape[:2])
    stored = content.read_bytes() if isinstance(content, Path) else content
    image = _open(stored)
    side, fourth = min(image.size), _fourth(image)
    if not isinstance(image, JpegImageFile):
        whole = _coloured(image)
        return [_squared(whole, size) for size in sizes], fourth, side
    found, coarse = [], {}
    for size in sizes:
        wish = None if size is None else max(COARSE, 2 * size)
        if wish not in coarse:
            image = _open(stored)
            if wish is not None:
                image.draft("RGB", (wish, wish))
            coarse[wish] = _coloured(image)
        found.append(_squared(coarse[wish], size))
    return found, fourth, side


def _open(stored: bytes) -> Image.Image:
    Image.MAX_IMAGE_PIXELS = LARGEST
    return Image.open(io.BytesIO(stored))


def _fourth(image: Image.Image) -> bool:
    """Whether there is a band beyond red, green and blue. TIFF tells by a tag, whatever PIL makes of the band."""
    if isinstance(image, TiffImageFile):
        samples, planes, bits = image.tag_v2.get(SAMPLES, 1), image.tag_v2.get(PLANES, 1), image.tag_v2.get(BITS, (8,))
        if samples > 1 and planes == 2 and max(bits) > 8:
            raise ValueError("its 16-bit bands lie one after the other, which cannot be read; save it with bands interleaved by pixel")
        return samples > 3 and image.mode != "CMYK"
    return image.mode in FOURTH


def _coloured(image: Image.Image) -> Image.Image:
    """In red, green and blue of 8 bits each; of 16 bits the upper 8, of four bands the first three as they are."""
    if image.mode == "F":
        raise ValueError("it holds floating-point numbers; save it with 8 or 16 bits a band")
    if image.mode.startswith("I"):  # whole numbers of grey: PIL's own conversion would clip them to white
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError("it holds numbers beyond 16 bits; save it with 8 or 16 bits a band")
        if 0 < values.max() < DARK:
            raise ValueError(f"its 16 bits go up to {values.max()} only and would be nearly black; scale it to all 16 bits, or save 8")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode in FOURTH:
        return Image.fromarray(np.ascontiguousarray(np.asarray(image)[:, :, :3]))
    return image.convert("RGB")


def _squared(image: Image.Image | np.ndarray, size: int | None) -> np.ndarray:
    if isinstance(image, np.ndarray):
        if size is None or image.shape[:2] == (size, size):
            return image.transpose(2, 0, 1)
        image = Image.fromarray(np.ascontiguousarray(image))
    if size is not None and image.size != (size, size):
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    return np.asarray(image).transpose(2, 0, 1)


def _why(error: Exception) -> str:
    """The reason without the machine's folders, which PIL's and the system's own words may hold."""
    if isinstance(error, UnidentifiedImageError):
        return "no image format that PIL knows, or a TIFF of other bands than grey, or red, green, blue and one more"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
