import pytest
from scipy import stats

from helpers.judging import looks
from helpers.judging.claims import Claim, Part, judge
from helpers.judging.price import MOST, Price, power, price, price_of_all
from helpers.judging.statistics import made


@pytest.mark.parametrize("seeds", [3, 8, 30])
def test_power_is_that_of_the_noncentral_t(seeds):
    found = made(1.0, 4.0, 0.0, 3)
    shift = 1.0 / (4.0 / seeds) ** 0.5
    expected = stats.nct.sf(stats.t.ppf(0.975, seeds - 1), seeds - 1, shift)
    assert power("difference", 0.0, found, seeds, 0.05) == pytest.approx(expected)
    assert power("difference", 2.0, found, seeds, 0.05) == pytest.approx(expected)  # as far below the margin
    assert power("equivalence", 0.0, found, seeds, 0.05) == pytest.approx(expected)  # outside: one end is enough
    within = made(0.0, 4.0, 0.0, 3)
    assert power("equivalence", 1.0, within, seeds, 0.05) == pytest.approx(max(0.0, 2 * expected - 1))  # inside: both ends


def test_without_spread_any_seed_decides():
    assert power("difference", 0.0, made(1.0, 0.0, 0.0, 3), 3, 0.05) == 1 and power("difference", 1.0, made(1.0, 0.0, 0.0, 3), 3, 0.05) == 0


def test_the_price_is_the_fewest_seeds_that_suffice():
    found = made(1.0, 1.0, 0.0, 3)
    asked = price("difference", 0.0, found)
    assert asked.images is None and asked.words() == f"{asked.seeds} seeds" and asked.seeds == 10  # t test, one deviation, 80 %
    assert power("difference", 0.0, found, asked.seeds, 0.05) >= 0.8 > power("difference", 0.0, found, asked.seeds - 1, 0.05)
    assert 20 >= price("difference", 0.0, found, lambda seeds: looks.alpha(3, seeds), most=20).seeds > asked.seeds
    assert price("difference", 2.0, found, family=10).seeds > asked.seeds == price("difference", 0.0, found, family=10).seeds


def test_no_number_of_seeds_where_the_images_speak_too_softly():
    found = made(1.0, 1.0, 1.0, 3)
    asked = price("difference", 0.0, found)
    assert asked.seeds is None and asked.images == pytest.approx((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) ** 2)
    assert asked.words() == "more than 100 seeds and 7.8 times the test images"
    far = price("difference", 0.0, made(0.1, 0.01, 1.0, 5))
    assert far.words() == "no number of seeds, and no test set of a like size: it lies too near the margin"
    more = made(1.0, 0.0, 1.0 / asked.images, 3)
    assert power("difference", 0.0, more, MOST, 0.05) == pytest.approx(0.8, abs=0.001)


def test_an_estimate_on_the_margin_needs_too_many():
    for found in (made(0.05, 4.0, 0.0, 3), made(0.0, 4.0, 0.0, 3), made(0.0, 4.0, 1.0, 3)):
        assert price("difference", 0.0, found) == Price(None) and price("difference", 0.0, found).words() == "more than 100 seeds"


def test_a_claim_needs_its_dearest_part_or_the_cheapest_that_speaks_against_it():
    near, far, against, on = (made(value, 1.0, 0.0, 3) for value in (0.7, 2.0, -0.9, 0.0))
    assert price_of_all("order", 0.0, [near, far]) == price("order", 0.0, near)
    assert price_of_all("order", 0.0, [near, against, far]) == price("order", 0.0, against, family=3)
    assert price_of_all("order", -0.01, [far, on]) == Price(None)
    assert price_of_all("order", 0.0, [far, made(0.1, 1.0, 1.0, 3), on]) == Price(None)


def row(*estimates, first=None, **more):
    parts = [Part("x", each, ("r",), **more) for each in estimates]
    return judge(Claim("X", "s", "difference", 0.0, "", ""), lambda cells: parts, None, "reduced", first)


def test_the_row_of_an_undecided_claim_says_what_it_would_take():
    assert (row(made(1.0, 1.0, 0.0, 3))["needs"], row(made(1.0, 1.0, 0.0, 3))["takes"]) == (10, "10 seeds")
    assert row(made(9.0, 1.0, 0.0, 3))["takes"] == ""  # decided
    assert row(made(1.0, 0.0, 1.0, 1))["needs"] == 3
    assert row(made(1.0, 1.0, 0.0, 3), lacking=("r2",))["takes"] == "" and row(None)["takes"] == ""
    assert row(made(0.1, 4.0, 4.0, 3), first=3)["takes"] == "hardly to be decided by 20 seeds"


def test_a_hopeless_part_is_enough_where_all_must_hold_but_not_where_one_may_contradict():
    hopeless, hopeful, against = made(0.1, 4.0, 4.0, 3), made(1.0, 1.0, 0.0, 3), made(-1.0, 1.0, 0.0, 3)
    assert row(hopeless, hopeful, first=3)["takes"] == "hardly to be decided by 20 seeds"
    assert row(hopeless, against, first=3)["needs"] == price("difference", 0.0, against.at(0.97), lambda n: looks.alpha(3, n), 2, 20).seeds
