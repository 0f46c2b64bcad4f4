"""The forecast: evaluations on the way are in it, and what cannot be timed is counted, not only told."""

from types import SimpleNamespace

import numpy as np
import pytest

from helpers.runs import cost
from helpers.runs.config import Robustness, RunConfig

TEST = SimpleNamespace(images=np.zeros((60, 3, 64, 64), np.uint8))
COST = {"seconds": 0.5, "seconds_per_view": 0.01, "flops": 1e9, "steps_per_epoch": 4}


@pytest.fixture
def images(monkeypatch):
    """300 labelled training images and 60 test images, without a dataset."""
    monkeypatch.setattr(cost, "material", lambda data: SimpleNamespace(labelled=np.arange(300), test_indices=np.arange(60), test=TEST))


def asked(**evaluation):
    defaults = {
        "probe_every": 0,
        "probe_bank": None,
        "untrained": False,
        "every": None,
        "finetune_epochs": 0,
        "finetune_every": None,
        "finetune_recipe": "plain",
        "finetune_steps": 0,
        "maps": None,
        "robustness": None,
    }
    return SimpleNamespace(data=None, training=SimpleNamespace(epochs=10), evaluation=SimpleNamespace(**defaults | evaluation))


def test_an_evaluation_at_the_end_by_hand(images):
    assert cost._evaluation_seconds(asked(), COST) == pytest.approx(cost.READOUT + 360 / 3 * 0.01)
    assert cost._evaluation_seconds(asked(maps=500), COST) - cost._evaluation_seconds(asked(), COST) == pytest.approx(cost.MAPS)


def test_evaluations_on_the_way_and_fine_tunings_by_hand(images):
    end, one = cost._evaluation_seconds(asked(), COST), cost.READOUT + 360 / 3 * 0.01
    assert cost._evaluation_seconds(asked(every=3), COST) - end == pytest.approx(4 * one)  # after epochs 3, 6, 9 and 10
    assert cost._evaluation_seconds(asked(every=5), COST) - end == pytest.approx(2 * one)
    tuned = (2 * 300 + 360 / 3) * 0.01
    assert cost._evaluation_seconds(asked(finetune_epochs=2), COST) - end == pytest.approx(tuned)
    assert cost._evaluation_seconds(asked(finetune_epochs=2, finetune_every=5), COST) - end == pytest.approx(2 * tuned)
    assert cost._evaluation_seconds(asked(finetune_epochs=2, finetune_steps=7), COST) - end == pytest.approx(tuned + 2 * 300 * 0.01)
    from_probe = cost._evaluation_seconds(asked(finetune_epochs=2, finetune_recipe="from_probe"), COST) - end
    assert from_probe == pytest.approx(tuned + cost.READOUT + 300 * 0.01)  # a head is fitted, and the images are gone over three times more
    untrained = cost._evaluation_seconds(asked(untrained=True, finetune_epochs=2), COST)
    assert untrained == pytest.approx(2 * end + 2 * tuned)


def test_altered_images_by_hand(images):
    end = cost._evaluation_seconds(asked(), COST)
    for count, read in ((20, 20), (None, 60), (1000, 60)):  # there are 60 test images
        extra = cost._evaluation_seconds(asked(robustness=Robustness(images=count)), COST) - end
        assert extra == pytest.approx(read * (96 * 0.01 / 3 + 4 * cost.ALTERING)), "of 64 px"


def test_a_configs_own_fields_are_those_that_are_read(images):
    assert cost._evaluation_seconds(RunConfig(evaluation={"probe_every": 0, "maps": None}), COST) == cost._evaluation_seconds(asked(), COST)


def test_what_cannot_be_timed_is_counted(images, monkeypatch, tmp_path):
    monkeypatch.setenv("RUNS_DIR", str(tmp_path))

    def timed(config, device):
        if config.training.batch_size == 64:
            raise cost.UserError("no such images")
        return COST

    monkeypatch.setattr(cost, "_step_cost", timed)
    configs = [RunConfig(training={"batch_size": size}, seed=seed) for size in (64, 128) for seed in (0, 1)]
    table = cost.forecast(configs, device="cpu")
    assert table["not timed"].tolist() == [2, 0, 2] and table["to do"].tolist() == [2, 2, 4]
    assert table["minutes"][0] == 0 < table["minutes"][1] and "no such images" in table["runs"][0]
    assert table["PFLOP"].iloc[-1] == pytest.approx(2 * 10 * 4 * 1e9 / 1e15)


def test_cells_that_differ_by_the_order_of_their_steps_are_timed_once(monkeypatch, tmp_path):
    monkeypatch.setenv("CACHE_DIR", str(tmp_path))
    timed = []
    monkeypatch.setattr(cost, "_time_steps", lambda config, device: timed.append(config.id) or COST)
    for order in (["crop", "colour"], ["colour", "crop"], ["sobel"]):
        for count in (2, 3):
            cost._step_cost(
                RunConfig(views={"recipe": "composition", "options": {"order": order, "count": count}}), cost.pick_device("cpu")
            )
    assert len(timed) == 2
