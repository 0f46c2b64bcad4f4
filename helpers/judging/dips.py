"""Dips of a training curve and spikes of a gradient norm: whether a run was unstable, what that cost it, and where it began.

The rule was fixed on simulated curves alone, by what calm ones need, and is made never to flag a calm run. So it
overlooks much. Of forty readings it finds every dip of 30 noises, nine in ten of 20 and half of 15; where it is told on how many images
they were taken, and the curve is calmer than chance makes those, every one of 12 and nearly all of 10. Of twenty readings it finds nine in ten of 40 noises. Ten show little: a
dip of several readings is then half of what bends the curve and is taken for its noise, and so is a rise that bends much. A curve that
wanders, each reading near the last, seems calmer than it is.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from helpers.core.errors import UserError

READINGS_NEEDED = 8  # fewer do not say what their noise is
SMALLEST = 1e-3  # points: no test set tells less apart, and so rounding is no dip
DEVIATION = 1.4826  # of a normal distribution, over the median of how far its values lie from the middle
# The best of many readings lies above their level by luck alone, and the noise of few may seem small by luck. Flat curves of nothing but
# normal noise need the most, as a rise hides both. Of 200,000 for each of 14 lengths from 8 to 60 readings one in ten thousand falls
# below its best by 6.4 to 7.4 noises where the noise is known. Where k second differences tell it, one in ten thousand of any length
# falls by about 8 (1 + 16 / k). With some margin these are 8 and 20: of no length are more than 1.3 in ten thousand flagged.
# Where it is known on how many images each reading was taken, the noise cannot seem smaller than chance makes it, and less is needed: of
# 40,000 flat curves of 10 to 40 readings one or none falls so far where the noise is no larger than that, as it is where all readings are
# of the same images; where it is half as large again, 4 in ten thousand (10 readings) to 34 (40).
THRESHOLD, LUCK = 8.0, 20.0
KNOWN_THRESHOLD, KNOWN_LUCK = 7.0, 6.0
BACK = 4.0  # noises below the best before: that best is lucky by some two, and a reading at its level may lie two below
WINDOW = 80  # steps that say what a norm usually is, of which half have to be known
SPIKE = 6.0  # deviations above it: of 8,000 simulated series of 800 steps two hold a spike by chance, with a window of 60 eighteen
CALM = 3.0  # deviations: a spike is over where it is less
STEADY = 0.1  # of the logarithm, never less for its deviation: a spike is at least 1.8 times the usual, and a slow rise is none
REACH = 10  # steps that two spikes of one event may lie apart: some more than what is reported between first and last layers


@dataclass(frozen=True)
class Dip:
    """A stretch of a curve that lies far below the best before it, by the indices of its readings."""

    since: int  # the reading that was best before it, the last of these if there are several
    at: int  # its lowest
    until: int | None  # the first that is back within the noise of the best before; None: it never came back
    depth: float  # points below the best before, at the lowest


def noise(curve, images: int | None = None) -> float:
    """The deviation of one reading in points: from how the curve bends, and no less than what chance makes of so many test images."""
    return _deviation(_read(curve)[0], images)


def dips(curve, images: int | None = None) -> list[Dip]:
    """Where the curve falls below its best by more than THRESHOLD noises, in order. One dip lasts until the curve is back."""
    values, places = _read(curve)
    found = []
    for first, until in _falls(values, images):
        before = values[:first]
        since, at = int(np.flatnonzero(before == before.max())[-1]), first + int(values[first:until].argmin())
        back = None if until is None else int(places[until])
        found.append(Dip(int(places[since]), int(places[at]), back, float(values[since] - values[at])))
    return found


def deepest(curve, images: int | None = None) -> float:
    """The depth of the deepest dip, 0 where there is none."""
    return max((dip.depth for dip in dips(curve, images)), default=0.0)


def area_lost(curve, images: int | None = None) -> float:
    """Points of accuracy that dips cost, averaged over all readings: how far those within dips lie below the best before."""
    values, _ = _read(curve)
    below = _below(values)
    return float(sum(below[first:until].sum() for first, until in _falls(values, images)) / len(values))


def spikes(norms) -> list[int]:
    """The steps at which a gradient norm leaves what it was in the last WINDOW steps; it counts once until it is back.

    The logarithm is compared with its own trailing median and deviation, so that a norm that drifts with the rate stays calm; while it
    drifts, as in a warm-up, a spike has to be larger to be seen. A step without a norm, as of a frozen layer, is no spike and tells
    nothing of what is usual.
    """
    norms = np.asarray(norms, dtype=float)
    known = np.isfinite(norms) & (norms > 0)
    logs = np.log(norms, out=np.full(len(norms), np.nan), where=known)
    before = np.lib.stride_tricks.sliding_window_view(np.concatenate([np.full(WINDOW, np.nan), logs]), WINDOW)[: len(logs)]
    judged = known & (np.isfinite(before).sum(axis=1) >= WINDOW / 2)
    if not judged.any():
        return []
    usual = np.nanmedian(before[judged], axis=1)
    deviation = DEVIATION * np.nanmedian(np.abs(before[judged] - usual[:, None]), axis=1)
    above = np.full(len(logs), np.nan)  # which is neither a spike nor the end of one
    above[judged] = (logs[judged] - usual) / np.maximum(deviation, STEADY)
    return [first for first, _ in _events(above > SPIKE, above < CALM)]


def lag(first, other) -> tuple[float | None, int]:
    """By how many steps the norm `other` spikes after the norm `first`, in the median of their common spikes, and how many these are.

    Two spikes are common where each is the other's nearest and they lie within REACH steps. (None, 0) where there is no such pair."""
    one, two = np.array(spikes(first)), np.array(spikes(other))
    if not len(one) or not len(two):
        return None, 0
    apart = two[None, :] - one[:, None]
    nearest, back = np.abs(apart).argmin(axis=1), np.abs(apart).argmin(axis=0)
    lags = [apart[i, j] for i, j in enumerate(nearest) if back[j] == i and abs(apart[i, j]) <= REACH]
    return (float(np.median(lags)), len(lags)) if lags else (None, 0)


def _read(curve) -> tuple[np.ndarray, np.ndarray]:
    """The readings that were taken, and their indices in the given curve."""
    values = np.asarray(curve, dtype=float)
    places = np.flatnonzero(np.isfinite(values))
    if len(places) < READINGS_NEEDED:
        raise UserError(
            f"A curve of {len(places)} readings does not say whether it dips: {READINGS_NEEDED} are needed. "
            "Lower probe_every or raise epochs."
        )
    return values[places], places


def _deviation(values: np.ndarray, images: int | None, luck: float = 0.0) -> float:
    """The noise of one reading; with luck, as large as it may be where the readings make it seem small.

    Second differences leave a steady rise alone, so they are measured from zero and not from their own median, which for few readings
    follows them and makes the noise too small.
    """
    bends = np.abs(np.diff(values, 2))
    scatter = DEVIATION * np.median(bends) / 6**0.5  # 1, -2, 1: the squares add up to six
    middle = min(max(float(np.median(values)), 0.0), 100.0)
    chance = (middle * (100 - middle) / images) ** 0.5 if images else 0.0
    return max(float(scatter) * (1 + luck / len(bends)), chance, SMALLEST)


def _below(values: np.ndarray) -> np.ndarray:
    """Points below the best so far."""
    return np.maximum.accumulate(values) - values


def _falls(values: np.ndarray, images: int | None) -> list[tuple[int, int | None]]:
    """(first reading within, first one after) of each dip, among the readings that were taken."""
    below, (threshold, luck) = _below(values), (KNOWN_THRESHOLD, KNOWN_LUCK) if images else (THRESHOLD, LUCK)
    return _events(below > threshold * _deviation(values, images, luck), below <= BACK * _deviation(values, images))


def _events(begins: Iterable, ends: Iterable) -> list[tuple[int, int | None]]:
    """(begin, end) of each event: it goes on until it ends, and what begins within it is part of it. No end is None."""
    found, begun = [], None
    for place, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        if begun is None and begin:
            begun = place
        elif begun is not None and end:
            found.append((begun, place))
            begun = None
    return found if begun is None else [*found, (begun, None)]
