"""The maximum rate of a run: given, found by a range test, or the best of several that were tried on held-out training images.

A test and its trials are run once and shared through their records by every run that differs only in what they do not see.
"""

import time

import numpy as np
import torch

from helpers.core.errors import Diverged
from helpers.core.progress import line
from helpers.runs import records, run
from helpers.runs.config import RangeTest, RateTrials, RunConfig
from helpers.runs.energy import EnergyMeter
from helpers.runs.manifest import manifest
from helpers.training import range_test


def find_rate(config: RunConfig, device: torch.device, stop=lambda: None) -> tuple[float, dict]:
    """The maximum rate a config asks for, and how it was found; in step with the batch where the config says for which it is meant."""
    asked = config.training.rate
    if isinstance(asked, RangeTest):
        return _tested(config, asked, device, stop)
    rate, how = _best_of(config, device, stop) if isinstance(asked, RateTrials) else (asked, {"rate": asked, "from": "given"})
    if not (meant := config.training.rate_batch):
        return rate, how
    scaled = rate * config.training.batch_size * config.training.accumulate / meant
    return scaled, how | {"rate": scaled, "asked": rate, "for a batch of": meant}


def _tested(config: RunConfig, asked: RangeTest, device: torch.device, stop) -> tuple[float, dict]:
    with run.alone(config.range_test_id, stop):
        record = records.find(config.range_test_id) or _run_range_test(config, asked, device, stop)
    found = record.evaluations["range_test"]["rate_at_minimum"]
    rate = asked.default if found is None else found * asked.factor
    how = "range test" if found is not None else f"default: {record.evaluations['range_test']['reason']}"
    return rate, {"rate": rate, "from": how, "range_test": record.id, "rate_at_minimum": found, "factor": asked.factor}


def _run_range_test(config: RunConfig, asked: RangeTest, device: torch.device, stop) -> records.Record:
    started, meter = time.time(), EnergyMeter(device)
    line(f"{config.range_test_id}  range test of {config.encoder.name} with {config.training.optimizer}")
    steps = {name: getattr(asked, name) for name in ("seeds", "low", "high", "coarse_steps", "fine_steps")}
    coarse, fine = range_test(lambda seed: run.build(config, device, seed), run.settings_of(config, asked.low), device, stop=stop, **steps)
    last = coarse if fine is None or fine.rate_at_minimum is None else fine
    arrays = {}
    for name, sweep in (("coarse", coarse), ("fine", fine)):
        if sweep is not None:
            arrays |= {f"{name}.rates": sweep.rates, f"{name}.losses": sweep.smoothed, f"{name}.raw": sweep.raw.astype(np.float32)}
    result = {
        "rate_at_minimum": last.rate_at_minimum,
        "minimum": "none" if last.rate_at_minimum is None else "found",
        "reason": last.reason,
    }
    if fine is not None and last is coarse:
        result["reason"] += f" (coarse; in the fine sweep {fine.reason})"
    return records.save(
        config.range_test_id,
        config=config.range_test_config(),
        manifest=manifest(config, started, meter, device) | {"kind": "range_test"},
        metrics=[],
        evaluations={"range_test": result},
        arrays=arrays,
    )


def _best_of(config: RunConfig, device: torch.device, stop) -> tuple[float, dict]:
    """The rate whose trial read best on the held-out images, of equals the lower one; one that diverged is no rate."""
    found, reasons = {}, {}
    for trial in config.rate_trials():
        rate = trial.training.rate
        tried = run.run(trial, device, stop)
        if tried.diverged:
            reasons[rate] = tried.diverged
        else:
            found[rate] = tried.evaluations["linear"]["top1"]
    if not found:
        told = "; ".join(f"{rate:g}: {reason}" for rate, reason in reasons.items())
        raise Diverged(f"No rate that was tried for {config.id} trained to its end ({told}). Add lower ones to training.rate.rates.")
    best = max(sorted(found), key=found.get)
    tried = {f"{rate:g}": found.get(rate) for rate in config.training.rate.rates}
    return best, {"rate": best, "from": "trials", "trials": tried}
