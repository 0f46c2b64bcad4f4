import numpy as np
import pytest

from helpers.core.files import REPOSITORY
from helpers.judging import coverage
from helpers.judging.coverage import PLANTED, World, bootstrap_reach, campaigns, intervals
from helpers.judging.statistics import crossed, of_images
from helpers.pages import coverage_page
from helpers.pages.blocks import read_table

COMMITTED = REPOSITORY / "results" / "judging"


@pytest.mark.parametrize("shared", [0.0, 0.6])
def test_drawn_scores_are_what_the_table_says(shared):
    world, rng = World(1.0, shared), np.random.default_rng(0)
    draws = np.array([world.draw(3, rng) for _ in range(600)])
    assert 100 * draws.mean() == pytest.approx(world.difference, abs=0.2)
    found = [crossed(100 * each.mean(axis=1), of_images(100 * each)) for each in draws]
    images = np.mean([each.by_images for each in found])
    assert images == pytest.approx(0, abs=0.1) if not shared else images > 0.5
    alone = 100**2 * (0.7 * 0.3 + 0.67 * 0.33) / coverage.IMAGES
    assert np.mean([each.by_seed for each in found]) + images == pytest.approx(2 * alone, rel=0.1)  # seeds' deviation equals the images'


def test_the_former_interval_counted_the_images_twice():
    scores = 100 * World(0.0, 0.0).draw(20, np.random.default_rng(0))
    points, covariance = scores.mean(axis=1), of_images(scores)
    now = crossed(points, covariance)
    assert bootstrap_reach(points, covariance) / (now.high - now.value) == pytest.approx(2**0.5, rel=0.15)


def test_a_few_rows_once_more():
    """The committed table against some of its rows simulated again, within four Monte Carlo errors of both."""
    held = read_table(COMMITTED / "coverage.csv").set_index(["seeds", "seeds beside images", "images from seed to seed"])
    few = intervals(250, [("equal", "alike"), ("none", "anew")], (3, 8))
    for row in few.itertuples(index=False):
        there = held.loc[tuple(row[:3])]
        assert abs(there["covers (%)"] - row[3]) < 4 * (row[-1] + there["± (%)"]), row
        assert row[4] == pytest.approx(there["width"], rel=0.15)
    assert len(held) == 48 and held["covers (%)"].between(94, 96.5).all()


def test_a_planted_margin_is_seldom_decided_and_a_planted_truth_is_found():
    ended = read_table(COMMITTED / "campaigns.csv")
    margin = ended[ended["deviations away"] == 0]
    assert len(margin) == 10 and (margin["wrong (%)"] <= 5 + 2 * margin["± (%)"]).all() and margin["wrong (%)"].mean() <= 5
    assert (ended.loc[ended["deviations away"] >= 2, "found (%)"] >= 95).all()
    few = campaigns(60, [PLANTED[6], PLANTED[-2]])
    assert few.loc[0, "wrong (%)"] <= 16 and few.loc[1, "found (%)"] >= 90 and few.loc[1, "mean seeds"] < 9


def test_the_page_and_its_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    assert "make coverage" in coverage_page.sentence()
    tables = {"intervals": intervals(4, [("none", "anew")], (3,)), "campaigns": campaigns(2, PLANTED[:1]), "bounds": coverage.bounds(50)}
    for path, text in coverage_page.files(tables).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    said = coverage_page.sentence()
    assert "(1 cases" in said and "judging/coverage.md" in said and "3: 3.00 %" in (tmp_path / "judging" / "coverage.md").read_text()
