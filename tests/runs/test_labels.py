"""Few labels: the draws, what a record keeps of them, that nothing is measured twice, and what it is said to cost."""

from types import SimpleNamespace

import numpy as np
import pytest

from helpers.core.errors import UserError
from helpers.runs import labels, reader
from helpers.runs.config import LabelDraws, RunConfig
from helpers.runs.labels import LOST, check, drawn, epochs_of, slots
from helpers.runs.material import material
from helpers.runs.run import run
from helpers.training import Stopped

SMALL = {
    "data": {"dataset": "embedded", "image_size": 16, "options": {"train": 200, "test": 40}},
    # Not narrower: torch 2.11's convolution of 6 channels by 1 x 1 at stride 2 writes beyond its memory on a CPU.
    "encoder": {"name": "resnet_tiny", "stem": "stride2", "options": {"width": 0.5}},
    "views": {"recipe": "simclr_small"},
    "method": {"name": "simclr", "options": {"hidden": 0, "out": 16}},
    "training": {"epochs": 3, "batch_size": 50, "optimizer": "adam", "rate": 1e-3, "precision": "fp32"},
    "evaluation": {"probe_every": 0, "maps": None, "cka": False},
}
FEW = {"fractions": [0.1, 0.5, 1.0], "draws": 2, "on_the_way": [1, 2], "epochs": 1, "steps": 2}


def config(**changes):
    return RunConfig(**SMALL | {"evaluation": SMALL["evaluation"] | {"labels": FEW | changes}})


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    for name in ("RESULTS_DIR", "RUNS_DIR", "CACHE_DIR", "CHECKPOINT_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


# -- draws ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [np.arange(1000) % 10, np.repeat(np.arange(4), (40, 90, 333, 57))], ids=["even", "uneven"])
def test_draws_are_nested_balanced_and_repeat(known):
    fractions = (0.03, 0.05, 0.1, 0.25, 0.333, 1.0)
    for seed in (0, 1):
        for draw in (0, 1):
            kept = [drawn(known, fraction, seed, draw) for fraction in fractions]
            for smaller, larger in zip(kept, kept[1:], strict=False):
                assert set(smaller) < set(larger)
            for fraction, places in zip(fractions, kept, strict=True):
                counts, sizes = np.bincount(known[places]), np.bincount(known)
                assert counts.tolist() == [round(fraction * size) for size in sizes] and (np.diff(places) > 0).all()
            assert np.array_equal(kept[2], drawn(known, 0.1, seed, draw))
    assert not np.array_equal(drawn(known, 0.1, 0, 0), drawn(known, 0.1, 0, 1))
    assert not np.array_equal(drawn(known, 0.1, 0, 0), drawn(known, 0.1, 1, 0))


def test_of_all_labels_there_is_one_draw():
    assert slots(LabelDraws(fractions=(0.1, 1.0), draws=3)) == [(0.1, 0), (0.1, 1), (0.1, 2), (1.0, 0)]
    assert len(slots(LabelDraws())) == 13


def test_few_images_are_gone_over_more_often():
    asked = LabelDraws(epochs=10, steps=300)
    assert epochs_of(asked, 100) == 300  # one batch of all
    assert epochs_of(asked, 1280) == 30 and epochs_of(asked, 12800) == 10


def images_of(sizes):
    known = np.repeat(np.arange(len(sizes)), sizes)
    return SimpleNamespace(
        bank=SimpleNamespace(labels=known), labelled=np.arange(len(known)), dataset=SimpleNamespace(classes=["cat", "dog", "eel"])
    )


def test_a_class_without_a_label_is_named():
    check(LabelDraws(), images_of([900, 400, 51]))
    with pytest.raises(UserError, match="1 % of the 49 labelled images of class 'eel' is none.*at least 0.02"):
        check(LabelDraws(), images_of([900, 400, 49]))
    with pytest.raises(UserError, match="1 % of the labels are 6 images, and a linear probe needs 10"):
        check(LabelDraws(), images_of([200, 200, 200]))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"fractions": [0.1, 1.5]}, "less than or equal to 1"),
        ({"fractions": [0.5, 0.1]}, "from the smallest to the largest"),
        ({"fractions": [0.2, 1.0]}, "reference = 0.1 is none of fractions"),
        ({"fractions": []}, "name each once"),
        ({"draws": 0}, "draws"),
    ],
)
def test_what_cannot_be_is_said_before_any_image_is_read(given, said):
    with pytest.raises(UserError, match=said):
        config(**given)


def test_a_run_that_cannot_be_read_out_is_not_trained():
    with pytest.raises(UserError, match="% of the .* labelled images of class .* is none"):
        run(config(fractions=[0.001, 0.1]), "cpu")


# -- records --------------------------------------------------------------------------------------------------------------


def test_a_record_holds_every_reading(monkeypatch):
    asked, seen = config(pictures=True, recipe="from_probe"), []
    real = reader.finetune
    monkeypatch.setattr(reader, "finetune", lambda *given, **how: seen.append(how) or real(*given, **how))
    record = run(asked, "cpu")
    arrays = record.arrays
    assert arrays["labels.fractions"].tolist() == [0.1, 0.1, 0.5, 0.5, 1.0] and arrays["labels.draws"].tolist() == [0, 1, 0, 1, 0]
    known = material(asked.data).bank.labels
    assert arrays["labels.counts"].tolist() == [len(drawn(known, f, 0, 0)) for f in (0.1, 0.1, 0.5, 0.5, 1.0)]
    for who in ("trained", "untrained"):
        for readout in ("linear", "finetune"):
            assert arrays[f"labels.{who}.{readout}"].shape == (5, 40) and arrays[f"labels.{who}.{readout}"].max() <= 3
            assert arrays[f"labels.{who}.{readout}_train"].shape == (5,) and (arrays[f"labels.{who}.{readout}_train"] > 0).all()
        assert arrays[f"labels.{who}.nearest"].max() <= 5
    assert not np.array_equal(arrays["labels.trained.linear"], arrays["labels.untrained.linear"])
    assert arrays["labels.epochs"].tolist() == [1, 2] and arrays["labels.way.finetune"].shape == (2, 40)
    right = 100 * (arrays["labels.way.linear"] == 0).mean(axis=1)
    assert record.metrics["linear_few"].iloc[:2].tolist() == pytest.approx(right.tolist()) and np.isnan(
        record.metrics["linear_few"].iloc[2]
    )
    assert arrays["neighbours.found"].shape[1] == 5 and len(arrays["neighbours.rows"]) == len(arrays["neighbours.labels"]) >= 6
    # the same labels, in the same steps, before training and after: what is compared is paired
    before, on_way, after = seen[:5], seen[5:7], seen[7:]
    for first, second in zip(before, after, strict=True):
        assert np.array_equal(first.pop("indices"), second.pop("indices")) and first.pop("test_indices") is second.pop("test_indices")
        assert first == second
    assert len(on_way) == 2 and {how["recipe"] for how in seen if "recipe" in how} == {"from_probe"}


def test_an_interruption_loses_no_reading(tmp_path, monkeypatch):
    whole = run(config(), "cpu").essence()
    calls, real = [], reader.finetune
    monkeypatch.setattr(reader, "finetune", lambda *given, **how: calls.append(1) or real(*given, **how))
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "again"))
    attempts = 0
    while True:
        attempts += 1
        budget = len(calls) + 2
        try:
            record = run(config(), "cpu", lambda most=budget: "of the test" if len(calls) >= most else None)
            break
        except Stopped as stopped:
            assert "run again" in str(stopped) or "resume" in str(stopped) or "checkpoint" in str(stopped)
    assert attempts > 4 and len(calls) == 12
    again = record.essence()
    assert again["arrays"].keys() == whole["arrays"].keys() and again["metrics"] == whole["metrics"]
    assert all(again["arrays"][name] == whole["arrays"][name] for name in whole["arrays"])


def test_a_divergence_costs_a_reading_and_not_the_run(monkeypatch):
    def diverges(*given, **how):
        raise reader.TrainingStopped("no longer finite")

    monkeypatch.setattr(reader, "finetune", diverges)
    arrays = run(config(), "cpu").arrays
    assert (arrays["labels.trained.finetune"] == LOST).all() and (arrays["labels.trained.linear"] < LOST).all()
    assert np.isnan(arrays["labels.trained.finetune_train"]).all()


def test_the_forecast_counts_every_reading_by_hand():
    asked = SimpleNamespace(
        evaluation=SimpleNamespace(labels=LabelDraws(fractions=(0.1, 1.0), draws=2, epochs=3, steps=10, batch_size=50, on_the_way=(1, 9))),
        training=SimpleNamespace(epochs=9),
    )
    images = SimpleNamespace(labelled=np.arange(1000), test_indices=np.arange(300))
    few, many = 5 * 100 + 400 / 3, 3 * 1000 + 1300 / 3  # images gone over, and a third of them and of the test images
    forward = 1300 / 3
    probes = 5 * (0.1 + 0.1 + 1)
    expected = 2 * ((2 * few + many + forward) * 0.01 + probes * 1.5) + (few + forward) * 0.01 + 5 * 0.1 * 1.5
    assert labels.seconds(asked, images, 0.01, 1 / 3, 1.5) == pytest.approx(expected)
    more = asked.evaluation.labels.model_copy(update={"recipe": "from_probe"})
    asked.evaluation.labels = more
    heads = 2 * 5 * (0.1 + 0.1 + 1) + 5 * 0.1  # one a fine-tuning
    passes = 2 * (100 + 100 + 1000) + 100  # three thirds of the labelled images
    assert labels.seconds(asked, images, 0.01, 1 / 3, 1.5) == pytest.approx(expected + 1.5 * heads + 0.01 * passes)
    asked.evaluation.labels = None
    assert labels.seconds(asked, images, 0.01, 1 / 3, 1.5) == 0
