"""RunConfig: frozen, strict, and its id is stable as the house grows."""

import hashlib
import json

import pytest

from helpers.core.errors import UserError
from helpers.methods import METHODS, method_options
from helpers.runs import records, transfer, untrained
from helpers.runs.config import RangeTest, RunConfig
from helpers.views import RECIPES

KNOWN = {
    "data": {"dataset": "cifar10", "train_images": 1000},
    "encoder": {"name": "resnet_tiny", "stem": "cifar"},
    "method": {"name": "simclr", "options": {"temperature": 0.1}},
    "training": {"epochs": 3, "optimizer": "radam", "rate": {"factor": 0.375}},
    "seed": 2,
}

# Defaults that records rest on. Fields may be added here, never changed.
PUBLISHED_DEFAULTS = {
    "data": {
        "dataset": "embedded", "train_split": "train", "test_split": "test", "label_split": None, "train_images": None,
        "test_images": None, "image_size": None, "label_fraction": 1.0, "options": {},
    },
    "encoder": {"name": "resnet_tiny", "stem": "auto", "options": {}, "weights": None},
    "views": {"recipe": "contest", "options": {}},
    "method": {"name": "simclr", "options": {}},
    "training": {
        "epochs": 10, "batch_size": 128, "accumulate": 1, "optimizer": "radam", "rate": 0.001, "weight_decay": 0.0, "momentum": 0.9,
        "schedule": "one_cycle", "warmup_epochs": 0.0, "precision": "auto", "compile": False,
    },
    "evaluation": {"probe_every": 1, "probe_bank": None, "untrained": False, "maps": 1000},
    "range_test": {"factor": 0.375, "default": 0.1, "seeds": 2, "low": 1e-5, "high": 1.0, "coarse_steps": 100, "fine_steps": 100},
}  # fmt: skip


def digest(content):
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def test_the_id_of_a_known_config_never_changes():
    """A field that is added with a default keeps every id; a default that changes must fail here, for old records would lie."""
    assert RunConfig(**KNOWN).id == "cifar10-8ac94e77bf4b"
    assert RunConfig(**KNOWN).range_test_id == "cifar10-range-21abd3407b13"
    now = RunConfig().model_dump(mode="json") | {"range_test": RangeTest().model_dump(mode="json")}
    for section, fields in PUBLISHED_DEFAULTS.items():
        assert {name: now[section][name] for name in fields} == fields


def test_what_a_name_stands_for_never_changes():
    """The id holds the names of recipes, methods and encoders; what they stand for must stay, or take a new name."""
    recipes = {name: settings.model_dump(mode="json") for name, settings in RECIPES.items()}
    assert not any(recipe.pop("mask_first") for recipe in recipes.values()), "an option that came later stands for what was there before"
    assert digest(recipes) == "66df27db4ba5"
    options = {name: {k: str(p.default) for k, p in method_options(name).items()} for name in METHODS}
    assert options["moco_v1"].pop("hidden") == "0"
    assert options["relic"].pop("form") == options["relic_v2"].pop("form") == "transposed"
    assert options["simclr"].pop("decoupled") == "False"
    assert options["masked_patches"].pop("final_norm") == "False"
    assert options["dino"].pop("initial") == "0.0"
    assert (options["sit"].pop("released"), options["sit"].pop("momentum")) == ("False", "0.996")
    assert digest(options) == "84ccd97e4899"


@pytest.mark.parametrize("path", sorted(records.runs_dir().glob("cifar10-*")), ids=lambda path: path.name)
def test_committed_records_are_of_the_configs_they_carry(path):
    record = records.Record(path).check()
    kind = record.manifest.get("kind")
    if kind == "untrained":
        assert untrained.named(record.config) == record.id
    elif kind == "transfer":
        assert transfer.named(record.config) == record.id
    elif kind is None:
        assert RunConfig(**record.config).id == record.id


def test_equal_configs_have_equal_ids_however_they_are_written():
    spelled_out = RunConfig(**RunConfig(**KNOWN).model_dump(mode="json"))
    assert spelled_out.id == RunConfig(**KNOWN).id
    assert RunConfig(**KNOWN | {"seed": 3}).id != RunConfig(**KNOWN).id


def test_a_range_test_is_shared_by_what_it_does_not_see():
    config = RunConfig(**KNOWN)
    for change in ({"seed": 5}, {"training": KNOWN["training"] | {"epochs": 9, "rate": {"factor": 0.1}}}):
        assert RunConfig(**KNOWN | change).range_test_id == config.range_test_id
    other = RunConfig(**KNOWN | {"training": KNOWN["training"] | {"optimizer": "adamw"}})
    assert other.range_test_id != config.range_test_id
    longer = RunConfig(**KNOWN | {"training": KNOWN["training"] | {"rate": RangeTest(coarse_steps=50)}})
    assert longer.range_test_id != config.range_test_id


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sede": 1}, "'sede'.*seed"),
        ({"training": {"epoch": 3}}, "'epoch'.*epochs"),
        ({"training": {"optimizer": "radamm"}}, "'radamm'.*'radam'"),
        ({"training": {"epochs": 0}}, r"training.epochs = 0"),
        ({"training": {"rate": -1.0}}, "training.rate"),
        ({"training": {"precision": "fp8"}}, "fp8"),
        ({"method": {"name": "simclrr"}}, "'simclrr'.*'simclr'"),
        ({"method": {"options": {"temprature": 1}}}, "temperature"),
        ({"views": {"recipe": "contst"}}, "'contst'.*'contest'"),
        ({"views": {"options": {"hue": 7.0}}}, "hue"),
        ({"data": {"train_images": 100}, "training": {"batch_size": 128}}, "batch_size = 128 is larger than data.train_images = 100"),
        ({"views": {"options": {"count": 1}}}, "two views"),
        ({"data": {"validation": 100, "test_images": 50}}, "test_images"),
        ({"evaluation": {"probe": "knn"}}, "'knn' is no kNN protocol"),
        ({"evaluation": {"probe": "knn10_t0"}}, "knn10"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_near(changes, says):
    with pytest.raises(UserError, match=says):
        RunConfig(**changes)


def test_a_config_is_frozen():
    with pytest.raises(Exception, match="frozen"):
        RunConfig().seed = 1
