"""A rate that is chosen by trials: on held-out training images, once for every seed, and recorded."""

from datetime import datetime
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.core.errors import TrainingStopped, UserError
from helpers.report.costs import cost_table
from helpers.runs import rates, records, run
from helpers.runs.config import RateTrials, RunConfig
from helpers.runs.material import material
from helpers.runs.plan import Cell, collect, configs
from helpers.runs.sweep import sweep
from tests.small_run import small

ASKED = {"rates": [1e-6, 2e-3, 4e-3], "epochs": 1, "validation": 64}


def tried(seed=0, **changes):
    return RunConfig(
        **small(training={"rate": ASKED, **changes}).model_dump(),
    ).model_copy(update={"seed": seed})


def test_trials_are_the_same_for_every_seed_and_see_no_test_image():
    first, second = tried(0).rate_trials(), tried(1, epochs=7).rate_trials()
    assert [trial.id for trial in first] == [trial.id for trial in second] and [trial.training.rate for trial in first] == ASKED["rates"]
    assert all(trial.training.epochs == 1 and trial.seed == 0 and trial.data.test_images is None for trial in first)
    images = material(first[0].data)
    assert images.test is images.train and not set(images.test_indices) & set(images.train_indices) and len(images.test_indices) == 64
    everything = set(material(tried().data).train_indices)
    assert set(images.test_indices) | set(images.train_indices) == everything


def test_a_grid_trains_them_before_the_first_run_that_asks(house):
    cells = [Cell(small()), Cell(tried(0)), Cell(tried(1))]
    trials = [trial.id for trial in tried().rate_trials()]
    assert [config.id for config in configs(cells)] == [small().id, *trials, tried(0).id, tried(1).id]


def test_the_best_one_is_taken_and_all_are_told(house):
    import torch

    rate, how = rates.find_rate(tried(), torch.device("cpu"))
    found = {f"{t.training.rate:g}": records.find(t.id).evaluations["linear"]["top1"] for t in tried().rate_trials()}
    assert how == {"rate": rate, "from": "trials", "trials": found} and found[f"{rate:g}"] == max(found.values())
    assert np.isfinite(list(found.values())).all()


def test_of_equals_the_lower_and_never_one_that_diverged(house, monkeypatch):
    def reading(config, device, stop):
        diverged = "it diverged" if config.training.rate == 1e-6 else ""
        return SimpleNamespace(diverged=diverged, evaluations={} if diverged else {"linear": {"top1": 50.0}})

    monkeypatch.setattr(rates.run, "run", reading)
    rate, how = rates.find_rate(tried(), None)
    assert rate == 2e-3 and how["trials"]["1e-06"] is None

    monkeypatch.setattr(rates.run, "run", lambda config, device, stop: SimpleNamespace(diverged="it diverged"))
    with pytest.raises(TrainingStopped, match="No rate that was tried .* Add lower ones"):
        rates.find_rate(tried(), None)


def test_a_trial_that_diverged_is_an_answer_and_asked_once(house, monkeypatch):
    asked = ASKED | {"rates": [2e-3, 1e30]}
    runs = [
        tried(seed).model_copy(update={"training": tried().training.model_copy(update={"rate": RateTrials(**asked)})}) for seed in (0, 1)
    ]
    trained, take = [], run._train_and_evaluate
    monkeypatch.setattr(run, "_train_and_evaluate", lambda config, *rest: trained.append(config.id) or take(config, *rest))
    outcome = sweep(configs([Cell(each) for each in runs]), device="cpu")
    assert not outcome.failures and len(trained) == len(set(trained)) == 4, "two trials and two runs, each once"
    lost = records.find(runs[0].rate_trials()[1].id)
    assert "The loss became" in lost.diverged and not lost.evaluations and not lost.arrays
    assert {records.find(each.id).manifest["resolved"]["rate"] for each in runs} == {2e-3}


def test_a_trial_that_ran_out_of_memory_is_no_answer(house, monkeypatch):
    def full(*everything):
        raise TrainingStopped("out of memory")

    monkeypatch.setattr(run, "_train_and_evaluate", full)
    trial = tried().rate_trials()[0]
    with pytest.raises(TrainingStopped, match="out of memory"):
        run.run(trial, "cpu")
    assert records.find(trial.id) is None


def test_trials_cost_what_they_cost_and_the_run_what_is_its_own(house):
    cells = collect([Cell(tried(), {"part": "main"})], sweep([tried()], device="cpu", references=False))
    table, runs = cost_table(cells)
    trials = [trial.id for trial in tried().rate_trials()]
    assert list(table["run"]) == runs == [tried().id, *trials] and list(table["part"]) == ["main", *["trial of a rate"] * 3]
    assert (table["seconds"] > 0).all() and not records.find(trials[0]).arrays
    began, ended = (
        datetime.fromisoformat(records.find(name).manifest[when]) for name, when in ((tried().id, "started"), (trials[-1], "ended"))
    )
    assert began >= ended, "the clock of the run starts when its rate is known (both are whole seconds)"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data": {"label_split": "train"}}, "have labels only where data.label_split is left out"),
        ({"data": {"train_images": 80}}, "is larger than the 16 images that trials of rates train on"),
    ],
)
def test_trials_that_cannot_train_are_named_with_the_run(changes, says):
    with pytest.raises(UserError, match=says):
        small(training={"rate": ASKED}, **changes)


@pytest.mark.parametrize("wrong", [{"rates": [1e-3]}, {"rates": [1e-3, 1e-3]}, {"rates": [1e-3, -1.0]}, {"epochs": 0}])
def test_what_cannot_be_tried_is_named_before_training(wrong):
    with pytest.raises(UserError, match="rate"):
        small(training={"rate": ASKED | wrong})
