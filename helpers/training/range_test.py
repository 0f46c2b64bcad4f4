"""The learning-rate range test: train while the rate grows exponentially, and see where the loss is lowest.

Once coarsely over many decades, once finely around what the coarse test found, averaged over seeds. A curve need not have
a minimum; then that is the result, with its reason, and whoever asked must fall back on a default and say so.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from helpers.methods import Method
from helpers.training.loop import Training
from helpers.training.optimizers import set_rate
from helpers.training.settings import TrainSettings
from helpers.training.stopping import Stopped

SMOOTHING = 0.95  # weight of the past in the running mean of the loss, in a long test
WINDOW = 20  # a sweep is at least this many windows of the running mean long: a longer memory would move the minimum up
LOOK_EVERY = 10  # steps between two looks at the loss
CLEAR = 5.0  # times the noise a minimum must be deep: the lowest of a hundred noisy points lies about 3 below their mean
HOPELESS = 4.0  # a loss this many times the lowest so far has exploded: the sweep may end


@dataclass(frozen=True)
class Sweep:
    """One sweep of the rate: raw losses of every seed [seeds, steps], their smoothed mean, and what it says."""

    rates: np.ndarray
    raw: np.ndarray
    smoothed: np.ndarray
    rate_at_minimum: float | None
    reason: str


def sweep_once(method: Method, batches, settings: TrainSettings, device: torch.device, rates: np.ndarray, stop=lambda: None) -> np.ndarray:
    """The loss at each rate, NaN once it has exploded. Model, optimizer and generators are afterwards what they were."""
    weights = copy.deepcopy(method.state_dict())
    training_mode = method.training
    generators = (torch.get_rng_state(), torch.cuda.get_rng_state_all() if device.type == "cuda" else [])
    epochs = math.ceil(len(rates) / max(len(batches) // settings.accumulate, 1))
    run = Training(method, batches, replace(settings, epochs=epochs, schedule="constant", warmup_epochs=0.0, rate=float(rates[0])), device)
    found = np.full(len(rates), np.nan)
    try:
        method.train()
        for group in _groups(batches, epochs, settings.accumulate):
            set_rate(run.optimizer, float(rates[run.step]))
            run.take(group)
            if run.step % LOOK_EVERY == 0 or run.step == len(rates):
                found[: run.step] = torch.stack(run.losses).double().cpu().numpy()
                seen = found[: run.step]
                if not np.isfinite(seen).all() or hopeless(seen):
                    break
                if reason := stop():
                    raise Stopped(f"Stopped in a range test because {reason}; run again to begin that test anew.")
            if run.step == len(rates):
                break
    finally:
        method.load_state_dict(weights)
        method.zero_grad(set_to_none=True)
        method.train(training_mode)
        torch.set_rng_state(generators[0])
        if generators[1]:
            torch.cuda.set_rng_state_all(generators[1])
    found[~np.isfinite(found)] = np.nan
    return found


def hopeless(seen: np.ndarray) -> bool:
    """Whether the loss has left for good. One that may be negative (SimSiam's) is measured from its lowest point by its own size."""
    least = seen.min()
    if least > 0:
        return bool(seen[-1] > HOPELESS * max(least, 1e-3))
    return bool(seen[-1] - least > HOPELESS * max(np.abs(seen).min(), -least, 1.0))


def _groups(batches, epochs: int, size: int):
    for epoch in range(epochs):
        group = []
        for batch in batches.epoch(epoch):
            group.append(batch)
            if len(group) == size:
                yield group
                group = []


def smoothing(steps: int) -> float:
    return min(SMOOTHING, max(0.5, 1 - WINDOW / steps))


def smooth(raw: np.ndarray) -> np.ndarray:
    """Mean over seeds, then a running mean without the bias of its start. A step that exploded on any seed counts as infinite."""
    mean = np.where(np.isnan(raw).any(axis=0), np.inf, raw.mean(axis=0))
    smoothed = np.empty_like(mean)
    running, weight, past = 0.0, 0.0, smoothing(len(mean))
    for i, value in enumerate(mean):
        if not math.isfinite(value):
            smoothed[i:] = np.inf
            break
        running = past * running + (1 - past) * value
        weight = past * weight + (1 - past)
        smoothed[i] = running / weight
    return smoothed


def find_minimum(rates: np.ndarray, raw: np.ndarray) -> Sweep:
    """Where the smoothed loss is lowest, or why there is no minimum: at an edge, or no deeper than the noise."""
    smoothed = smooth(raw)
    finite = np.isfinite(smoothed)
    if finite.sum() < 5:
        return Sweep(rates, raw, smoothed, None, f"the loss exploded within {int(finite.sum())} steps, already at rate {rates[0]:.2g}")
    at = int(np.argmin(smoothed))
    edge = max(2, len(rates) // 50)
    mean, past = raw[:, finite].mean(axis=0), smoothing(len(rates))
    noise = np.std(np.diff(mean)) / math.sqrt(2) * math.sqrt((1 - past) / (1 + past))  # of the smoothed curve
    depth = smoothed[: edge + 1].mean() - smoothed[at]
    if at >= len(rates) - edge:
        return Sweep(rates, raw, smoothed, None, f"the loss is lowest at the upper edge, rate {rates[at]:.2g}: it still falls there")
    if at < edge or depth < CLEAR * noise:
        return Sweep(
            rates, raw, smoothed, None, f"the loss never falls by more than its noise ({max(depth, 0):.3g} against {CLEAR * noise:.3g})"
        )
    return Sweep(rates, raw, smoothed, float(rates[at]), f"lowest smoothed loss {smoothed[at]:.4g} at rate {rates[at]:.3g}")


def range_test(
    make: Callable[[int], tuple[Method, object]],
    settings: TrainSettings,
    device: torch.device,
    *,
    seeds: int = 2,
    low: float = 1e-5,
    high: float = 1.0,
    coarse_steps: int = 100,
    fine_steps: int = 100,
    stop: Callable[[], str | None] = lambda: None,
) -> tuple[Sweep, Sweep | None]:
    """Coarse over [low, high], then fine from a tenth of the coarse minimum to three times it. make(seed) -> (method, batches).

    The fine sweep is None where the coarse one has no minimum.
    """

    def over(first: float, last: float, steps: int) -> Sweep:
        rates = np.geomspace(first, last, steps)
        losses = [sweep_once(method, batches, replace(settings, seed=seed), device, rates, stop) for seed, (method, batches) in parts]
        return find_minimum(rates, np.stack(losses))

    parts = [(seed, make(seed)) for seed in range(seeds)]
    coarse = over(low, high, coarse_steps)
    if coarse.rate_at_minimum is None:
        return coarse, None
    return coarse, over(coarse.rate_at_minimum / 10, coarse.rate_at_minimum * 3, fine_steps)
