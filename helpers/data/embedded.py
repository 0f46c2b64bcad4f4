"""The embedded dataset: shapes drawn by seeded code, a fair miniature of self-supervised learning that needs no download.

The shape is the class. Colour, polarity (light on dark or dark on light), position and scale are nuisances, the very ones that
SimCLR's views vary, and nothing else tells two images of a class apart; so raw pixels say little and a good method wins visibly.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from helpers.core.errors import UserError, unknown
from helpers.core.seeds import derive
from helpers.data.shapes import shape
from helpers.data.sources import Item, Opened, RawSplit, Source

OPTIONS = {
    "size": 32,
    "classes": 10,
    "train": 4000,
    "test": 1000,
    "seed": 0,
    "colour_means": False,
    "upright": True,
    "background": "plain",
    "seen": "front",
}
BACKGROUNDS = ("plain", "own")
SEEN = ("front", "above")
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
SUPERSAMPLE = 2

# Chosen so that pixels say little and the standard views undo each nuisance: more freedom of place lowers what raw pixels say; a
# wider arc of hues, which colour jitter cannot undo, lets the encoder tell images apart by colour and never learn the shape.
SCALES = (0.22, 0.42)  # half the shape's extent, in image widths
INSIDE = 0.35  # the share of that which stays inside the image at least
STRETCH = 0.2  # log of the widest aspect
DARK, LIGHT = (0.25, 0.42), (0.58, 0.75)  # lightness of the two sides
CHROMA = 0.35  # most saturated colour
HUES = (0.01, 0.13)  # from red to yellow, as turns
# Seen from above: some of a class's things lie about, each turned as it happens, smaller than one seen from the front.
COPIES = (2, 4)
SMALLER = (0.15, 0.25)
QUARTERS = np.array([[-0.25, -0.25], [-0.25, 0.25], [0.25, -0.25], [0.25, 0.25]])  # each copy lies near the middle of its own
ABOUT = 0.08
CHUNK = 4_000_000  # drawn points held at once: bounds the memory at any image size


def draw(
    count: int,
    *,
    size: int = 32,
    classes: int = 10,
    seed: int = 0,
    part: str = "train",
    colour_means: bool = False,
    upright: bool = True,
    background: str = "plain",
    seen: str = "front",
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images uint8 [n,3,s,s], labels int64 [n] and masks uint8 [n,s,s] (coverage by the shape, 0 to 255) of one part (split).

    colour_means: every class has its own hue. upright: one pose for all, else any rotation. background: "own" gives each image a
    pattern of its own (which an encoder will happily learn instead of the shape). seen: from the "front" one shape, from "above"
    several of the class, each turned any way, so that no side of the image is up.
    """
    for name, value, least in (("count", count, 1), ("size", size, 8), ("classes", classes, 1)):
        _check(name, value, least)
    if background not in BACKGROUNDS:
        raise unknown("background of the embedded dataset", background, BACKGROUNDS)
    if seen not in SEEN:
        raise unknown("side the embedded dataset is seen from", seen, SEEN)
    draws = np.random.default_rng(derive(seed, "embedded", part))
    labels = draws.permutation(np.arange(count) % classes).astype(np.int64)
    layers = [(_places(draws, count, upright), np.ones(count, dtype=bool))] if seen == "front" else _scattered(draws, count)
    front, back = _colours(draws, labels, classes, colour_means)
    masks = np.zeros((count, size, size), dtype=np.uint8)
    for place, there in layers:
        for label in range(classes):
            members = np.flatnonzero((labels == label) & there)
            for chosen in np.array_split(members, max(1, -(-len(members) * (size * SUPERSAMPLE) ** 2 // CHUNK))):
                if len(chosen):
                    masks[chosen] = np.maximum(masks[chosen], _coverage(shape(label)[1], size, place[chosen]))
    return _paint(draws, masks, front, back, background), labels, masks


def find(image_size: int | None, options: dict) -> tuple[Source, dict]:
    """The source of `load("embedded", ...)` and its options, completed with what was not given."""
    for option in options:
        if option not in OPTIONS:
            raise unknown("option of the embedded dataset", option, OPTIONS)
    if image_size is not None and options.get("size", image_size) != image_size:
        raise UserError(f"The embedded dataset was asked for image_size={image_size} and size={options['size']}: give one of them.")
    chosen = OPTIONS | options | ({} if image_size is None else {"size": image_size})
    for part in ("train", "test"):
        _check(part, chosen[part], 1)
    code = b"".join(Path(__file__).with_name(file).read_bytes() for file in ("embedded.py", "shapes.py"))
    return Source([hashlib.sha256(code).hexdigest()], lambda share: _open(**chosen)), chosen


def _open(train: int, test: int, **options) -> Opened:
    splits = {part: _split(part, count, options) for part, count in (("train", train), ("test", test))}
    classes = tuple(shape(label)[0] for label in range(options["classes"]))
    return Opened(splits, classes, "drawn by this project's code", "the project's own")


def _split(part: str, count: int, options: dict) -> RawSplit:
    images, labels, _ = draw(count, part=part, **options)

    def items() -> Iterator[Item]:
        return ((f"{part} image {number}", image) for number, image in enumerate(images.transpose(0, 2, 3, 1)))

    return RawSplit(count, labels, items)


def _check(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise UserError(f"The embedded dataset's {name} is {value!r}: give a whole number of at least {least}.")


def _scattered(draws: np.random.Generator, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each copy of the shape where it lies in every image, and in which images it is there."""
    copies = draws.integers(COPIES[0], COPIES[1] + 1, count)
    quarter = draws.permuted(np.tile(np.arange(len(QUARTERS)), (count, 1)), axis=1)
    layers = []
    for copy in range(COPIES[1]):
        scale = draws.uniform(*SMALLER, count)
        centre = QUARTERS[quarter[:, copy]].T + draws.uniform(-ABOUT, ABOUT, (2, count))
        layers.append((_laid(draws, scale, centre, upright=False), copy < copies))
    return layers


def _places(draws: np.random.Generator, count: int, upright: bool) -> np.ndarray:
    """Where each image's one shape lies."""
    scale = draws.uniform(*SCALES, count)
    centre = draws.uniform(-1, 1, (2, count)) * (0.5 - INSIDE * scale)
    return _laid(draws, scale, centre, upright)


def _laid(draws: np.random.Generator, scale: np.ndarray, centre: np.ndarray, upright: bool) -> np.ndarray:
    """From image to shape coordinates, float32 [n,6]: a 2 x 2 matrix and a shift."""
    count = len(scale)
    stretch = np.exp(draws.uniform(-STRETCH, STRETCH, count))  # what a random crop's aspect ratio does
    mirror = draws.choice((-1.0, 1.0), count)
    angle = np.zeros(count) if upright else draws.uniform(0, 2 * np.pi, count)
    wide, high = mirror * stretch / scale, 1 / (stretch * scale)
    matrix = np.stack([wide * np.cos(angle), wide * np.sin(angle), -high * np.sin(angle), high * np.cos(angle)])
    shift = -np.stack([matrix[0] * centre[0] + matrix[1] * centre[1], matrix[2] * centre[0] + matrix[3] * centre[1]])
    return np.concatenate([matrix, shift]).T.astype(np.float32)


def _coverage(distance, size: int, place: np.ndarray) -> np.ndarray:
    """How much of each pixel the shape covers, 0 to 255, for the images of one class."""
    fine = size * SUPERSAMPLE
    axis = (np.arange(fine, dtype=np.float32) + 0.5) / fine - 0.5
    xx, xy, yx, yy, x0, y0 = place.T[:, :, None, None]
    across, down = axis[None, None, :], axis[None, :, None]
    away = distance(xx * across + xy * down + x0, yx * across + yy * down + y0)
    # The edge ramps over one fine pixel, so that supersampling and distance together leave no visible steps.
    unit = fine / np.sqrt(np.abs(xx * yy - xy * yx))
    covered = np.clip(0.5 - away * unit, 0, 1).reshape(len(place), size, SUPERSAMPLE, size, SUPERSAMPLE)
    return np.rint(covered.mean(axis=(2, 4)) * 255).astype(np.uint8)


def _colours(draws: np.random.Generator, labels: np.ndarray, classes: int, colour_means: bool) -> tuple[np.ndarray, np.ndarray]:
    """A colour of the shape and one of the background for every image, never alike in lightness."""
    count = len(labels)
    dark, light = draws.uniform(*DARK, count), draws.uniform(*LIGHT, count)
    inverted = draws.random(count) < 0.5
    hues = draws.uniform(*HUES, (2, count))
    chroma = CHROMA * draws.uniform(0, 1, (2, count))
    if colour_means:
        hues[0], chroma[0] = labels / classes, CHROMA
    front = _tint(hues[0], chroma[0], np.where(inverted, dark, light))
    back = _tint(hues[1], chroma[1], np.where(inverted, light, dark))
    return front, back


def _tint(hue: np.ndarray, chroma: np.ndarray, lightness: np.ndarray) -> np.ndarray:
    """The colour [n,3] of a hue (in turns), moved to a lightness and kept within 0 to 1."""
    colour = chroma[:, None] * np.cos(2 * np.pi * (hue[:, None] - np.array([0, 1 / 3, 2 / 3])))
    return np.clip(colour + (lightness - colour @ LUMA)[:, None], 0, 1).astype(np.float32)


def _paint(draws: np.random.Generator, masks: np.ndarray, front: np.ndarray, back: np.ndarray, background: str) -> np.ndarray:
    count, size, _ = masks.shape
    images = np.empty((count, 3, size, size), dtype=np.uint8)
    for chosen in np.array_split(np.arange(count), max(1, -(-images.size // CHUNK))):
        cover = masks[chosen, None].astype(np.float32) / 255
        behind = back[chosen, :, None, None]
        if background == "own":
            behind = np.clip(behind + _pattern(draws, len(chosen), size), 0, 1)
        images[chosen] = np.rint((behind + cover * (front[chosen, :, None, None] - behind)) * 255).astype(np.uint8)
    return images


def _pattern(draws: np.random.Generator, count: int, size: int) -> np.ndarray:
    """A pattern of its own for each image: three waves of random direction, length and colour."""
    axis = np.arange(size, dtype=np.float32) / size
    total = np.zeros((count, 3, size, size), dtype=np.float32)
    for _ in range(3):
        along_x, along_y, phase = (2 * np.pi * draws.uniform(low, 4, (count, 1, 1)).astype(np.float32) for low in (-4, -4, 0))
        wave = np.sin(along_x * axis[None, None, :] + along_y * axis[None, :, None] + phase)
        total += wave[:, None] * draws.uniform(-0.12, 0.12, (count, 3, 1, 1)).astype(np.float32)
    return total
