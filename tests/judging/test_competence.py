"""Who has not learned is judged by nothing: the gate before every verdict."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers.judging import competence
from helpers.judging.arms import Arm, arm, contrast
from helpers.judging.claims import Claim, Part, judge_parts
from helpers.judging.competence import FALLEN, NARROW, REASONS, UNTRAINED, doubts, gain
from helpers.judging.statistics import made

IMAGES = 2000
LABELS = np.zeros(IMAGES, np.uint8)
CLAIM = Claim("X", "study", "difference", 0.0, "statement", "estimand")


def record(right: float, before: float | None = 30.0, rng=None, curve=(), rank=40.0, method="simclr", run="x-1", out=None):
    """Of a run that gets so many percent of the images right, after training and before."""
    rng = rng or np.random.default_rng(0)
    hit = rng.permutation(IMAGES) < IMAGES * right / 100
    metrics = pd.DataFrame({"epoch": np.arange(1, 5), "effective_rank": rank})
    if curve:
        metrics["knn"] = curve
    return SimpleNamespace(
        id=run,
        config={"method": {"name": method, "options": {} if out is None else {"out": out}}},
        manifest={"test_images": IMAGES, "feature_width": 256},
        metrics=metrics,
        evaluations={"linear": {"top1": right}} | ({} if before is None else {"linear_untrained": {"top1": before}}),
        arrays={"labels": LABELS, "linear.predictions": np.where(hit, 0, 1).astype(np.uint8)},
    )


def kinds(found):
    return [doubt.kind for doubt in found]


def test_the_gain_over_the_untrained_net_by_hand():
    one = gain([record(50.0)], "linear")
    error = np.sqrt((50 * 50 + 30 * 70) / IMAGES)
    assert one.value == 20 and one.high - one.value == pytest.approx(1.96 * error, rel=1e-3)
    three = gain([record(50.0), record(52.0), record(54.0)], "linear")
    images = np.mean([right * (100 - right) + 30 * 70 for right in (50, 52, 54)]) / IMAGES
    total = images / 3 + 4 / 3
    assert three.value == 22
    from scipy import stats

    freedom = 2 * (total / (4 / 3)) ** 2
    assert three.high - three.value == pytest.approx(stats.t.ppf(0.975, freedom) * np.sqrt(total))


@pytest.mark.parametrize(("right", "fit"), [(34.0, False), (29.0, False), (40.0, True)])
def test_a_gain_must_be_clear_of_three_points(right, fit):
    assert kinds(doubts("BYOL", [record(right)] * 3, "linear")) == ([] if fit else [UNTRAINED])


def test_a_verdict_names_who_has_not_learned_and_by_how_much(monkeypatch):
    monkeypatch.setattr(competence.untrained, "find", lambda record: None)
    (lost,) = doubts("BYOL on SqueezeNet", [record(22.5)], "finetune")  # other readouts are judged by the linear probe
    assert lost.words.startswith("BYOL on SqueezeNet has not learned (-7.5 [")
    assert [doubt.words for doubt in doubts("BYOL", [record(60.0, None)], "linear")] == ["BYOL has no untrained reference"]


def test_a_reference_is_shared_where_the_run_has_none_of_its_own(monkeypatch):
    monkeypatch.setattr(competence.untrained, "find", lambda record: SimpleNamespace(evaluations={"linear": {"top1": 55.0}}))
    assert gain([record(60.0, None)], "linear").value == 5 and gain([record(60.0)], "linear").value == 30


def test_a_fall_from_its_own_best_counts_beyond_noise():
    error = np.sqrt(2 * 50 * 50 / IMAGES)
    assert kinds(doubts("a", [record(50.0, curve=(40, 50, 50 + 1.9 * error, 50))], "linear")) == []
    assert kinds(doubts("a", [record(50.0, curve=(40, 55, 54, 50))], "linear")) == [FALLEN]


@pytest.mark.parametrize(
    ("rank", "out", "narrow"),
    [(2.0, 256, True), (3.9, 256, True), (4.1, 256, False), (7.0, 1024, True), (8.1, 1024, False), (2.0, 8, False)],
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
