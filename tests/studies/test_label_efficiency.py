"""Label efficiency: its runs, and its claims, tables and figures on records whose truth is known."""

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from helpers.core.errors import UserError
from helpers.insight import keep
from helpers.judging.claims import Undecided, judge, judge_study, read_claims
from helpers.runs.config import Training
from helpers.runs.labels import LOST, epochs_of, slots
from helpers.runs.plan import collect
from helpers.runs.sweep import Outcome
from helpers.studies.label_efficiency import claims as study
from helpers.studies.label_efficiency import figures, runs, tables
from helpers.studies.label_efficiency.claims import (
    CLAIMS,
    FROZEN,
    METHODS,
    RANDOM,
    SCRATCH,
    TUNED,
    crossing,
    reading,
    worth,
)
from helpers.studies.label_efficiency.settings import about
from helpers.studies.open import open_study

STUDY = "label_efficiency"
IMAGES = 1000
LABELS = (np.arange(IMAGES) % 10).astype(np.uint8)
# Accuracy by fraction. From scratch the curve rises 20 points a tenfold of labels and meets SimCLR's 55 at 10 % where it has 10 ** -0.25.
TRUTH = {
    TUNED: {0.01: 40, 0.05: 50, 0.1: 55, 0.25: 60, 1.0: 70},
    FROZEN: {0.01: 38, 0.05: 45, 0.1: 48, 0.25: 50, 1.0: 52},
    SCRATCH: {fraction: 60 + 20 * np.log10(fraction) for fraction in (0.01, 0.05, 0.1, 0.25, 1.0)},
    RANDOM: {0.01: 15, 0.05: 20, 0.1: 22, 0.25: 24, 1.0: 26},
}


def settings(preset="quick", **given):
    return open_study(STUDY, {"preset": preset} | given).settings


def places(right: float, order: np.ndarray) -> np.ndarray:
    """Ranks of the true class: the easiest images are right, the next ones second or third, the rest beyond."""
    return np.where(order < 10 * right, 0, np.where(order < 10 * right + 200, 1, 3)).astype(np.uint8)


def record_of(s, seed: int, truth=TRUTH, **changes):
    config = runs.cells(s)[seed].config
    asked = config.evaluation.labels
    easy = [np.random.default_rng([seed, draw]).permutation(IMAGES) for draw in range(asked.draws)]
    arrays = {
        "labels": LABELS,
        "labels.fractions": np.array([f for f, _ in slots(asked)]),
        "labels.draws": np.array([d for _, d in slots(asked)]),
    }
    arrays["labels.counts"] = np.array([round(f * 14000) for f, _ in slots(asked)])
    luck = np.random.default_rng(seed)
    for method, (who, readout) in METHODS.items():
        rows = [places(truth[method][fraction] + luck.normal(0, 0.3), easy[draw]) for fraction, draw in slots(asked)]
        arrays[f"labels.{who}.{readout}"] = np.stack(rows)
    arrays["labels.epochs"] = np.array(asked.on_the_way)
    for readout, end in (("linear", 48), ("finetune", 55)):
        arrays[f"labels.way.{readout}"] = np.stack([places(end - 10 / (1 + place), easy[0]) for place in range(len(asked.on_the_way))])
    arrays["labels.trained.nearest"] = np.where(easy[0] < 300, 5, np.where(easy[0] < 600, 2, 0)).astype(np.uint8)
    arrays["labels.untrained.nearest"] = np.where(easy[0] < 300, 3, 0).astype(np.uint8)
    if asked.pictures:
        pictures = luck.integers(0, 256, (60, 16, 16, 3)).astype(np.uint8)
        arrays |= {"neighbours.rows": np.arange(10), "neighbours.labels": LABELS[:10], "neighbours.found": luck.integers(0, 10, (10, 5))}
        arrays |= {"neighbours.queries": keep(pictures[:10]), "neighbours.images": keep(pictures[10:])}
    epochs = np.arange(1, config.training.epochs + 1)
    loss = 4.45 + 0.01 * seed + 0.8 / epochs
    record = {
        "id": config.id,
        "config": config.model_dump(mode="json"),
        "manifest": {"collapsed": False, "classes": [f"class {n}" for n in range(10)], "seconds": 1000.0},
        "metrics": pd.DataFrame({"epoch": epochs, "loss": loss}),
        "evaluations": {"linear": {"top1": 50.0}},
        "arrays": arrays,
    }
    return SimpleNamespace(**record | changes)


def cells_of(s, seeds=None, **more):
    configs = [cell.config for cell in runs.cells(s)]
    made = {c.id: record_of(s, c.seed, **more) if seeds is None or c.seed < seeds else None for c in configs}
    return collect(runs.cells(s), Outcome(made))


@pytest.fixture(scope="module")
def s():
    return settings()


@pytest.fixture(scope="module")
def cells(s):
    return cells_of(s)


def changed(cells, **arrays):
    """The cells with arrays put in place, or taken out where None is given."""
    records = [
        SimpleNamespace(**vars(r) | {"arrays": {k: v for k, v in (r.arrays | arrays).items() if v is not None}}) for r in cells["record"]
    ]
    return cells.assign(record=records)


# -- runs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["demo", "quick", "cpu", "gpu", "paper"])
def test_a_run_a_seed_as_the_text_has_it(preset):
    found = settings(preset)
    configs = [cell.config for cell in runs.cells(found)]
    assert len({config.id for config in configs}) == found.seeds >= (1 if preset == "demo" else 3)
    for config in configs:
        training, asked = config.training, config.evaluation.labels
        assert (training.batch_size, training.optimizer, training.rate, training.schedule) == (200, "adam", 1e-3, "constant")
        assert config.method.options == {"temperature": 0.5, "hidden": 0, "out": 1024} and config.views.recipe == "simclr_small"
        few = ((0.01, 0.1, 1.0), 1) if preset == "cpu" else ((0.01, 0.05, 0.1, 0.25, 1.0), 3)  # longer training, fewer readings
        assert asked.fractions == few[0] and asked.draws >= few[1] and asked.weight_decay == 1e-5
        assert asked.pictures == (config.seed == 0) and len(asked.on_the_way) >= 2
    assert preset != "paper" or (configs[0].encoder.name, training.epochs, configs[0].data.train_images) == ("resnet50", 50, None)


@pytest.mark.parametrize("preset", ["demo", "quick", "cpu", "gpu", "paper"])
def test_the_patient_reading_learns_longer_from_labels_and_is_else_the_same(preset):
    usual, patient = (runs.cells(settings(preset, reading=reading))[0].config for reading in ("as_written", "patient"))
    assert patient.model_copy(update={"evaluation": usual.evaluation}) == usual
    before, after = usual.evaluation.labels, patient.evaluation.labels
    assert set(after.fractions) <= set(before.fractions)
    for fraction in after.fractions:
        count = round(fraction * (patient.data.train_images or 50_000))
        assert 2 <= epochs_of(after, count) / epochs_of(before, count) <= 4.1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"fractions": [0.1, 1.5]}, "1.5 is no share of the labels"),
        ({"fractions": [0.0, 0.1]}, "0 is no share of the labels"),
        ({"fractions": [0.05, 1.0]}, "reference = 0.1 is none of the fractions"),
        ({"fractions": []}, "fractions"),
        ({"checkpoints": [5, 40]}, "checkpoints holds 40, and training.epochs is 40"),
        ({"draws": 0}, "draws"),
        ({"encoder": {"name": "resnet_tinny"}}, "resnet_tiny"),
        ({"method": {"name": "simclr", "options": {"temprature": 0.5}}}, "Nearest: temperature"),
        ({"training": {"epochs": 30, "batch_size": 20000}}, "larger than data.train_images = 14000"),
        ({"label_step": 10}, ""),
    ],
)
def test_bad_input_is_named_before_training(given, said):
    if "label_step" in given:
        with pytest.raises(UserError, match="Unknown parameter of label_efficiency 'label_step'.*label_steps"):
            open_study(STUDY, {"preset": "quick", "In": ["# Parameters\nlabel_step = 10"]})
        return
    with pytest.raises(UserError, match=said):
        settings(**given)


def test_a_class_left_without_a_label_is_named_before_training():
    runs.check(settings("demo", fractions=[0.01, 0.1, 1.0]))
    with pytest.raises(UserError, match=r"0.1 % of the 200 labelled images of class '.*' is none.*Give at least 0.005"):
        runs.check(settings("demo", fractions=[0.001, 0.1]))
    whole = settings("demo").model_copy(update={"train_images": None, "training": Training(batch_size=100_000)})  # None: all there are
    with pytest.raises(UserError, match="larger than the .* training images"):
        runs.check(whole)


def test_fractions_are_read_in_order_and_once():
    assert settings(fractions=[1.0, 0.1, 0.1]).fractions == [0.1, 1.0]


# -- claims ---------------------------------------------------------------------------------------------------------------


def verdict(name, cells):
    return judge(read_claims()[name], CLAIMS[name], cells, "reduced", reference=0.1)


def test_a_known_truth(cells):
    found = judge_study(STUDY, CLAIMS, cells, "reduced", reference=0.1).set_index("claim")
    assert list(found.index) == ["L1", "L2", "L3", "L4", "L5"]
    assert found["verdict"].to_dict() == dict.fromkeys(("L1", "L2", "L3", "L4", "L5"), "supported")
    assert found.loc["L1", "ours"] == pytest.approx(15, abs=0.6) and found.loc["L2", "ours"] == pytest.approx(26, abs=0.6)
    assert found.loc["L3", "ours"] == pytest.approx(5, abs=0.6) and found.loc["L5", "ours"] == pytest.approx(100 * (0.3 * 0.4 + 0.3 * 0.4))
    assert found.loc["L4", "ours"] == pytest.approx(4.485 - 4.5, abs=0.001 + 0.8 / 40)
    assert all(len(runs.split()) == 4 for runs in found["runs"])


def test_a_reversed_truth_is_contradicted(s):
    turned = cells_of(
        s, truth={TUNED: TRUTH[SCRATCH] | {1.0: 70}, SCRATCH: TRUTH[TUNED] | {1.0: 20}, FROZEN: TRUTH[RANDOM], RANDOM: TRUTH[FROZEN]}
    )
    assert {name: verdict(name, turned)["verdict"] for name in ("L1", "L2", "L3")} == dict.fromkeys(("L1", "L2", "L3"), "contradicted")
    high = cells_of(s, metrics=pd.DataFrame({"epoch": [1, 2], "loss": [6.0, 5.2]}))
    assert verdict("L4", high)["verdict"] == "contradicted"
    base = cells_of(s)
    swapped = changed(base, **{"labels.trained.nearest": np.zeros(IMAGES, np.uint8), "labels.untrained.nearest": np.ones(IMAGES, np.uint8)})
    assert verdict("L5", swapped)["verdict"] == "contradicted"


def test_one_run_decides_nothing_and_what_is_missing_is_said(s, cells):
    assert verdict("L1", cells_of(settings(seeds=1)))["reason"].startswith("n = 1, leans for")
    none = cells_of(s, seeds=0)
    assert {verdict(name, none)["reason"] for name in CLAIMS} == {"0 of 4 runs; no run of SimCLR"}
    assert "was not read out with few labels" in verdict("L2", changed(cells, **{"labels.untrained.linear": None}))["reason"]
    assert "kept no neighbours" in verdict("L5", changed(cells, **{"labels.trained.nearest": None}))["reason"]
    part = cells_of(settings(fractions=[0.05, 0.1, 0.25]))
    assert "was not read out with 100 % of the labels" in verdict("L3", part)["reason"] and verdict("L1", part)["verdict"] == "supported"
    lost = np.full_like(cells["record"][0].arrays["labels.trained.finetune"], LOST)
    assert "SimCLR, fine-tuned diverged with 10 %" in verdict("L1", changed(cells, **{"labels.trained.finetune": lost}))["reason"]
    assert "not tested on the same images" in verdict("L1", moved(cells))["reason"]
    assert {verdict(name, none)["verdict"] for name in CLAIMS} == {"undecided"}


def test_three_of_four_runs_that_would_support_a_claim_decide_nothing_yet(s, cells):
    some = verdict("L1", cells_of(s, seeds=3))
    assert some["verdict"] == "undecided" and some["reason"].startswith("3 of 4 runs; SimCLR") and some["seeds"] == 3 and some["low"] > 5
    assert verdict("L1", cells_of(settings(seeds=3)))["verdict"] == verdict("L1", cells)["verdict"] == "supported"


def moved(cells):
    first = cells["record"][0]
    other = SimpleNamespace(**vars(first) | {"arrays": first.arrays | {"labels": LABELS[::-1]}})
    return cells.assign(record=[other, *cells["record"][1:]])


@pytest.mark.parametrize("method", [{"name": "simclr", "options": {"temperature": 0.1}}, {"name": "byol"}])
def test_the_loss_is_compared_only_at_its_own_batch_and_temperature(method):
    views = {"recipe": "simclr_small"}
    assert (
        "compared only for SimCLR at batch 200 and temperature 0.5"
        in verdict("L4", cells_of(settings(method=method, views=views)))["reason"]
    )
    smaller = {"epochs": 40, "batch_size": 100, "optimizer": "adam"}
    assert verdict("L4", cells_of(settings(training=smaller)))["verdict"] == "undecided"
    assert verdict("L4", cells_of(settings(training=smaller | {"accumulate": 2})))["verdict"] == "supported"


# -- labels saved ---------------------------------------------------------------------------------------------------------


def test_labels_saved_by_hand(cells):
    found = worth(cells, TUNED, 0.1)
    assert np.log10(found.value) == pytest.approx(-0.25, abs=0.03) and found.low < 10**-0.25 < found.high and found.runs == 4
    assert found.words().startswith(f"{100 * found.value:.3g} % [") and found.saved(0.1).startswith(f"{10 * found.value:.3g} x [")
    assert crossing(np.array([-2.0, -1.0, 0.0]), np.array([10.0, 30.0, 50.0]), 40.0) == -0.5
    assert crossing(np.array([-2.0, -1.0, 0.0]), np.array([10.0, 30.0, 20.0]), 30.0) == -1.0  # a dip is passed over
    assert crossing(np.array([-2.0, -1.0, 0.0]), np.array([10.0, 30.0, 50.0]), 60.0) == 0.0


def test_beyond_the_readings_labels_saved_are_a_bound(s, cells):
    above = cells_of(s, truth=TRUTH | {TUNED: dict.fromkeys(TRUTH[TUNED], 90)})
    assert worth(above, TUNED, 0.1).words() == "> 100 % [> 100, > 100]" and worth(above, TUNED, 0.1).saved(0.1) == "> 10 x [> 10, > 10]"
    below = cells_of(s, truth=TRUTH | {TUNED: dict.fromkeys(TRUTH[TUNED], 5)})
    assert worth(below, TUNED, 0.1).words() == "< 1 % [< 1, < 1]"
    with pytest.raises(Undecided, match="no run"):
        worth(cells_of(s, seeds=0), TUNED, 0.1)
    single = worth(cells_of(s, seeds=1), TUNED, 0.1)
    assert single.runs == 1 and single.low < single.value < single.high


def test_the_interval_is_over_runs_or_draws_or_images(s, cells):
    several, one = reading(cells, TUNED, 0.1), reading(cells_of(s, seeds=1), TUNED, 0.1)
    assert (several.over, several.runs, several.draws) == ("runs", 4, 3) and (one.over, one.runs) == ("label draws", 1)
    assert several.spread == pytest.approx(0.3, abs=0.2) and several.low < several.mean < several.high
    whole = reading(cells_of(s, seeds=1), TUNED, 1.0)
    assert (whole.over, whole.draws, whole.spread) == ("test images", 1, None)
    assert reading(cells, TUNED, 0.1, top=3).mean == pytest.approx(75, abs=0.6)
    assert reading(cells, TUNED, 0.3).mean is None and "30 %" in reading(cells, TUNED, 0.3).note


# -- tables and figures ---------------------------------------------------------------------------------------------------


def test_tables(s, cells):
    accuracy, runs = tables.accuracy_table(cells, s)
    assert len(accuracy) == 20 and len(runs) == 4 and accuracy["published top-1"].dropna().tolist() == [77.4, 71.3, 38.2, 15.6]
    assert accuracy.set_index(["method", "labels"]).loc[(SCRATCH, "10 %"), "labelled images"] == 1400
    assert tables.TRAIN not in accuracy, "records of before it was kept"
    told = np.where(np.isclose(cells["record"][0].arrays["labels.fractions"], 0.1), 90.0, 40.0)
    line = tables.accuracy_table(changed(cells, **{"labels.untrained.finetune_train": told}), s)[0].set_index(["method", "labels"])
    assert line.loc[(SCRATCH, "10 %"), tables.TRAIN] == 90 and np.isnan(line.loc[(TUNED, "10 %"), tables.TRAIN])
    theirs, _ = tables.published_table(cells, s)
    assert theirs.loc[0, "end to end, top-1"].endswith("| 77.4") and theirs.loc[1, "frozen, linear, top-3"].endswith("| 34.4")
    saved, _ = tables.saved_table(cells, s)
    assert len(saved) == 8 and saved["labels saved [95 %]"].str.contains(" x ").all()
    near, _ = tables.neighbour_table(cells)
    assert near["precision at 5 (%)"].tolist() == pytest.approx([42, 18]) and near["none of the class (%)"].tolist() == pytest.approx(
        [40, 70]
    )
    losses, _ = tables.loss_table(cells)
    assert losses["last epoch"].tolist() == pytest.approx([4.47, 4.48, 4.49, 4.5]) and set(losses["published"]) == {4.5}


def test_missing_readings_are_marked(s, cells):
    none = cells_of(s, seeds=0)
    accuracy, runs = tables.accuracy_table(none, s)
    assert accuracy["top-1 (%)"].isna().all() and set(accuracy["note"]) == {"no run"} and runs == []
    assert tables.published_table(none, s)[0].loc[0, "end to end, top-1"] == "missing | 77.4"
    assert set(tables.saved_table(none, s)[0]["labels saved [95 %]"]) == {"missing"} and set(tables.neighbour_table(none)[0]["note"]) == {
        "no run"
    }
    assert len(tables.loss_table(none)[0]) == 0
    lost = tables.accuracy_table(changed(cells, **{"labels.untrained.linear": None}), s)[0].set_index("method")
    assert lost.loc[RANDOM, "top-1 (%)"].isna().all() and lost.loc[TUNED, "top-1 (%)"].notna().all()


def test_the_way_goes_from_no_epoch_to_the_last(cells):
    epochs, right = study.on_the_way(cells["record"][0], "finetune", 0.1)
    assert epochs.tolist() == [0, 2, 5, 10, 20, 40] and right.shape == (6, IMAGES)
    assert 100 * right[0].mean() == pytest.approx(40, abs=1.5) and 100 * right[-1].mean() == pytest.approx(55, abs=1.5)


def words(figure) -> str:
    return " ".join(each.get_text() for each in figure.findobj(lambda part: hasattr(part, "get_fontsize")) if each.get_visible())


@pytest.mark.parametrize("seeds", [4, 1, 0])
def test_figures(s, seeds):
    shown = cells_of(s, seeds=seeds)
    for make in (figures.fraction_curves, figures.epoch_curves, figures.loss_curves, figures.neighbour_figure):
        figure = make(shown, s)
        with warnings.catch_warnings(action="error"):
            figure.draw_without_rendering()
        assert about(s) in words(figure)
        for each in (part for part in figure.findobj(Text) if len(part.get_text()) > 5 and part.get_visible()):  # ticks may wait outside
            box = each.get_window_extent()
            assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, f"cut off: {each.get_text()}"
        assert min(each.get_fontsize() for each in figure.findobj(lambda part: hasattr(part, "get_fontsize")) if each.get_text()) >= 8
        assert seeds or "missing" in words(figure)
    if seeds == 4:
        said = words(figures.fraction_curves(shown, s))
        assert f"from scratch with {worth(shown, TUNED, 0.1).words()}" in said and "3 label draws each" in said
        assert "as published" in words(figures.loss_curves(shown, s)) and "40 % of test images" in words(figures.neighbour_figure(shown, s))
