"""The claims of the study of MoCo v3 on records whose truth is known, and its tables and figures with much, little and nothing to show."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import spearmanr

from helpers.judging.claims import judge, read_claims
from helpers.judging.dips import area_lost, deepest
from helpers.studies.moco_v3_stability import claims, figures, tables, transfers
from helpers.studies.moco_v3_stability.settings import (
    ADAMW,
    BATCH_NORM,
    BYOL,
    FROZEN,
    LAMB,
    LEARNED,
    LONG,
    PUBLISHED,
    SHORT,
    SIMCLR,
    SIMSIAM,
    SUPERVISED,
    SWAV,
    V2_PLUS,
    V3,
)
from tests.studies.moco_v3_records import BATCHES, LABELS, RATES, STUDY, cells_of, level, predictions, settings

LOW, MIDDLE, HIGH = range(3)


@pytest.fixture(autouse=True)
def no_records(monkeypatch, tmp_path):
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "runs"))


@pytest.fixture(scope="module")
def s():
    return settings()


@pytest.fixture(scope="module")
def cells(s):
    return cells_of(s)


def verdict(name, cells, s=None):
    estimand = partial(claims.m8, settings=s) if name == "M8" else claims.CLAIMS[name]
    return judge(read_claims()[name], estimand, cells, "reduced", readout="linear")


def grid(place, optimizer=None, patches=None, at=None, batch=BATCHES[0]):
    """Whether a place is that of the ViTs' grid of rates, patches and batches."""
    mine = place.part == "stability" and not place.arm and place.batch == batch
    return mine and optimizer in (None, place.optimizer) and patches in (None, place.patches) and at in (None, level(place))


def line(place, method, length=LONG):
    return (place.part, place.arm, place.length) == ("line", method, length)


# -- the truth, turned around, and missing --------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", claims.CLAIMS)
def test_where_the_paper_is_right_it_is_supported(cells, claim):
    found = verdict(claim, cells)
    assert found["verdict"] == "supported" and found["ours"] > 0 and found["seeds"] == 3, found["reason"]


WORSE = dict(zip((SIMCLR, SIMSIAM, SWAV, V2_PLUS, BYOL), (62, 59, 56, 53, 50), strict=True))
TURNED = {
    "M1": lambda place: (45, 52, 60)[level(place)] if grid(place) else None,
    "M2": lambda place: 44 if grid(place, ADAMW, FROZEN, HIGH) else None,
    "M3": lambda place: 52 if place.arm == BATCH_NORM else None,
    "M4": lambda place: 54 if line(place, V3) else None,
    "M5": lambda place: (56, 57, 56)[level(place)] if grid(place, LAMB) else None,
    "M6": lambda place: 66 if grid(place, ADAMW, LEARNED, MIDDLE, BATCHES[-1]) else None,
    "M7": lambda place: WORSE.get(place.arm) if place.length == LONG else None,
}


@pytest.mark.parametrize("claim", TURNED)
def test_where_it_is_the_other_way_round_it_is_contradicted(s, claim):
    turned = cells_of(s, right=TURNED[claim])
    assert {*TURNED} == {*claims.CLAIMS}
    found = verdict(claim, turned)
    assert found["verdict"] == "contradicted" and found["ours"] < 0, found["reason"]


LACKING = {
    "M1": (lambda place: grid(place, LAMB, at=HIGH), "no run of LAMB, rate 0.064"),
    "M2": (lambda place: grid(place, ADAMW, FROZEN, LOW), "nothing was run at rate 0.002"),
    "M3": (lambda place: place.arm == BATCH_NORM, f"no run of {BATCH_NORM}"),
    "M4": (lambda place: line(place, V2_PLUS), "no run of MoCo v2+, long"),
    "M5": (lambda place: grid(place, ADAMW, LEARNED, LOW), "no run of AdamW, rate 0.002, learned patches"),
    "M6": (lambda place: grid(place, batch=BATCHES[-1]), "no run of AdamW, rate 0.008, learned patches, batch 2048"),
    "M7": (lambda place: line(place, SWAV, SHORT), "no run of SwAV, short"),
}


@pytest.mark.parametrize("claim", LACKING)
def test_where_an_arm_or_a_seed_is_missing_nothing_is_judged(s, claim):
    lacks, words = LACKING[claim]
    found = verdict(claim, cells_of(s, without=lacks))
    assert found["verdict"] == "undecided" and words in found["reason"]
    found = verdict(claim, cells_of(s, without=lambda place: lacks(place) and place.seed == 2))
    assert found["verdict"] == "undecided" and f"{(count := len(found['runs'].split()))} of {count + 1} runs" in found["reason"]
    assert "n = 2" in found["reason"]


def test_two_seeds_decide_nothing():
    few = settings(seeds=2, decide=False)
    cells = cells_of(few)
    assert all((found := verdict(claim, cells))["verdict"] == "undecided" and "n = 2" in found["reason"] for claim in claims.CLAIMS)


@pytest.mark.parametrize(
    ("claim", "vit", "says"),
    [
        ("M1", {"rates": {ADAMW: RATES[ADAMW]}}, "LAMB has 0 rates in this variant"),
        ("M5", {"rates": {ADAMW: RATES[ADAMW], LAMB: RATES[LAMB][:1]}}, "LAMB has 1 rates in this variant"),
        ("M2", {"rates": {ADAMW: RATES[ADAMW][1:2]}}, "learned at fewer than two rates"),
        ("M6", {"batches": BATCHES[:2]}, "2 batches have no middle"),
    ],
)
def test_a_variant_that_cannot_say_it_says_why(claim, vit, says):
    found = verdict(claim, cells_of(settings(vit=vit)))
    assert found["verdict"] == "undecided" and says in found["reason"]


@pytest.mark.parametrize("claim", ["M1", "M5"])
def test_failing_at_an_extreme_rate_is_what_is_claimed_and_elsewhere_it_is_not(s, claim):
    """The ViTs at the highest rate may have learned nothing; the usual one must have."""
    assert verdict(claim, cells_of(s, before=lambda place: 60 if grid(place, at=HIGH) else None))["verdict"] == "supported"
    found = verdict(claim, cells_of(s, before=lambda place: 70 if grid(place, ADAMW, LEARNED, MIDDLE) else None))
    assert found["verdict"] == "undecided" and "has not learned" in found["reason"]


def test_a_batch_so_large_that_its_few_steps_teach_nothing_is_no_evidence(s):
    largest = lambda place: grid(place, ADAMW, LEARNED, MIDDLE, BATCHES[-1])  # noqa: E731
    found = verdict("M6", cells_of(s, before=lambda place: 60 if largest(place) else None))
    assert found["verdict"] == "undecided" and "has not learned" in found["reason"]


def test_m2_compares_at_the_highest_rate_at_which_both_have_learned(s, cells):
    assert verdict("M2", cells)["parts"][0].name.endswith("at 0.032 − at 0.002")
    failed = cells_of(s, before=lambda place: 60 if grid(place, ADAMW, LEARNED, HIGH) else None)
    found = verdict("M2", failed)["parts"][0]
    assert found.name.endswith("at 0.008 − at 0.002") and found.estimate.value == pytest.approx((59.5 - 58) - (60.5 - 60), abs=1)
    lowest = verdict("M2", cells_of(s, before=lambda place: 70 if grid(place, ADAMW, FROZEN, LOW) else None))
    assert lowest["verdict"] == "undecided" and "fewer than two rates, the lowest among them" in lowest["reason"]


# -- what is estimated ----------------------------------------------------------------------------------------------------


def test_planted_dips_cost_what_they_cost_and_grow_with_the_rate(s, cells):
    for optimizer, patches in ((ADAMW, LEARNED), (ADAMW, FROZEN), (LAMB, LEARNED)):
        arms = claims.at_rates(cells, optimizer, patches)
        lost = [[area_lost(*claims.curve(record)) for record in arm.records.values()] for arm in arms]
        planted = {(ADAMW, LEARNED): (0, 30, 125), (ADAMW, FROZEN): (0, 15, 40), (LAMB, LEARNED): (0, 54, 196)}[optimizer, patches]
        assert [float(np.mean(each)) for each in lost] == pytest.approx([area / s.vit.epochs for area in planted], abs=0.4)
        assert max(lost[LOW]) == 0 < min(lost[MIDDLE]) <= max(lost[MIDDLE]) < min(lost[HIGH])
    record = next(iter(claims.usual(cells).records.values()))
    assert claims.curve(record)[1] == 1000, "2000 were asked for, and there are no more"
    flat = cells_of(s, dip=lambda place: (0, 0))
    assert "no run dips at any rate" in verdict("M1", flat)["reason"] and verdict("M1", flat)["verdict"] == "undecided"
    for each in flat["record"]:
        each.metrics = each.metrics.drop(columns="knn", errors="ignore")
    assert "was not read on the way" in verdict("M1", flat)["reason"]


def test_m1_is_the_rank_correlation_over_the_rates_of_each_group_and_seed(s, cells):
    by_hand = []
    for arms in (claims.at_rates(cells, ADAMW), claims.at_rates(cells, ADAMW, FROZEN), claims.at_rates(cells, LAMB)):
        for seed in range(3):
            told = [(claims.depth(arm.records[seed]), arm.records[seed].evaluations["linear"]["top1"]) for arm in arms]
            by_hand.append(-spearmanr(*zip(*told, strict=True)).statistic)
    assert verdict("M1", cells)["ours"] == pytest.approx(np.mean(by_hand)) and np.mean(by_hand) > 0.8


def test_what_is_lost_at_the_last_reading_is_no_dip(cells):
    record = next(iter(claims.usual(cells).records.values()))
    values, images = claims.curve(record)
    fallen = SimpleNamespace(**{**vars(record), "metrics": record.metrics.assign(knn=[*np.full(len(values) - 1, 50.0), 20.0])})
    assert deepest(*claims.curve(fallen)) == 30 and claims.depth(fallen) == 0


def accuracies_by_hand(arms, images=slice(None)):
    """[seeds, arms] in points, on these images."""
    rows = [[np.asarray(arm.records[seed].arrays["linear.predictions"]) == LABELS for arm in arms] for seed in range(3)]
    return 100 * np.array([[hit[images].mean() for hit in row] for row in rows])


def test_m5_is_the_difference_of_two_spreads_with_the_noise_of_seeds_and_images(cells):
    lamb, adamw = claims.at_rates(cells, LAMB), claims.at_rates(cells, ADAMW)

    def spreads(images=slice(None)):
        return np.ptp(accuracies_by_hand(lamb, images), axis=1) - np.ptp(accuracies_by_hand(adamw, images), axis=1)

    found = verdict("M5", cells)["parts"][0].estimate
    assert found.value == pytest.approx(spreads().mean()) and found.by_seed == pytest.approx(spreads().var(ddof=1))
    rng = np.random.default_rng(1)
    covariance = np.cov(np.array([spreads(rng.integers(len(LABELS), size=len(LABELS))) for _ in range(2000)]).T)
    assert found.by_images == pytest.approx((covariance.sum() - np.trace(covariance)) / 6, rel=0.2) and found.by_images > 0.3
    assert found.low < found.value < found.high


def test_m7_is_the_rank_correlation_with_the_published_accuracies(cells):
    rng = np.random.default_rng(0)
    rows, theirs = rng.integers(0, 4, (50, 6)).astype(float), np.array([1.0, 2.0, 2.0, 3.0, 5.0, 4.0])  # with ties
    expected = [spearmanr(row, theirs).statistic if np.ptp(row) else 0.0 for row in rows]
    assert claims.spearman(rows, theirs) == pytest.approx(expected)
    assert (claims.spearman(np.ones((2, 6)), theirs) == 0).all() and (claims.spearman(rows, np.ones(6)) == 0).all()
    short, long = verdict("M7", cells)["parts"]
    for part, length, epochs in ((short, SHORT, "100"), (long, LONG, "800")):
        published = [claims.published()["line"][method][epochs] for method in PUBLISHED]
        ours = accuracies_by_hand([claims.line(cells, method, length) for method in PUBLISHED])
        assert part.estimate.value == pytest.approx(np.mean([spearmanr(row, published).statistic for row in ours])), part.name
    assert long.estimate.value == pytest.approx(1) and short.estimate.value < 0.95, "three methods are published at one accuracy"


# -- transfer -------------------------------------------------------------------------------------------------------------


def fine_tuned(cells, right, lost=lambda asked: None):
    """Stands for transfer.find: what a readout reached, by whether its run had labels. lost: "missing" or "diverged"."""
    labelled = {*cells[(cells["part"] == "others") & (cells["arm"] == SUPERVISED)]["run"]}

    def find(asked):
        if (why := lost(asked)) == "missing":
            return None
        top1 = right(asked, asked.run in labelled) + (len(asked.run) % 3) / 10
        guesses = {} if why else {"finetune.predictions": predictions(top1, 5)}
        told = {"linear": {"top1": top1 - 10}, "finetune": {"skipped": "it diverged"} if why else {"top1": top1}}
        return SimpleNamespace(
            id=f"t-{asked.run}", arrays={"labels": LABELS} | guesses, evaluations=told, manifest={}, config={}, metrics={}
        )

    return find


def test_m8_compares_what_is_fine_tuned_with_all_labels_on_each_dataset(s, cells, monkeypatch):
    first = s.transfer[0].dataset
    seen = []

    def better(asked, labelled):
        seen.append(asked)
        return 60 if labelled else 66

    monkeypatch.setattr(claims, "find", fine_tuned(cells, better))
    found = verdict("M8", cells, s)
    assert found["verdict"] == "supported" and [part.estimate.value for part in found["parts"]] == pytest.approx([6.0] * len(s.transfer))
    assert {(asked.data.label_fraction, asked.trained, asked.finetune_epochs) for asked in seen} == {(1.0, True, s.transfer_epochs)}
    assert {asked.run for asked in seen} == {*claims.usual(cells).runs, *claims.other(cells, SUPERVISED).runs}

    monkeypatch.setattr(claims, "find", fine_tuned(cells, lambda asked, labelled: 60 if labelled == (asked.data.dataset != first) else 66))
    found = verdict("M8", cells, s)
    assert found["verdict"] == "contradicted" and first in found["reason"] and found["ours"] == pytest.approx(-6.0)

    for why, says in (("missing", f"was not fine-tuned on {first}"), ("diverged", "holds no predictions of finetune")):
        lost = lambda asked, why=why: why if asked.data.dataset == first else None  # noqa: E731
        monkeypatch.setattr(claims, "find", fine_tuned(cells, better, lost))
        found = verdict("M8", cells, s)
        assert found["verdict"] == "undecided" and says in found["reason"]
    nowhere = settings(transfer=[])
    assert "nothing is transferred in this variant" in verdict("M8", cells, nowhere)["reason"]


def test_every_claim_of_the_study_is_judged(s, cells, monkeypatch):
    monkeypatch.setattr(claims, "find", fine_tuned(cells, lambda asked, labelled: 60 if labelled else 66))
    study = SimpleNamespace(name=STUDY, settings=s, scope="reduced", first=None)
    judged = claims.verdicts(study, cells)
    mine = [name for name, claim in read_claims().items() if claim.study == STUDY]
    assert [*judged["claim"]] == mine == [f"M{number}" for number in range(1, 9)] and {*judged["verdict"]} == {"supported"}


# -- tables and figures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("there", ["all", "one seed", "nothing"])
def test_tables_and_figures_are_made_of_whatever_is_there(monkeypatch, there):
    few = settings(seeds=1 if there == "one seed" else 3, decide=False)
    cells = cells_of(few, without=lambda place: there == "nothing", tried=True)
    monkeypatch.setattr(transfers, "find", fine_tuned(cells, lambda asked, labelled: 60 if labelled else 66))
    made = {name: make for name, make in vars(tables).items() if name.endswith("_table") and name != "dip_rule_table"}
    for name, make in made.items():
        table, runs = make(cells, few)
        assert len(table) and (len(runs) > 0) == (there != "nothing"), name
        assert there != "nothing" or name == "published_table" or "missing" in table.to_csv(), name
    for name in (name for name in vars(figures) if name.endswith("_plot")):
        figure = getattr(figures, name)(cells, few, "the words of the study")
        figure.canvas.draw()
        titles = (figure.get_suptitle() or "") + " ".join(ax.get_title() for ax in figure.axes)
        assert "the words of the study" in titles, name
    assert len(made) > 5
