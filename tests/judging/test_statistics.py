import time

import numpy as np
import pytest
from scipy import stats

from helpers.judging.statistics import bootstrap_images, difference_of_groups, paired_difference, paired_values, resample_images, summary


def test_summary_is_the_t_interval():
    found = summary([80.0, 82.0, 84.0])
    low, high = stats.t.interval(0.95, 2, loc=82.0, scale=2 / 3**0.5)
    assert (found.mean, found.sd, found.n) == (82.0, 2.0, 3)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_summary_of_one_or_none_has_no_interval():
    assert summary([70.0]).low is None and summary([70.0]).high is None and summary([70.0]).mean == 70.0
    assert summary([]).n == 0 and summary([]).mean is None


def test_bootstrap_over_images_agrees_with_drawn_resamples():
    correct = np.arange(400) % 4 != 0  # 75 % right
    drawn = np.random.default_rng(1).choice(correct, (4000, 400)).mean(axis=1) * 100
    assert bootstrap_images(correct) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=0.6)
    assert bootstrap_images(np.ones(10, bool)) == (100.0, 100.0)


def test_resampled_images_have_the_moments_of_a_bootstrap():
    rng = np.random.default_rng(0)
    scores = (rng.random((2, 500)) < [[0.7], [0.4]]).astype(float)
    drawn = resample_images(scores, 8000, rng)
    assert drawn.mean(axis=0) == pytest.approx(scores.mean(axis=1), abs=0.002)
    assert np.cov(drawn.T) * 500 == pytest.approx(np.cov(scores, bias=True), abs=0.015)  # seeds share their images


def test_difference_knows_its_value_sign_and_constant():
    a, b = np.ones((3, 100), bool), np.zeros((3, 100), bool)
    b[:, :40] = True
    found = paired_difference(a, b)
    assert found.value == pytest.approx(60.0) and found.seeds == 3 and 45 < found.low < 60 < found.high < 75
    assert paired_difference(b, a).value == pytest.approx(-60.0)
    against = paired_difference(b, 78.75)
    assert against.value == pytest.approx(40 - 78.75) and against.low < against.value < against.high


def test_one_seed_leaves_the_images_interval():
    correct = np.random.default_rng(0).random(1000) < 0.8
    found = paired_difference(correct, 0.0, draws=4000)
    assert found.seeds == 1
    assert (found.low, found.high) == pytest.approx(bootstrap_images(correct), abs=0.4)


@pytest.mark.parametrize("seeds", [3, 4])
def test_interval_covers_the_truth(seeds):
    """Seeds differ by 2 points, the truth is 3 points: about 95 of 100 intervals must hold it, which the naive bootstrap misses."""
    rng, inside, trials = np.random.default_rng(5), 0, 200
    for trial in range(trials):
        shift = 0.03 + 0.02 * rng.standard_normal((seeds, 1))
        b = rng.random((seeds, 2000)) < 0.6
        a = rng.random((seeds, 2000)) < 0.6 + shift
        found = paired_difference(a, b, draws=400, seed=trial)
        inside += found.low <= 3 <= found.high
    assert 0.92 <= inside / trials <= 1.0


def test_more_disagreement_between_seeds_widens():
    rng = np.random.default_rng(0)
    b = rng.random((3, 2000)) < 0.6
    calm = paired_difference(rng.random((3, 2000)) < 0.7, b)
    wild = paired_difference(rng.random((3, 2000)) < np.array([[0.6], [0.7], [0.8]]), b)
    assert wild.high - wild.low > 2 * (calm.high - calm.low)


def test_same_seed_same_interval():
    a = np.random.default_rng(0).random((3, 200)) < 0.5
    assert paired_difference(a, 50.0, seed=1) == paired_difference(a, 50.0, seed=1) != paired_difference(a, 50.0, seed=2)


def test_fast_enough_for_a_notebook():
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 10_000)) < 0.8, rng.random((3, 10_000)) < 0.75
    started = time.perf_counter()
    paired_difference(a, b)
    assert time.perf_counter() - started < 0.5


def test_paired_values_and_groups():
    found = paired_values([3.0, 4.0, 5.0], [1.0, 1.0, 1.0])
    assert found.value == 3.0 and found.low == pytest.approx(3 - stats.t.ppf(0.975, 2) / 3**0.5)
    assert paired_values([2.0]).low is None
    groups = difference_of_groups(np.full((3, 50), 0.4), np.full((3, 150), 0.1))
    assert (groups.value, groups.low, groups.high) == pytest.approx((0.3, 0.3, 0.3))
