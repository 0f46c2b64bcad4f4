"""A rate that is chosen by trials: on held-out training images, once for every seed, and recorded."""

import numpy as np
import pytest

from helpers.core.errors import TrainingStopped, UserError
from helpers.runs import rates, records
from helpers.runs.config import RunConfig
from helpers.runs.material import material
from helpers.runs.plan import Cell, configs
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
        if config.training.rate == 1e-6:
            raise TrainingStopped("it diverged")
        from types import SimpleNamespace

        return SimpleNamespace(evaluations={"linear": {"top1": 50.0}})

    monkeypatch.setattr(rates.run, "run", reading)
    rate, how = rates.find_rate(tried(), None)
    assert rate == 2e-3 and how["trials"]["1e-06"] is None

    def none(config, device, stop):
        raise TrainingStopped("it diverged")

    monkeypatch.setattr(rates.run, "run", none)
    with pytest.raises(TrainingStopped, match="No rate that was tried .* Add lower ones"):
        rates.find_rate(tried(), None)


@pytest.mark.parametrize("wrong", [{"rates": [1e-3]}, {"rates": [1e-3, 1e-3]}, {"rates": [1e-3, -1.0]}, {"epochs": 0}])
def test_what_cannot_be_tried_is_named_before_training(wrong):
    with pytest.raises(UserError, match="rate"):
        small(training={"rate": ASKED | wrong})
