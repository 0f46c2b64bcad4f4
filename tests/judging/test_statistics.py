import time

import numpy as np
import pytest
from scipy import stats

from helpers.judging.statistics import (
    bootstrap_images,
    difference_of_groups,
    made,
    of_draws,
    paired_difference,
    paired_values,
    resample_images,
    summary,
)


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
    assert found.value == pytest.approx(60.0) and found.seeds == 3 and found.low < 60 < found.high
    assert paired_difference(b, a).value == pytest.approx(-60.0)
    against = paired_difference(b, 78.75)
    assert against.value == pytest.approx(40 - 78.75) and against.low < against.value < against.high


def test_one_seed_leaves_the_images_interval():
    correct = np.random.default_rng(0).random(1000) < 0.8
    found = paired_difference(correct, 0.0)
    assert found.seeds == 1
    assert (found.low, found.high) == pytest.approx(bootstrap_images(correct), abs=0.4)


def test_it_is_the_analysis_of_variance_with_two_crossed_factors():
    scores = np.random.default_rng(0).random((4, 50)) + np.arange(4)[:, None] + np.random.default_rng(1).random(50)
    mean, n, m = scores.mean(), *scores.shape
    seeds, images = scores.mean(axis=1) - mean, scores.mean(axis=0) - mean
    rest = scores - mean - seeds[:, None] - images
    msa, msb = m * (seeds**2).sum() / (n - 1), n * (images**2).sum() / (m - 1)
    mse = (rest**2).sum() / (n - 1) / (m - 1)
    found = paired_difference(scores / 100, 0.0)
    assert found.value == pytest.approx(mean) and found.seeds == 4
    assert (found.by_seed, found.by_images) == pytest.approx((msa / m, (msb - mse) / (n * m)))
    assert found.error**2 == pytest.approx(msa / (n * m) + (msb - mse) / (n * m))
    r = (msb - mse) / msa
    reach = stats.t.ppf(0.975, 3 * (1 + r / 4 + r**2 / 2)) * found.error
    assert (found.low, found.high) == pytest.approx((mean - reach, mean + reach))


def test_bootstrapped_images_give_the_same_components_as_scores():
    rng = np.random.default_rng(0)
    scores = (rng.random((4, 2000)) < 0.4 + 0.4 * (rng.random(2000) < 0.5)).astype(float)
    direct = paired_difference(scores / 100, 0.0)
    drawn = of_draws(scores.mean(axis=1), resample_images(scores, 8000, rng))
    assert (drawn.value, drawn.by_seed) == pytest.approx((direct.value, direct.by_seed))
    assert drawn.by_images == pytest.approx(direct.by_images, rel=0.05) and drawn.error == pytest.approx(direct.error, rel=0.03)


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_scores_that_are_all_alike_have_an_interval_of_no_width(seeds):
    found = paired_difference(np.ones((seeds, 50)), np.zeros((seeds, 50)))
    assert (found.low, found.value, found.high) == (100, 100, 100) and found.above(99) == 0 and found.above(100) == found.below(99) == 1
    moved = paired_difference(np.array([[1.0] * 50, [0.5] * 50, [0.0] * 50]), 0.0)  # seeds alone differ
    assert moved.by_images == 0 and (moved.low, moved.high) == pytest.approx(stats.t.interval(0.95, 2, 50, 50 / 3**0.5))
    images = paired_difference(np.tile(np.arange(50) % 2, (3, 1)), 0.0)  # images alone differ
    assert images.by_seed == 0 and (images.low, images.high) == pytest.approx(stats.norm.interval(0.95, 50, 50 / 49**0.5))


def test_images_that_speak_against_each_other_add_nothing():
    scores = np.array([[1.0, 0.0] * 50, [0.0, 1.0] * 50, [1.0, 0.0] * 50])
    found = paired_difference(scores, 0.0)
    assert found.by_images == 0 and found.error == 0


def test_another_level_and_its_p_value_belong_together():
    found = made(2.0, 3.0, 0.5, 4)
    assert found.error == pytest.approx(1.25**0.5) and found.freedom == pytest.approx(3 * (1 + 1 / 6 + 2 / 9))
    assert found.at(0.8).freedom == found.freedom > found.at(0.99).freedom > 3
    for level in (0.8, 0.95, 0.99):
        other = found.at(level)
        assert other.level == level and other.above(other.low) == pytest.approx((1 - level) / 2, rel=1e-3) == pytest.approx(
            other.below(other.high), rel=1e-3
        )
    assert found.at(0.99).low < found.low and found.at(0.95) == found
    assert paired_values([2.0]).above(0) == 1 and paired_values([2.0]).at(0.9).low is None


@pytest.mark.parametrize("seeds", [3, 5, 12])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_interval_covers_the_truth(seeds, share):
    """Integrated over the distribution of the seeds' part: between 94 and 96 % whatever the seeds' share of the variance is."""
    chi = stats.chi2.ppf((np.arange(500) + 0.5) / 500, seeds - 1) / (seeds - 1)
    covered = 0.0
    for factor in chi:
        found = made(0.0, share * factor * seeds, 1 - share, seeds)
        covered += 1 - 2 * stats.norm.sf(found.high)
    assert 0.945 <= covered / len(chi) <= 0.96


@pytest.mark.parametrize("tail", [0.01, 0.001])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9, 1.0])
def test_three_seeds_miss_no_more_than_said_far_out(tail, share):
    """The same at the levels of families and of looks, where an r that is large by luck would miss several times as much."""
    chi = stats.chi2.ppf((np.arange(4000) + 0.5) / 4000, 2) / 2
    missed = np.mean([2 * stats.norm.sf(made(0.0, share * factor * 3, 1 - share, 3).at(1 - tail).high) for factor in chi])
    assert missed <= 1.03 * tail


def test_more_disagreement_between_seeds_widens():
    rng = np.random.default_rng(0)
    b = rng.random((3, 2000)) < 0.6
    calm = paired_difference(rng.random((3, 2000)) < 0.7, b)
    wild = paired_difference(rng.random((3, 2000)) < np.array([[0.6], [0.7], [0.8]]), b)
    assert wild.high - wild.low > 2 * (calm.high - calm.low)


def test_fast_enough_for_a_notebook():
    rng = np.random.default_rng(0)
    a, b = rng.random((3, 10_000)) < 0.8, rng.random((3, 10_000)) < 0.75
    started = time.process_time()  # of a core, as the machine may have more to do
    paired_difference(a, b)
    assert time.process_time() - started < 0.5


def test_paired_values_and_groups():
    found = paired_values([3.0, 4.0, 5.0], [1.0, 1.0, 1.0])
    assert found.value == 3.0 and found.low == pytest.approx(3 - stats.t.ppf(0.975, 2) / 3**0.5)
    assert paired_values([2.0]).low is None
    groups = difference_of_groups(np.full((3, 50), 0.4), np.full((3, 150), 0.1))
    assert (groups.value, groups.low, groups.high) == pytest.approx((0.3, 0.3, 0.3))
