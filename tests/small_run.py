"""A run that takes a second or two, to be changed."""

from helpers.runs.config import RunConfig

SMALL = {
    "data": {"dataset": "embedded", "train_images": 256, "test_images": 64},
    "encoder": {"name": "resnet_tiny", "stem": "stride2"},
    "method": {"name": "simclr", "options": {"temperature": 0.1, "hidden": 32, "out": 16}},
    "training": {"epochs": 3, "batch_size": 64, "optimizer": "radam", "rate": 1e-3},
    "evaluation": {"maps": 50},
}


def small(**changes):
    return RunConfig(**{key: value | changes.get(key, {}) if isinstance(value, dict) else value for key, value in SMALL.items()})
