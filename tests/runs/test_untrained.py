"""References: what an encoder is worth before training, once for all runs that begin from the same weights."""

from helpers.core.errors import DataError
from helpers.runs import sweep as sweeping
from helpers.runs import untrained
from helpers.runs.config import RunConfig
from helpers.runs.run import run
from helpers.runs.sweep import sweep
from helpers.training import Stopped
from tests.small_run import SMALL, small


def test_a_reference_is_what_the_run_itself_would_have_read(house):
    asked = small(evaluation={"untrained": True}, training={"epochs": 1})
    own, shared = run(asked, "cpu"), untrained.make(small(), "cpu")
    assert {f"{name}_untrained": value for name, value in shared.evaluations.items()}.items() <= own.evaluations.items()
    assert shared.evaluations["linear"]["top1"] > 0 and "linear.predictions" in shared.arrays and shared.manifest["kind"] == "untrained"
    assert untrained.find(own).id == shared.id and untrained.make(small(), "cpu").path == shared.path


def test_runs_that_begin_from_the_same_weights_share_one():
    shared = untrained.reference_id(small())
    same = [
        small(training={"epochs": 9, "rate": 0.5, "optimizer": "adamw"}),
        RunConfig(**SMALL | {"method": {"name": "byol"}}),
        small(evaluation={"cka": False}),
        RunConfig(**SMALL | {"views": {"recipe": "simclr_small"}}),
    ]
    assert {untrained.reference_id(config) for config in same} == {shared}
    scaled = RunConfig(**SMALL | {"views": {"recipe": "contest", "options": {"mean": [0.0, 0.0, 0.0]}}})
    others = [
        small(encoder={"options": {"zero_init_last": False}}),
        small(data={"train_images": 200}),
        scaled,
        small(training={"precision": "fp32"}),
        RunConfig(**SMALL | {"method": {"name": "split_brain"}, "views": {"recipe": "split_brain"}}),
        small().model_copy(update={"seed": 1}),
    ]
    assert len({untrained.reference_id(config) for config in others} - {shared}) == len(others)


def test_a_sweep_leaves_the_references_of_its_runs_behind(house):
    runs = [small(training={"epochs": 1}), small(training={"epochs": 1, "rate": 2e-3}), small(evaluation={"untrained": True})]
    sweep(runs[:2], device="cpu", references=False)
    assert len(untrained.missing(runs)) == 1  # two share theirs, the third reads its own
    outcome = sweep(runs[:2], device="cpu")
    assert outcome.trained == 0 and untrained.missing(runs) == [] and untrained.find(outcome[runs[0]]) is not None


def test_a_reference_that_cannot_be_read_takes_no_run_down(house, monkeypatch):
    def damaged(*given):
        raise DataError("the images are gone")

    monkeypatch.setattr(untrained, "make", damaged)
    outcome = sweep([small(training={"epochs": 1})], device="cpu")
    assert outcome[small(training={"epochs": 1})] is not None
    assert outcome.failures == {untrained.reference_id(small()): "DataError: the images are gone"}


def test_trials_need_none():
    trial = small(data={"dataset": "embedded", "train_images": 256, "test_images": None, "validation": 32})
    assert untrained.missing([trial]) == [] and len(untrained.missing([small()])) == 1


def test_a_sweep_that_is_cut_short_leaves_each_run_with_its_reference(house, monkeypatch):
    runs = [small(training={"epochs": 1}).model_copy(update={"seed": seed}) for seed in range(3)]
    second = sweeping.run

    def night_ends(config, device, stop):
        if config.seed == 2:
            raise Stopped("Stopped for the night.")
        return second(config, device, stop)

    monkeypatch.setattr(sweeping, "run", night_ends)
    outcome = sweep(runs, device="cpu")
    assert outcome.stopped == "Stopped for the night." and outcome.trained == 2
    assert [untrained.find(record).config["seed"] for record in outcome.records.values() if record] == [0, 1]


def test_a_reference_that_cannot_be_made_is_tried_once(house, monkeypatch):
    tries = []

    def broken(config, device, stop):
        tries.append(config.id)
        raise DataError("no such image")

    monkeypatch.setattr(untrained, "make", broken)
    runs = [small(training={"epochs": 1, "rate": rate}) for rate in (1e-3, 2e-3, 3e-3)]  # one reference for all
    outcome = sweep(runs, device="cpu")
    assert outcome.trained == 3 and tries == [runs[0].id] and list(outcome.failures) == [untrained.reference_id(runs[0])]
