"""Subsets: as large as asked, stratified, nested, seeded."""

import numpy as np
import pytest

from helpers.core.errors import UserError
from helpers.data import subset

LABELS = np.repeat(np.arange(5), [100, 50, 40, 7, 3])


def test_sizes_and_shares():
    assert len(subset(LABELS, count=37)) == 37
    chosen = subset(LABELS, fraction=0.1)
    assert len(chosen) == 20 and np.bincount(LABELS[chosen]).tolist()[:3] == [10, 5, 4]
    assert np.bincount(LABELS[subset(LABELS, per_class=3)]).tolist() == [3] * 5
    assert subset(LABELS, fraction=1.0).tolist() == list(range(200))
    assert len(subset(1000, fraction=0.25)) == 250


def test_sorted_without_repeats_seeded_and_nested():
    small, large = subset(LABELS, per_class=1, seed=7), subset(LABELS, per_class=3, seed=7)
    assert set(small) < set(large)
    assert (np.diff(large) > 0).all() and large.dtype == np.int64
    assert (subset(5000, count=500) == subset(5000, count=500)).all()
    assert (subset(5000, count=500) != subset(5000, count=500, seed=1)).any()
    assert set(subset(5000, count=50)) < set(subset(5000, count=500))


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({}, "exactly one"),
        ({"count": 1, "fraction": 0.5}, "exactly one"),
        ({"fraction": 0}, "above 0"),
        ({"count": 201}, "200"),
        ({"per_class": 4}, "class 4"),
    ],
)
def test_impossible_wishes(wish, says):
    with pytest.raises(UserError, match=says):
        subset(LABELS, **wish)
    with pytest.raises(UserError):
        subset(200, per_class=2)
