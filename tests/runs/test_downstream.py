"""Downstream evaluation on the way: when it is due, what a record keeps of it, and that an interruption loses none of it."""

import numpy as np
import pytest

from helpers.core.errors import UserError
from helpers.runs import reader
from helpers.runs.config import RunConfig
from helpers.runs.run import run
from helpers.training import Stopped

SMALL = {
    "data": {"dataset": "embedded", "image_size": 16, "options": {"train": 96, "test": 40}},
    # Not narrower: torch 2.11's convolution of 6 channels by 1 x 1 at stride 2 writes beyond its memory on a CPU.
    "encoder": {"name": "resnet_tiny", "stem": "stride2", "options": {"width": 0.5}},
    "views": {"recipe": "rotnet"},
    "method": {"name": "rotnet"},
    "training": {"epochs": 3, "batch_size": 16, "optimizer": "adam", "rate": 1e-3, "precision": "fp32"},
    "evaluation": {
        "probe_every": 0,
        "every": 2,
        "finetune_epochs": 1,
        "untrained": True,
        "blocks": True,
        "cka": False,
        "maps": 40,
        "tints": True,
        "pictures": True,
    },
}


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    for name in ("RESULTS_DIR", "RUNS_DIR", "CACHE_DIR", "CHECKPOINT_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))


def test_a_record_holds_every_checkpoint_that_was_due():
    record = run(RunConfig(**SMALL), "cpu")
    assert record.metrics["linear"].notna().tolist() == [False, True, True]
    assert record.metrics["finetune"].notna().tolist() == [False, False, True]
    assert {"first_layer_gradient", "spread", "effective_rank"} <= set(record.metrics)
    assert (record.metrics["first_layer_gradient"] > 0).all()
    arrays = record.arrays
    assert arrays["linear.epochs"].tolist() == [2, 3] and arrays["finetune.epochs"].tolist() == [3]
    for name in ("linear", "finetune"):
        for row, epoch in enumerate(arrays[f"{name}.epochs"]):
            right = 100 * (arrays[f"{name}.on_the_way"][row] == arrays["labels"]).mean()
            assert record.metrics.loc[epoch - 1, name] == pytest.approx(right)
    assert record.evaluations["finetune"]["top1"] == pytest.approx(record.metrics["finetune"].iloc[-1])
    assert record.evaluations["linear"]["top1"] == pytest.approx(record.metrics["linear"].iloc[-1], abs=5.1)  # within two images
    block = record.evaluations["linear_block"]
    assert block["blocks"][block["block"]] == block["top1"] and len(block["blocks"]) == 4
    assert {"linear_untrained", "finetune_untrained"} <= set(record.evaluations)
    for name in ("linear", "finetune", "finetune_untrained"):
        assert 0 < record.evaluations[name]["train_top1"] <= 100
    assert {"tinted.blue", "tinted.red", "neighbours.euclidean.images", "map.images", "examples.worst.images"} <= set(arrays)
    assert record.manifest["collapsed"] in (True, False) and record.manifest["training_flops"] > 0


def test_fine_tuning_from_the_probe_is_another_run_and_tells_how_it_was_read(monkeypatch):
    read = {"probe_every": 0, "maps": None, "cka": False, "finetune_epochs": 1, "finetune_recipe": "from_probe", "finetune_steps": 30}
    config = RunConfig(**SMALL | {"evaluation": read})
    assert config.id != RunConfig(**SMALL | {"evaluation": read | {"finetune_recipe": "plain"}}).id
    seen, real = [], reader.finetune
    monkeypatch.setattr(reader, "finetune", lambda *given, **how: seen.append(how) or real(*given, **how))
    found = run(config, "cpu").evaluations
    assert [(how["recipe"], how["epochs"], how["steps"]) for how in seen] == [("from_probe", 1, 30)]
    assert found["linear"]["folds"] == 5 and found["finetune"]["train_top1"] > found["finetune"]["top1"] - 20


def test_an_interrupted_run_keeps_what_was_measured_before():
    config = RunConfig(**SMALL | {"evaluation": SMALL["evaluation"] | {"every": 1, "pictures": False, "blocks": False}})
    asked = []

    def stop():
        asked.append(1)
        return "of the test" if len(asked) == 9 else None  # in the second epoch: six steps are one

    with pytest.raises(Stopped):
        run(config, "cpu", stop)
    assert len(asked) == 9
    record = run(config, "cpu")
    assert record.manifest["resumed"]
    assert record.arrays["linear.epochs"].tolist() == [1, 2, 3]
    assert record.metrics["linear"].notna().all()
    first = 100 * (record.arrays["linear.on_the_way"][0] == record.arrays["labels"]).mean()
    assert np.isclose(record.metrics["linear"].iloc[0], first)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"evaluation": {"finetune_every": 2}}, "finetune_epochs"),
        ({"method": {"name": "byol"}, "views": {"recipe": "rotnet"}}, "compares at least two views.*'byol_small'"),
        ({"method": {"name": "barlow_twins"}, "views": {"recipe": "swav_small"}}, "Barlow Twins takes none: set views.options.small = 0"),
    ],
)
def test_what_cannot_be_is_said_before_any_image_is_read(changes, says):
    with pytest.raises(UserError, match=says):
        RunConfig(**changes)
