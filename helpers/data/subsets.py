"""Seeded subsets: a share, a number, or so many of every class."""

import numpy as np
import torch

from helpers.core.errors import UserError
from helpers.core.seeds import generator


def subset(
    labels_or_n, *, fraction: float | None = None, per_class: int | None = None, count: int | None = None, seed: int = 0
) -> np.ndarray:
    """Sorted indices of a subset, stratified where labels are given.

    Each class is shuffled once per seed and a subset takes its beginning, so a larger subset of the same seed holds the smaller.
    """
    if sum(wish is not None for wish in (fraction, per_class, count)) != 1:
        raise UserError("subset() takes exactly one of fraction, per_class and count.")
    whole = isinstance(labels_or_n, int | np.integer)
    labels = np.zeros(labels_or_n, dtype=np.int64) if whole else np.asarray(labels_or_n)
    values, sizes = np.unique(labels, return_counts=True)
    if per_class is not None:
        if whole:
            raise UserError("subset(per_class=...) needs labels, and got only a number of images. Use count or fraction.")
        take = _of_every_class(values, sizes, per_class)
    else:
        take = _shares(sizes, _wanted(len(labels), fraction, count))
    chosen = [
        np.flatnonzero(labels == value)[torch.randperm(size, generator=generator("cpu", seed, "subset", int(value))).numpy()[:some]]
        for value, size, some in zip(values, sizes.tolist(), take, strict=True)
    ]
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def _wanted(total: int, fraction: float | None, count: int | None) -> int:
    if fraction is not None:
        if not 0 < fraction <= 1:
            raise UserError(f"subset(fraction={fraction!r}): give a share above 0 and up to 1.")
        return max(1, round(fraction * total))
    if not 1 <= count <= total:
        raise UserError(f"subset(count={count!r}): give a number from 1 to {total}, the images there are.")
    return count


def _of_every_class(values: np.ndarray, sizes: np.ndarray, per_class: int) -> list[int]:
    if per_class < 1 or per_class > sizes.min():
        least = sizes.argmin()
        raise UserError(f"subset(per_class={per_class!r}): give a number from 1 to {sizes[least]}, all that class {values[least]} has.")
    return [per_class] * len(values)


def _shares(sizes: np.ndarray, wanted: int) -> list[int]:
    """Split `wanted` over the classes in proportion; what rounding leaves goes to the largest remainders."""
    exact = sizes * (wanted / sizes.sum())
    take = np.floor(exact).astype(int)
    take[np.argsort(take - exact, kind="stable")[: wanted - take.sum()]] += 1
    return take.tolist()
