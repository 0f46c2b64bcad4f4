"""Who has not learned is judged by nothing: the gate before every verdict."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers.judging import competence
from helpers.judging.arms import Arm, arm, contrast
from helpers.judging.claims import Claim, Part, judge_parts
from helpers.judging.competence import FALLEN, NARROW, REASONS, UNTRAINED, doubts, gain
from helpers.judging.statistics import made, paired_difference

IMAGES = 2000
LABELS = np.zeros(IMAGES, np.uint8)
CLAIM = Claim("X", "study", "difference", 0.0, "statement", "estimand")


def predictions(right: float, rng=None) -> np.ndarray:
    """So many percent of the images right: the first of them, or any."""
    order = np.arange(IMAGES) if rng is None else rng.permutation(IMAGES)
    return np.where(order < IMAGES * right / 100, 0, 1).astype(np.uint8)


def record(right: float, rng=None, curve=(), rank=40.0, method="simclr", run="x-1", out=None):
    """Of a run that gets so many percent of the images right."""
    metrics = pd.DataFrame({"epoch": np.arange(1, 1 + (len(curve) or 4))} | ({} if rank is None else {"effective_rank": rank}))
    if curve:
        metrics["knn"] = curve
    return SimpleNamespace(
        id=run,
        config={"method": {"name": method, "options": {} if out is None else {"out": out}}},
        manifest={"test_images": IMAGES, "feature_width": 256},
        metrics=metrics,
        evaluations={"linear": {"top1": right}},
        arrays={"labels": LABELS, "linear.predictions": predictions(right, rng)},
    )


@pytest.fixture(autouse=True)
def begun_at_thirty(monkeypatch):
    """Every run begins from a net that gets 30 % right."""
    before = SimpleNamespace(arrays={"labels": LABELS, "linear.predictions": predictions(30.0)})
    monkeypatch.setattr(competence, "reference_of", lambda record: before)


def kinds(found):
    return [doubt.kind for doubt in found]


def test_the_gain_over_the_untrained_net_is_paired_by_image_and_seed():
    one = gain([record(50.0)], "linear")
    assert one.value == 20 and one.high - one.value == pytest.approx(1.96 * 100 * np.sqrt(0.2 * 0.8 / (IMAGES - 1)), rel=1e-3)
    three = gain([record(50.0), record(52.0), record(54.0)], "linear")
    scores = [(predictions(right) == 0) - (predictions(30.0) == 0).astype(float) for right in (50, 52, 54)]
    assert three == paired_difference(scores, 0.0) and three.value == 22


def test_more_seeds_do_not_make_the_test_images_more():
    """A true gain of three points, all seeds right on nearly the same images: few pass, with 3 seeds as with 12."""
    rng = np.random.default_rng(0)

    def passes(seeds: int) -> bool:
        easy = rng.normal(size=IMAGES)  # alike in every seed; 33 % of it lie above the bar
        scores = [
            ((easy + 0.1 * rng.normal(size=IMAGES)) / 1.005 > 0.4399).astype(float) - (rng.random(IMAGES) < 0.30) for _ in range(seeds)
        ]
        return competence.paired_difference(scores, 0.0).low > competence.MARGIN

    for seeds in (3, 12):
        assert np.mean([passes(seeds) for _ in range(300)]) < 0.05


@pytest.mark.parametrize(("right", "fit"), [(33.5, False), (29.0, False), (40.0, True)])
def test_a_gain_must_be_clear_of_three_points(right, fit):
    assert kinds(doubts("BYOL", [record(right)] * 3, "linear")) == ([] if fit else [UNTRAINED])


def test_a_verdict_names_who_has_not_learned_and_by_how_much(monkeypatch):
    (lost,) = doubts("BYOL on SqueezeNet", [record(22.5)], "finetune")  # other readouts are judged by the linear probe
    assert lost.words.startswith("BYOL on SqueezeNet has not learned (-7.5 [")
    monkeypatch.setattr(competence, "reference_of", lambda record: None)
    assert [doubt.words for doubt in doubts("BYOL", [record(60.0)], "linear")] == ["BYOL has no untrained reference"]


def test_a_fall_from_its_own_best_counts_beyond_chance():
    assert kinds(doubts("a", [record(50.0, curve=(40, 55, 54, 50))], "linear")) == [FALLEN]
    rng, error = np.random.default_rng(0), 100 * np.sqrt(0.25 / IMAGES)
    for seeds, readings in ((3, 4), (8, 8)):  # steady curves, each reading with a noise of its own
        arms = [[record(50.0, curve=tuple(50 + error * rng.normal(size=readings))) for _ in range(seeds)] for _ in range(200)]
        assert np.mean([bool(kinds(doubts("a", arm, "linear", (UNTRAINED,)))) for arm in arms]) < 0.05


@pytest.mark.parametrize(
    ("rank", "out", "narrow"),
    [(2.0, 256, True), (3.9, 256, True), (4.1, 256, False), (7.0, 1024, True), (8.1, 1024, False), (2.0, 8, False), (None, 256, True)],
)
def test_the_floor_of_directions_grows_with_the_width(rank, out, narrow):
    assert kinds(doubts("a", [record(60.0, rank=rank, out=out)], "linear")) == ([NARROW] if narrow else [])


def test_labels_make_a_narrow_embedding_right():
    assert doubts("a", [record(60.0, rank=1.6, method="supervised")], "linear") == []


def test_what_a_claim_is_about_is_excused():
    fallen = record(31.0, curve=(50, 50, 50, 31), rank=1.6)
    assert kinds(doubts("a", [fallen], "linear")) == [UNTRAINED, FALLEN, NARROW]
    assert kinds(doubts("a", [fallen], "linear", (FALLEN,))) == [UNTRAINED, NARROW] and not doubts("a", [fallen], "linear", REASONS)
    assert kinds(Arm("a", {0: fallen}).doubts()) == [UNTRAINED, FALLEN, NARROW] and not Arm("a", {0: fallen}, before_training=True).doubts()


def cells_of(lazy: float, keen: float, rng) -> pd.DataFrame:
    rows = [
        {"who": who, "seed": seed, "run": f"{who}-{seed}", "record": record(right + rng.normal(0, 1), rng=rng, run=f"{who}-{seed}")}
        for who, right in (("lazy", lazy), ("keen", keen))
        for seed in range(3)
    ]
    return pd.DataFrame(rows)


def test_a_lazy_technique_is_never_contradicted():
    """It is claimed to be better, has learned next to nothing and lies far below: no verdict may rest on that, in 50 campaigns."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        cells = cells_of(rng.uniform(20, 32), rng.uniform(45, 60), rng)
        part = contrast("lazy − keen", [(arm(cells, "lazy", who="lazy"), 1.0), (arm(cells, "keen", who="keen"), -1.0)], "linear")
        verdict, reason = judge_parts(CLAIM, [part])
        assert part.estimate.high < 0 and verdict == "undecided" and reason.startswith("lazy has not learned (")


def test_two_that_have_learned_are_judged():
    cells = cells_of(45.0, 60.0, np.random.default_rng(0))
    part = contrast("a − b", [(arm(cells, "a", who="lazy"), 1.0), (arm(cells, "b", who="keen"), -1.0)], "linear")
    assert part.unfit == () and judge_parts(CLAIM, [part])[0] == "contradicted"


def test_one_part_that_can_be_judged_contradicts_beside_one_that_cannot():
    against, lost = made(-5.0, 0.0, 0.25, 3), made(9.0, 0.0, 0.25, 3)
    assert judge_parts(CLAIM, [Part("a", against), Part("b", lost, unfit=("b has not learned",))])[0] == "contradicted"
    verdict, reason = judge_parts(CLAIM, [Part("a", lost), Part("b", lost, unfit=tuple(f"{n} has not learned" for n in "bcdefg"))])
    assert verdict == "undecided" and reason.startswith(
        "b has not learned, c has not learned, d has not learned, e has not learned, and 2 more"
    )


def test_without_a_reference_a_run_is_compared_with_what_it_read_itself(monkeypatch):
    """The images' noise is that of both nets, as if they had nothing in common, and no number of seeds makes it less."""
    monkeypatch.setattr(competence, "reference_of", lambda record: None)
    runs = [record(50.0) for _ in range(4)]
    for each in runs:
        each.evaluations["linear_untrained"] = {"top1": 30.0}
    found = gain(runs, "linear")
    assert found.value == 20 and found.by_images == pytest.approx((50 * 50 + 30 * 70) / IMAGES) and found.by_seed == 0
    assert gain(runs[:1], "linear").low == pytest.approx(found.low)
