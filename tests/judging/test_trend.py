from types import SimpleNamespace

import numpy as np
import pytest

from helpers.judging.trend import trend, words

LABELS = np.zeros(100, np.uint8)


def record(rights, epochs=(2, 4, 6, 8), readout="linear"):
    way = np.stack([np.where(np.arange(100) < right, 0, 1) for right in rights]).astype(np.uint8)
    return SimpleNamespace(arrays={"labels": LABELS, f"{readout}.on_the_way": way, f"{readout}.epochs": np.array(epochs, np.uint16)})


def test_the_difference_at_a_quarter_a_half_and_the_end():
    rows = [[record((30, 40, 0, 60)), record((35, 38, 0, 50))], [record((32, 42, 0, 62)), record((37, 40, 0, 52))]]
    assert trend(rows, (1.0, -1.0), "linear") == ((0.25, pytest.approx(-5)), (0.5, pytest.approx(2)), (1.0, pytest.approx(10)))
    assert trend([[row[0]] for row in rows], (1.0,), "linear", 30.0)[0] == (0.25, pytest.approx(1))


def test_runs_that_were_not_read_at_every_share_have_no_trend():
    whole = record((30, 40, 50, 60))
    assert trend([[whole, record((30, 60), (4, 8))]], (1.0, -1.0), "linear") == ()  # nothing near a quarter
    assert trend([[whole]], (1.0,), "knn10") == () and trend([[whole, SimpleNamespace(arrays={})]], (1.0, -1.0), "linear") == ()
    assert [share for share, _ in trend([[record((1, 2, 3, 4, 5), (1, 2, 3, 4, 5))]], (1.0,), "linear")] == [0.25, 0.5, 1.0]  # the nearest


def test_a_reversal_is_said_with_the_place_after_which_it_holds_no_more():
    rising = ((0.25, -1.0), (0.5, 0.2), (1.0, 2.0))
    assert words(rising, 0.0, "difference") == "-1.00 → 0.20 → 2.00, reverses after 0.25 of the length"
    assert words(rising, 0.5, "order").endswith("reverses after 0.5 of the length") and "reverses" not in words(rising, -2.0, "difference")
    assert "reverses" in words(((0.25, 3.0), (0.5, 1.0), (1.0, 0.5)), 2.0, "equivalence") and words((), 0.0, "difference") == ""


def test_a_trend_is_of_the_images_that_the_verdict_is_of():
    rows = [[record((30, 40, 0, 61)), record((35, 38, 0, 50))]]
    odd = slice(1, None, 2)
    right = [(np.arange(100) < right)[odd].mean() for right in (61, 50)]
    ends = trend(rows, (1.0, -1.0), "linear", images=odd)[-1]
    assert ends == (1.0, pytest.approx(100 * (right[0] - right[1]))) and ends != trend(rows, (1.0, -1.0), "linear")[-1]
