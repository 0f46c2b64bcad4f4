"""The rule for dips on a real training: the rate ten times as high for twenty steps, and the same run left alone.

Supervised training of drawn shapes, since it is quick to learn something that can be lost.
"""

import numpy as np
import pytest
import torch

from helpers.judging.dips import area_lost, deepest, dips
from helpers.runs.config import RunConfig
from helpers.runs.material import material
from helpers.runs.run import build, settings_of
from helpers.runs.watch import follow_of
from helpers.training import Training

CPU = torch.device("cpu")
FIRST, STEPS, TIMES = 192, 20, 10
STEPS_AN_EPOCH = 8


class Shaken(Training):
    """A training whose rate is higher for some steps."""

    def take(self, group):
        if FIRST <= self.step < FIRST + STEPS:
            for each in self.optimizer.param_groups:
                each["lr"] *= TIMES
        super().take(group)


def curve(kind) -> tuple[np.ndarray, int]:
    """kNN after every epoch, and on how many test images."""
    config = RunConfig(
        data={"image_size": 16, "options": {"train": 2000, "test": 1000, "background": "plain"}},
        encoder={"name": "resnet_tiny", "stem": "stride2", "options": {"width": 0.5}},
        views={"recipe": "supervised"},
        method={"name": "supervised"},
        training={"epochs": 32, "epoch_images": 256, "batch_size": 32, "optimizer": "adamw", "rate": 1e-2, "schedule": "constant"},
        evaluation={"probe": "knn20_t0.1"},
    )
    method, batches = build(config, CPU)
    nothing = lambda method, epoch: {}  # noqa: E731
    meter = type("Meter", (), {"lap": lambda self: 0.0})()
    probe = follow_of(config, material(config.data), CPU, nothing, nothing, meter)
    rows = kind(method, batches, settings_of(config, config.training.rate), CPU, probe=probe).run()
    return np.array([row["knn"] for row in rows]), 1000


def test_a_planted_instability_is_found_and_a_calm_run_is_not_flagged():
    calm, images = curve(Training)
    assert dips(calm, images) == [] and area_lost(calm, images) == 0.0
    shaken, _ = curve(Shaken)
    planted = FIRST // STEPS_AN_EPOCH
    assert np.array_equal(shaken[:planted], calm[:planted])
    first, *_ = dips(shaken, images)
    assert first.since < planted <= first.at
    assert first.depth == pytest.approx(shaken[first.since] - shaken[first.at]) and deepest(shaken, images) >= first.depth > 10
    assert area_lost(shaken, images) > 1
