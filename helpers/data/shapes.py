"""Signed distances of the embedded dataset's shapes: negative inside, about one unit of value per unit of length.

Every shape takes coordinates x (right) and y (down) in which it fills the square from -1 to 1, and returns an array like them.
"""

from collections.abc import Callable

import numpy as np

from helpers.core.seeds import derive

Array = np.ndarray


def _box(x: Array, y: Array, half_width: float, half_height: float) -> Array:
    return np.maximum(np.abs(x) - half_width, np.abs(y) - half_height)


def _disc(x: Array, y: Array) -> Array:
    return np.hypot(x, y) - 0.9


def _cross(x: Array, y: Array) -> Array:
    return np.minimum(_box(x, y, 0.95, 0.28), _box(x, y, 0.28, 0.95))


def _triangle(x: Array, y: Array) -> Array:
    return np.maximum(0.894 * np.abs(x) - 0.447 * (y + 0.95), y - 0.85)


def _ring(x: Array, y: Array) -> Array:
    return np.abs(np.hypot(x, y) - 0.72) - 0.2


def _stripes(x: Array, y: Array) -> Array:
    return np.maximum(np.abs(np.mod(y + 0.35, 0.7) - 0.35) - 0.17, _box(x, y, 0.9, 0.9))


def _crescent(x: Array, y: Array) -> Array:
    return np.maximum(np.hypot(x, y) - 0.95, 0.75 - np.hypot(x - 0.45, y))


def _square(x: Array, y: Array) -> Array:
    return _box(x, y, 0.8, 0.8)


def _star(x: Array, y: Array) -> Array:
    radius, wedge = np.hypot(x, y), np.pi / 5
    angle = np.abs(np.mod(np.arctan2(x, -y) + wedge, 2 * wedge) - wedge)
    # One edge of the star, from a tip at angle 0 and radius 1 to a notch at angle `wedge` and radius 0.4.
    across, along = np.sin(wedge) * 0.4, 1 - np.cos(wedge) * 0.4
    return (radius * (np.sin(angle) * along + np.cos(angle) * across) - across) / np.hypot(across, along)


def _diamond_frame(x: Array, y: Array) -> Array:
    return np.abs(np.abs(x) + np.abs(y) - 0.78) * 0.707 - 0.15


def _checker(x: Array, y: Array) -> Array:
    # Three by three fields of 0.6: filled where the waves along x and y agree.
    across, down = np.abs(np.mod(x + 0.9, 1.2) - 0.6) - 0.3, np.abs(np.mod(y + 0.9, 1.2) - 0.6) - 0.3
    same = np.where(across * down > 0, -1, 1) * np.minimum(np.abs(across), np.abs(down))
    return np.maximum(same, _box(x, y, 0.9, 0.9))


def _hourglass(x: Array, y: Array) -> Array:
    return np.maximum(0.8 * np.abs(x) - 0.6 * np.abs(y) - 0.05, np.abs(y) - 0.85)


def _half_disc(x: Array, y: Array) -> Array:
    return np.maximum(np.hypot(x, y - 0.4) - 0.95, y - 0.4)


def _square_frame(x: Array, y: Array) -> Array:
    return np.abs(_box(x, y, 0.7, 0.7)) - 0.15


def _arrow(x: Array, y: Array) -> Array:
    head = np.maximum(0.707 * (np.abs(x) - (y + 0.95)), y)
    return np.minimum(head, _box(x, y - 0.4, 0.25, 0.5))


def _dots(x: Array, y: Array) -> Array:
    return np.hypot(np.abs(x) - 0.5, np.abs(y) - 0.5) - 0.32


def _letter_t(x: Array, y: Array) -> Array:
    return np.minimum(_box(x, y + 0.65, 0.9, 0.25), _box(x, y, 0.25, 0.9))


SHAPES: dict[str, Callable[[Array, Array], Array]] = {
    "disc": _disc,
    "cross": _cross,
    "triangle": _triangle,
    "ring": _ring,
    "stripes": _stripes,
    "crescent": _crescent,
    "hourglass": _hourglass,
    "star": _star,
    "diamond": _diamond_frame,
    "checker": _checker,
    "square": _square,
    "half-disc": _half_disc,
    "frame": _square_frame,
    "arrow": _arrow,
    "dots": _dots,
    "tee": _letter_t,
}


def _curve(index: int) -> Callable[[Array, Array], Array]:
    """A closed curve of its own for every index past the named shapes: a radius that waves with the angle."""
    draws = np.random.default_rng(derive("curve", index))
    waves, sizes, phases = draws.permutation(np.arange(2, 8))[:2], draws.uniform(0.12, 0.3, 2), draws.uniform(0, 2 * np.pi, 2)

    def distance(x: Array, y: Array) -> Array:
        angle, radius = np.arctan2(y, x), np.full_like(x, 0.65)
        for wave, size, phase in zip(waves, sizes, phases, strict=True):
            radius += np.float32(size) * np.cos(np.float32(wave) * angle + np.float32(phase))
        return (np.hypot(x, y) - radius) * 0.7

    return distance


def shape(index: int) -> tuple[str, Callable[[Array, Array], Array]]:
    """Name and signed distance of the index-th class; the named shapes first, then curves without end."""
    if index < len(SHAPES):
        return list(SHAPES.items())[index]
    return f"curve {index - len(SHAPES) + 1}", _curve(index)
