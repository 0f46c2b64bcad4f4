import numpy as np
import pytest
from scipy import stats

from helpers.core.errors import UserError
from helpers.judging import looks
from helpers.judging.claims import Claim, Part, at_look, judge, judge_parts
from helpers.judging.evidence import sharing
from helpers.judging.statistics import made, paired_values


def test_levels_hold_the_whole_of_a_campaign():
    """On draws of their own: a true margin is crossed at any look in at most 5 %, and three seeds keep most of it."""
    draws = np.random.default_rng(11).standard_normal((20_000, looks.MOST))
    crossed = np.zeros(len(draws), dtype=bool)
    for seeds in range(3, looks.MOST + 1):
        some = draws[:, :seeds]
        p = 2 * stats.t.sf(np.abs(some.mean(axis=1)) / (some.std(axis=1, ddof=1) / seeds**0.5), seeds - 1)
        crossed |= p < looks.alpha(3, seeds)
        if seeds == 3:
            assert crossed.mean() == pytest.approx(0.03, abs=0.004)
    assert 0.045 <= crossed.mean() <= 0.054


@pytest.mark.parametrize("count", [4, 20])
def test_comparisons_that_share_a_level_share_it_over_all_looks(count):
    """So many true margins, any of which may be crossed at any look: together in no more than 5 %, by the tails of one of them."""
    rng, paths, total, squares = np.random.default_rng(1), 1_000_000, 0.0, 0.0
    crossed = np.zeros(paths, dtype=bool)
    for seeds in range(1, looks.MOST + 1):
        values = rng.standard_normal(paths)
        total, squares = total + values, squares + values**2
        if seeds >= 3:
            t = np.abs(total) / np.sqrt(seeds * (squares - total**2 / seeds) / (seeds - 1))
            crossed |= t > stats.t.isf(looks.alpha(3, seeds) / 2 / sharing(0.97, count), seeds - 1)
    assert 0.04 <= count * crossed.mean() <= 0.053


def test_levels_by_first_look():
    assert looks.alpha(3, 3) == looks.alpha(5, 5) == looks.alpha(5, 4) == 0.03
    assert all(looks.alpha(3, n) < 0.012 for n in range(4, 21)) and looks.alpha(20, 20) == pytest.approx(0.05)
    for first, seeds in ((3, 21), (1, 3), (21, 21)):
        with pytest.raises(UserError, match="from 2 to 20 seeds"):
            looks.alpha(first, seeds)


def test_an_adaptive_study_judges_and_shows_at_the_level_of_its_look():
    claim = Claim("X", "s", "difference", 0.0, "", "")
    found = paired_values([1.0, 1.5, 2.2])  # p = 0.048
    assert found.low > 0 > found.at(0.97).low
    assert judge_parts(claim, [Part("x", found)])[0] == "supported"
    assert judge_parts(claim, at_look([Part("x", found), Part("y", None)], 3)[:1])[0] == "undecided"
    plain, adaptive = (judge(claim, lambda cells: [Part("x", found, ("r",))], None, "reduced", first) for first in (None, 3))
    assert (plain["verdict"], plain["level"], adaptive["verdict"], adaptive["level"]) == ("supported", 95, "undecided", pytest.approx(97))
    assert float(adaptive["p_for"]) == pytest.approx(float(plain["p_for"]) * 5 / 3, rel=0.01) and float(adaptive["p_for"]) > 0.05
    assert adaptive["low"] == pytest.approx(found.at(0.97).low) and adaptive["needs"] >= 3


def test_chance_of_a_later_verdict_by_simulation():
    """Today's three seeds are given; what the further ones say is drawn about a true mean that is drawn about today's."""
    today, rng, level = made(1.0, 4.0, 0.0, 3), np.random.default_rng(0), 0.01
    truth = 1.0 + (4 / 3) ** 0.5 * rng.standard_t(2, 20_000)
    means = (3 * 1.0 + 7 * (truth + (4 / 7) ** 0.5 * rng.standard_normal(20_000))) / 10
    reach = stats.t.ppf(1 - level / 2, 9) * 0.4**0.5
    assert looks.chance("difference", 0.0, today, 10, level) == pytest.approx(np.mean(np.abs(means) > reach), abs=0.03)


def test_futile_is_what_the_images_or_a_settled_margin_forbid():
    assert not looks.futile("difference", 0.0, made(1.0, 4.0, 0.01, 3), 3)
    assert looks.futile("difference", 0.0, made(0.1, 4.0, 4.0, 3), 3)  # the images' noise stays
    assert looks.futile("difference", 0.0, made(0.0, 1.0, 0.0, 19), 3)
    assert not looks.futile("equivalence", 2.0, made(0.0, 1.0, 0.0, 3), 3) and looks.futile("equivalence", 2.0, made(2.0, 0.01, 1.0, 3), 3)
