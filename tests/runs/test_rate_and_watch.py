"""Rates in step with the batch, what of a training is watched on the way, and what cannot be trained, named before anything is read."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.core.errors import UserError
from helpers.judging.competence import fallen
from helpers.runs import rates, watch
from helpers.runs import run as runs_run
from helpers.runs.config import RunConfig
from helpers.runs.material import material
from helpers.runs.run import build, run, settings_of
from helpers.training import Training
from tests.small_run import small

CPU = torch.device("cpu")
TRIED = {"rates": [1e-3, 2e-3, 4e-3], "epochs": 1, "validation": 64}
VIT = {"name": "vit_micro", "stem": "patch8", "options": {"dim": 32, "depth": 2, "heads": 2}}


# -- rates ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch", "accumulate", "meant", "times"), [(64, 1, 256, 0.25), (64, 4, 256, 1.0), (64, 3, 32, 6.0), (64, 1, 64, 1.0)]
)
def test_a_given_rate_grows_in_step_with_all_that_a_step_sees(batch, accumulate, meant, times):
    config = small(training={"rate": 0.01, "batch_size": batch, "accumulate": accumulate, "rate_batch": meant})
    rate, how = rates.find_rate(config, CPU)
    assert rate == pytest.approx(0.01 * times)
    assert how == {"rate": rate, "from": "given", "asked": 0.01, "for a batch of": meant}
    settings = settings_of(config, rate)
    assert settings.rate == rate and not hasattr(settings, "rate_batch")


def test_without_a_batch_that_it_is_meant_for_a_rate_is_taken_as_it_is():
    assert rates.find_rate(small(training={"rate": 0.01, "accumulate": 4}), CPU) == (0.01, {"rate": 0.01, "from": "given"})


def test_trials_are_run_at_rates_in_step_with_the_batch_and_so_is_the_best(monkeypatch):
    config, seen = small(training={"rate": TRIED, "accumulate": 2, "rate_batch": 32}), []

    def reading(trial, device, stop):
        seen.append(rates.find_rate(trial, device)[0])
        return SimpleNamespace(diverged="", evaluations={"linear": {"top1": {1e-3: 40.0, 2e-3: 60.0, 4e-3: 50.0}[trial.training.rate]}})

    monkeypatch.setattr(rates.run, "run", reading)
    rate, how = rates.find_rate(config, CPU)
    assert seen == pytest.approx([4e-3, 8e-3, 16e-3]), "64 images, twice, where 32 are meant"
    assert rate == how["rate"] == pytest.approx(8e-3) == seen[1]
    assert (how["asked"], how["for a batch of"], how["from"]) == (2e-3, 32, "trials")
    assert how["trials"] == {"0.001": 40.0, "0.002": 60.0, "0.004": 50.0}, "by the rates that were asked for"


def test_a_run_trains_at_the_rate_it_says(house, monkeypatch):
    told, begin = [], Training.__post_init__
    monkeypatch.setattr(Training, "__post_init__", lambda self: told.append(self.settings) or begin(self))
    given = {"rate": 1e-3, "rate_batch": 16, "epochs": 1, "final_weight_decay": 0.2, "beta2": 0.9, "schedule": "constant"}
    record = run(small(training=given, evaluation={"probe_every": 0, "maps": None, "cka": False}), "cpu")
    assert [(each.rate, each.final_weight_decay, each.beta2) for each in told] == [(pytest.approx(4e-3), 0.2, 0.9)]
    assert record.manifest["resolved"] == {"rate": told[0].rate, "from": "given", "asked": 1e-3, "for a batch of": 16}
    assert record.metrics["rate"].iloc[0] == pytest.approx(4e-3)
    assert not [name for name in record.arrays if name.startswith("gradient")], "a trace is kept where it is asked for"


# -- ids ------------------------------------------------------------------------------------------------------------------


NEW = [
    ("training", "rate_batch", None, 256),
    ("training", "final_weight_decay", None, 0.4),
    ("training", "final_weight_decay", None, 0.0),
    ("training", "beta2", 0.999, 0.95),
    ("evaluation", "gradients", False, True),
    ("evaluation", "probe_images", None, 100),
]


@pytest.mark.parametrize(("section", "field", "default", "other"), NEW)
def test_a_new_field_at_its_default_leaves_every_id_and_another_value_makes_another_run(section, field, default, other):
    for given in ({}, {"data": {"dataset": "cifar10"}, "training": {"epochs": 3, "rate": {"factor": 0.5}}}):
        plain = RunConfig(**given)
        set_to_it = RunConfig(**given | {section: given.get(section, {}) | {field: default}})
        assert set_to_it == plain and (set_to_it.id, set_to_it.range_test_id) == (plain.id, plain.range_test_id)
    assert RunConfig(**{section: {field: other}}).id != RunConfig().id


def test_a_range_test_is_shared_by_what_it_does_not_see_and_by_nothing_else():
    plain, watched, decayed, beta = (
        RunConfig(training={"rate": {}} | training, evaluation=evaluation)
        for training, evaluation in (({}, {}), ({}, {"gradients": True}), ({"final_weight_decay": 0.4}, {}), ({"beta2": 0.9}, {}))
    )
    assert plain.range_test_id == watched.range_test_id == decayed.range_test_id != beta.range_test_id


# -- what cannot be -------------------------------------------------------------------------------------------------------


RESNETS = "feature_norm, width, zero_init_last; ViTs have dim, .*mlp_norm, freeze_patches"
IMPOSSIBLE = [
    ({"training": {"epochs": 3, "warmup_epochs": 3.5}}, "training.warmup_epochs = 3.5 is longer than .* training.epochs = 3: lower it"),
    (
        {"training": {"epochs": 9, "warmup_epochs": 2, "rate": TRIED}},
        "training.warmup_epochs = 2 is longer than the trials of training.rate.epochs = 1: lower it, or train longer",
    ),
    ({"training": {"beta2": 0.95, "optimizer": "sgd"}}, "training.beta2 = 0.95: sgd has no second beta; leave it out, or take adamw"),
    ({"training": {"beta2": 0.95, "optimizer": "lars"}}, "training.beta2 = 0.95: lars has no second beta; leave it out, or take adamw"),
    ({"training": {"rate": {}, "rate_batch": 256}}, "training.rate_batch: a range test finds the rate at the very batch .*leave it out"),
    ({"training": {"rate_batch": 0}}, "training.rate_batch = 0"),
    ({"training": {"beta2": 1.0}}, "training.beta2 = 1.0"),
    ({"training": {"final_weight_decay": -0.1}}, "training.final_weight_decay = -0.1"),
    ({"evaluation": {"probe_images": 0}}, "evaluation.probe_images = 0"),
    ({"encoder": {"options": {"mlp_norm": "batch"}}}, f"resnet_tiny takes no option 'mlp_norm': it has no transformer blocks .*{RESNETS}"),
    ({"encoder": {"options": {"freeze_patches": True}}}, f"resnet_tiny takes .*it has no projection of patches .*be frozen.*{RESNETS}"),
    ({"encoder": {"name": "resnet26", "options": {"freeze_patches": True}}}, "resnet26 takes no option 'freeze_patches': it has no proj"),
    (
        {"encoder": {"name": "deit_tiny_patch16_224", "options": {"mlp_norm": "batch"}}},
        "'mlp_norm': its net is taken as its library builds",
    ),
    ({"encoder": {"name": "vit_micro", "options": {"mlp_norm": "layer"}}}, "Unknown mlp_norm for vit_micro 'layer'.*batch"),
    ({"encoder": {"name": "vit_micro", "options": {"freeze_patchs": True}}}, "'freeze_patchs'.*'freeze_patches'"),
]


@pytest.mark.parametrize(("given", "says"), IMPOSSIBLE)
def test_what_cannot_be_is_named_with_its_field_and_a_remedy_before_anything_is_read_or_built(monkeypatch, given, says):
    def touched(*_, **__):
        raise AssertionError("something was read or built")

    for name in ("helpers.models.build.build_net", "helpers.runs.material.material"):
        monkeypatch.setattr(name, touched)
    with pytest.raises(UserError, match=f"(?s){says}"):
        RunConfig(**given)


@pytest.mark.parametrize(
    "given",
    [
        {"training": {"epochs": 3, "warmup_epochs": 3}},
        {"training": {"epochs": 9, "warmup_epochs": 1, "rate": TRIED, "rate_batch": 256}},
        {"training": {"beta2": 0.95, "optimizer": "lamb"}},
        {"training": {"beta2": 0.999, "optimizer": "sgd"}},
        {"encoder": {"name": "vit_micro", "options": {"mlp_norm": "batch", "freeze_patches": True, "patch": 4}}},
        {"encoder": {"name": "vit_tiny_patch16_224", "options": {"mlp_norm": "batch", "freeze_patches": True}}},
    ],
)
def test_what_can_be_is_left_alone(given):
    assert RunConfig(**given).changes() == RunConfig(**RunConfig(**given).model_dump(mode="json")).changes() != {}


# -- what is watched ------------------------------------------------------------------------------------------------------


def test_a_record_holds_the_norms_of_every_step_and_knn_of_as_many_images_as_asked(house):
    asked = {"gradients": True, "probe_images": 10, "probe": "knn10", "cka": False, "maps": None}
    config = small(encoder=VIT, training={"epochs": 3, "clip_gradients": 1.0}, evaluation=asked)
    record = run(config, "cpu")
    traced = {name: array for name, array in record.arrays.items() if name.startswith("gradient.")}
    assert {*traced} == {f"gradient.{part}" for part in ("first_layer", "first_block", "rest", "heads")}
    steps = int(record.metrics["step"].iloc[-1])
    assert steps == 3 * 256 // 64
    for name, array in traced.items():
        assert array.shape == (steps,) and array.dtype == np.float16 and np.isfinite(array).all()
        by_epoch = (10 ** array.astype(float)).reshape(3, -1).mean(axis=1)
        assert by_epoch == pytest.approx(record.metrics[name].to_numpy(), rel=5e-3), "three digits of a half float"
    squares = sum((10 ** array.astype(float)) ** 2 for array in traced.values())
    assert np.sqrt(squares).reshape(3, -1).mean(axis=1) == pytest.approx(record.metrics["gradient"].to_numpy(), rel=5e-3)
    knn = record.metrics["knn"].to_numpy()
    assert len(knn) == 3 and knn == pytest.approx(np.round(knn / 10) * 10, abs=1e-4)
    assert record.evaluations["knn10"]["top1"] % (100 / 64) == pytest.approx(0, abs=1e-4), "the last readout is of all test images"


@pytest.mark.parametrize(("count", "kept"), [(None, 64), (10, 10), (64, 64), (1000, 64)])
def test_the_same_test_images_are_read_every_time(monkeypatch, count, kept):
    read, extract = [], watch.extract
    monkeypatch.setattr(watch, "extract", lambda *parts, indices, **how: read.append(indices) or extract(*parts, indices=indices, **how))
    config = small(evaluation={"probe_images": count, "probe": "knn10"})
    images = material(config.data)
    probe = watch._probe(config, images, CPU)
    method, _ = build(config, CPU)
    first, again = probe(method, 1), probe(method, 2)
    assert first["knn"] == again["knn"] and first["knn"] % (100 / kept) == pytest.approx(0, abs=1e-4)
    assert [len(indices) for indices in read] == [256, kept, 256, kept]
    assert np.array_equal(read[1], read[3]) and {*read[1]} <= {*images.test_indices}
    assert len({*read[1]}) == kept and (kept == 64 or np.ptp(read[1]) > 0.7 * np.ptp(images.test_indices)), "spread over all of them"


@pytest.mark.parametrize(
    ("probed", "images", "points"), [(100, 10_000, 0.0), (None, 10_000, 5.0), (50_000, 10_000, 5.0), (50_000, 100, 0.0)]
)
def test_a_fall_on_the_way_is_held_against_the_images_it_was_read_on(probed, images, points):
    record = SimpleNamespace(
        manifest={"test_images": images},
        config={"evaluation": {"probe_images": probed}},
        metrics=pd.DataFrame({"knn": [50.0, 60.0, 58.0, 55.0]}),
    )
    assert fallen([record]) == points


def test_of_a_long_run_the_longest_gradient_of_some_steps_in_a_row_is_kept(monkeypatch):
    monkeypatch.setattr(runs_run, "MOST_STEPS", 4)
    training = SimpleNamespace(traced=[[10.0**step, 1.0] for step in (0, 2, 1, -1, 3, 0, 1)], parts={"one": [], "two": []})
    kept = runs_run._traced(training)
    assert kept["one"].tolist() == [2, 1, 3, 1] and kept["two"].tolist() == [0, 0, 0, 0]
    monkeypatch.setattr(runs_run, "MOST_STEPS", 7)
    assert runs_run._traced(training)["one"].tolist() == [0, 2, 1, -1, 3, 0, 1]
    assert runs_run._traced(SimpleNamespace(traced=[], parts={})) == {}
