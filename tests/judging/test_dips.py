import numpy as np
import pandas as pd
import pytest

from helpers.core.errors import UserError
from helpers.judging import dips as rule
from helpers.judging.dips import Dip, area_lost, deepest, dips, lag, noise, spikes

SHAPES = {
    "saturating": lambda t: 20 + 60 * (1 - np.exp(-4 * t)),
    "nearly linear": lambda t: 20 + 50 * t + 5 * t**2,
    "logarithmic": lambda t: 30 + 40 * np.log1p(20 * t) / np.log(21),
    "flat": lambda t: 60 + 0 * t,
}
SIZES = (0.2, 0.5, 1.0, 2.0)  # points of noise


def rise(name: str, readings: int) -> np.ndarray:
    return SHAPES[name](np.linspace(0, 1, readings))


def series(rng, steps=800, spread=0.3, drift=True):
    """A gradient norm of log-normal noise, with or without a warm-up and a cosine decay."""
    step = np.arange(steps)
    warm = 0.2 + 0.8 * np.minimum(1, (step + 1) / 80)
    decay = 0.1 + 0.9 * np.where(step < 80, 1, (1 + np.cos(np.pi * (step - 80) / (steps - 80))) / 2)
    return np.exp(spread * rng.normal(size=steps)) * (warm * decay if drift else 1)


def spiked(seed, places, steps=800, wide=3):
    """The same, quiet, with spikes of eight times its size, which are seen in the drift of a warm-up too."""
    norms = series(np.random.default_rng(seed), steps, 0.05)
    for place in places:
        norms[place : place + wide] *= 8
    return norms


@pytest.mark.parametrize("images", [None, 2000])
@pytest.mark.parametrize("readings", [10, 20, 40])
@pytest.mark.parametrize("name", SHAPES)
def test_none_of_two_hundred_calm_curves_of_each_kind_is_flagged(name, readings, images):
    rng = np.random.default_rng([list(SHAPES).index(name), readings])
    for size in SIZES if images is None else SIZES[:3]:  # no larger than chance makes of so many
        curves = rise(name, readings) + size * rng.normal(size=(200, readings))
        assert sum(bool(dips(curve, images)) for curve in curves) == 0, size


def test_of_flat_curves_no_more_are_flagged_than_is_said():
    """These need the most: about one of ten thousand. Of four thousand three or more would be worse than chance makes of that."""
    rng = np.random.default_rng(0)
    for readings in (8, 13, 40):
        assert sum(bool(dips(60 + rng.normal(size=readings))) for _ in range(4000)) <= 2, readings


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("since, wide", [(9, 1), (19, 3), (30, 5)])
def test_a_planted_dip_is_found_where_it_is(name, since, wide):
    size = 0.2
    curve = rise(name, 40) + size * np.random.default_rng(since).normal(size=40)
    best = int(curve[: since + 1].argmax())
    curve[since + 1 : since + 1 + wide] = rise(name, 40)[since] - 15
    curve[since + 1] -= 1  # the lowest
    (found,) = dips(curve)
    assert (found.since, found.at, found.until) == (best, since + 1, since + 1 + wide)
    assert found.depth == pytest.approx(16, abs=4 * size) and found.depth == pytest.approx(curve[best] - curve[since + 1])
    assert deepest(curve) == found.depth


def test_a_fall_at_the_end_never_comes_back_and_two_dips_are_two():
    clean = rise("saturating", 40)
    curve = clean + 0.2 * np.random.default_rng(1).normal(size=40)
    curve[34:] -= np.linspace(20, 25, 6)
    (found,) = dips(curve)
    assert found.at == 39 and found.until is None and found.since == int(curve[:34].argmax())

    curve[34:] = clean[34:]
    curve[[15, 16]] -= (10, 8)
    curve[[25, 26]] -= (20, 12)
    first, second = dips(curve)
    assert (first.at, first.until, second.at, second.until) == (15, 17, 25, 27)
    assert deepest(curve) == second.depth > first.depth


def test_a_dip_that_nearly_recovers_is_still_one():
    curve = np.full(40, 60.0)
    curve[20:26] = [50, 50, 54, 58.9, 50, 50]  # with 10,000 images a noise is half a point, and four are not two
    assert [(dip.at, dip.until) for dip in dips(curve, 10000)] == [(20, 23), (24, 26)]
    curve[23] = 57  # below what one comes back to
    assert [(dip.at, dip.until) for dip in dips(curve, 10000)] == [(20, 26)]


def shares(depths, images=None, wobble=1.0, draws=200):
    """The share of dips three readings wide, so many noises deep, that are found among forty readings of a saturating rise."""
    rng, clean, found = np.random.default_rng(2), rise("saturating", 40), []
    size = noise(np.full(40, np.median(clean)), images) if images else 0.5
    for depth in depths:
        hits = 0
        for _ in range(draws):
            place, curve = int(rng.integers(15, 36)), clean + wobble * size * rng.normal(size=40)
            curve[place : place + 3] -= depth * size
            hits += any(place <= dip.at < place + 3 for dip in dips(curve, images))
        found.append(hits / draws)
    return found


def test_deeper_dips_are_found_more_often_and_deep_ones_always():
    by_curve = shares((3, 6, 10, 15, 20, 30, 40))
    assert by_curve == sorted(by_curve) and by_curve[0] == 0
    assert by_curve[2] < 0.3 and 0.4 < by_curve[3] < 0.9 < by_curve[4] and by_curve[5:] == [1, 1], by_curve


def test_where_the_images_make_the_noise_twelve_of_it_are_always_found():
    by_images = shares((3, 6, 10, 12, 15), images=2000, wobble=0.5)
    assert by_images == sorted(by_images) and by_images[0] == 0 and by_images[2] > 0.95 and by_images[3:] == [1, 1], by_images


def test_ten_readings_show_a_fall_and_no_dip_of_several():
    curve = 60 + 0.2 * np.random.default_rng(7).normal(size=10)
    fallen, dipped = curve.copy(), curve.copy()
    fallen[8:] -= 30
    dipped[4:6] -= 30
    assert [(dip.at >= 8, dip.until) for dip in dips(fallen)] == [(True, None)]
    assert dips(dipped) == [] and noise(dipped) > 20 * noise(curve)


@pytest.mark.parametrize("wide, depth", [(1, 10.0), (4, 7.5), (10, 30.0)])
def test_the_area_of_a_rectangle(wide, depth):
    curve = np.full(40, 60.0)
    assert area_lost(curve) == deepest(curve) == 0.0 and dips(curve) == []
    curve[12 : 12 + wide] -= depth
    assert area_lost(curve) == pytest.approx(wide * depth / 40)
    assert dips(curve) == [Dip(11, 12, 12 + wide, depth)]
    curve[30:] -= depth
    assert area_lost(curve) == pytest.approx((wide + 10) * depth / 40)


def test_only_what_lies_in_a_dip_is_lost():
    curve = rise("flat", 40) + np.random.default_rng(3).normal(size=40)
    assert (np.maximum.accumulate(curve) - curve).mean() > 1 and area_lost(curve) == 0.0


def test_two_hundred_calm_series_hold_at_most_two_spikes():
    rng = np.random.default_rng(4)
    for drift in (True, False):
        for spread in (0.1, 0.4):
            assert sum(len(spikes(series(rng, spread=spread, drift=drift))) for _ in range(200)) <= 2


def test_planted_spikes_are_found_at_the_very_step():
    for seed in range(20):
        places = sorted(np.random.default_rng(seed).choice(np.arange(100, 780, 60), 4, replace=False).tolist())
        assert spikes(spiked(seed, places)) == places
        assert spikes(spiked(seed, places, wide=15)) == places  # one event, however long


def test_a_norm_that_goes_up_for_good_is_one_event_and_drift_is_none():
    norms = spiked(0, ())
    assert spikes(norms) == []
    norms[300:] *= 5
    assert spikes(norms) == [300]
    assert spikes(np.exp(np.concatenate([np.zeros(200), np.linspace(0, 3, 300), np.full(300, 3.0)]))) == []  # without any noise


def test_a_spike_goes_on_until_the_norm_is_calm():
    norms = np.ones(400)
    norms[[300, 301, 306]] = 8
    assert spikes(norms) == [300, 306]
    norms[302:306] = np.exp(0.45)  # four and a half deviations: less than a spike, and not calm
    assert spikes(norms) == [300]


def test_a_frozen_layer_has_no_spikes_and_its_release_is_none():
    norms = spiked(1, (400,))
    norms[:200] = 0
    assert spikes(norms) == [400]
    norms[[390, 395, 401]] = np.nan, np.inf, 0
    assert spikes(norms) == [400]
    assert spikes(np.zeros(800)) == spikes([float("nan")] * 800) == spikes([]) == spikes([1.0, 9.0]) == []


@pytest.mark.parametrize("steps", [3, 0, -2])
def test_the_lag_of_planted_spikes(steps):
    places = np.array([120, 250, 400, 600, 700])
    assert lag(spiked(2, places), spiked(3, places + steps)) == (steps, 5)


def test_the_lag_is_the_median_of_the_pairs_and_each_spike_is_in_one():
    first, other = spiked(2, (120, 250, 400, 600)), spiked(3, (122, 259, 403, 650))
    assert lag(first, other) == (3, 3) and lag(other, first) == (-3, 3)
    twice = spiked(3, (245, 252), wide=1)
    assert lag(spiked(2, (250,)), twice) == (2, 1) and lag(twice, spiked(2, (250,))) == (-2, 1)  # the nearer of two


def test_nothing_in_common_has_no_lag():
    norms = spiked(2, (120, 400))
    assert lag(norms, spiked(3, (131, 600))) == (None, 0) and lag(norms, spiked(3, (130, 600))) == (10, 1)
    assert lag(norms, np.zeros(800)) == lag(np.zeros(800), norms) == lag(norms, spiked(3, ())) == (None, 0)


def test_epochs_that_were_not_read_are_left_out_and_the_places_stay():
    values = rise("saturating", 40) + 0.2 * np.random.default_rng(5).normal(size=40)
    values[20:22] -= 20
    spread_out = np.full(120, np.nan)
    spread_out[2::3] = values
    (dense,), (sparse,) = dips(values), dips(spread_out)
    assert sparse == Dip(3 * dense.since + 2, 3 * dense.at + 2, 3 * dense.until + 2, dense.depth)
    assert noise(spread_out) == noise(values) and area_lost(spread_out) == area_lost(values) > 0
    assert dips(pd.Series(spread_out)) == dips(spread_out.tolist()) == [sparse]
    assert spikes(pd.Series(spiked(0, (200,)))) == spikes(spiked(0, (200,)).tolist()) == [200]


@pytest.mark.parametrize("ask", [noise, dips, deepest, area_lost])
def test_too_few_readings_are_an_error_that_says_what_to_change(ask):
    with pytest.raises(UserError, match="7 readings.*8 are needed.*probe_every.*epochs"):
        ask([50.0] * 7 + [float("nan")] * 5)
    assert ask([50.0] * 8) in (rule.SMALLEST, [], 0.0)


def test_the_noise_is_that_of_the_readings_and_no_less_than_chance():
    rng = np.random.default_rng(6)
    for size in SIZES:  # a steady rise adds nothing to it, and a few dips little
        curve = np.linspace(10, 90, 400) + size * rng.normal(size=400)
        assert noise(curve) == pytest.approx(size, rel=0.15)
        curve[[50, 150, 250]] -= 40
        assert noise(curve) == pytest.approx(size, rel=0.15)
    smooth = np.linspace(30, 50, 21)
    assert noise(smooth, images=1000) == pytest.approx((40 * 60 / 1000) ** 0.5)
    assert noise(smooth) == noise([100.0] * 20, images=1000) == rule.SMALLEST
    assert noise(smooth + 5 * rng.normal(size=21), images=1000) > 2
