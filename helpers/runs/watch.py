"""What is measured after each epoch of a run and goes into its row of the log."""

import functools
import time

import numpy as np
import torch

from helpers.evaluation import extract, knn
from helpers.methods import Method
from helpers.runs.config import RunConfig
from helpers.runs.downstream import Downstream
from helpers.runs.energy import EnergyMeter
from helpers.runs.labels import Labels
from helpers.runs.material import Material


def follow_of(config: RunConfig, images: Material, device: torch.device, downstream: Downstream, labels: Labels, meter: EnergyMeter):
    """What is measured after an epoch and goes into its row of the log: the power it drew, and how good the encoder is by now."""
    probe = _probe(config, images, device)
    meter.lap()

    def follow(method: Method, epoch: int) -> dict:
        row = {"watts": round(meter.lap(), 3)} | (probe(method, epoch) if probe else {}) | downstream(method, epoch) | labels(method, epoch)
        meter.lap()  # what was measured here is no training
        return row

    return follow


def _probe(config: RunConfig, images: Material, device: torch.device):
    """kNN on test after some epochs, to follow the training; nothing is ever chosen by it."""
    every = config.evaluation.probe_every
    if not every:
        return None
    known, tests, count = _spread(images.labelled, config.evaluation.probe_bank), images.test_indices, config.evaluation.probe_images
    asked = tests if count is None or count >= len(tests) else tests[np.linspace(0, len(tests), count, endpoint=False).astype(int)]
    setting = knn.protocol_setting(config.evaluation.probe)
    if len(known) < setting[0]:
        return None  # a kNN of fewer neighbours would be another measure under the same name

    def probe(method: Method, epoch: int) -> dict:
        if epoch % every and epoch != config.training.epochs:
            return {"knn": float("nan"), "probe_seconds": 0.0}
        started = time.perf_counter()
        read = functools.partial(extract, method.encoder, method.views, device=device, precision=config.training.precision)
        train, test = read(images.bank, indices=known), read(images.test, indices=asked)
        guess = knn.predict(train.x, train.y, test.x, *setting)
        accuracy = (guess == test.y).float().mean().item() * 100
        return {"knn": accuracy, "probe_seconds": round(time.perf_counter() - started, 3)}

    return probe


def _spread(indices, count: int | None):
    """So many of them, all where there are no more: evenly spread where these are no more than half, else the first ones."""
    return indices if count is None or count >= len(indices) else indices[:: len(indices) // count][:count]
