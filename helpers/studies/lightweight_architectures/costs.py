"""What runs did cost: size, arithmetic, speed, memory, time, energy and carbon, read from their records."""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd

from helpers.runs.energy import flat_watts
from helpers.studies.lightweight_architectures.carbon import carbon, published, tdp_accounting


def cost_rows(records: Iterable, *, region: str | None = None, intensity: float | None = None) -> pd.DataFrame:
    """A row a run: size, arithmetic, speed, memory, time, energy, carbon, and carbon by the paper's accounting beside it.

    What a record does not tell is NaN, and named under "missing"; so is all of a run that has no record.
    """
    return pd.DataFrame([_cost_row(record, region, intensity) for record in records])


def _cost_row(record, region: str | None, intensity: float | None) -> dict:
    manifest = getattr(record, "manifest", {})
    config = record.config if manifest else {}
    profile, energy, device = (manifest.get(name) or {} for name in ("profile", "energy", "device"))
    hours = _number(manifest.get("training_seconds")) / 3600
    watt_hours = _number(training_energy(manifest))
    rated, rated_is = profile.get("rated_watts"), profile.get("rated_watts_is")
    if rated is None and device.get("type"):
        rated, rated_is = flat_watts(device["type"], _number(device.get("threads")))
    numbers = {
        "parameters (M)": _number(manifest.get("parameters")) / 1e6,
        "MACs (M)": _number(manifest.get("macs")) / 1e6,
        "forward (MFLOP)": 2 * _number(manifest.get("macs")) / 1e6,
        "run (TFLOP)": _number(manifest.get("training_flops")) / 1e12,
        "training (images/s)": _images_seen(record, config) / (_number(manifest.get("training_seconds")) or math.nan),
        "latency (ms)": _number(profile.get("latency_ms")),
        "peak memory (MB)": _number(profile.get("peak_memory_bytes")) / 1e6,
        "training (h)": hours,
        "energy (Wh)": watt_hours,
        "CO2 (kg)": carbon(watt_hours, region=region, intensity=intensity)["kg"],
        "CO2 by rated power (kg)": tdp_accounting(hours, _number(rated), published()["kg_per_kwh"]),
    }
    return {
        "run": getattr(record, "id", "missing"),
        "encoder": manifest.get("encoder", "missing"),
        "method": config.get("method", {}).get("name", "missing"),
        "image size": _number(manifest.get("image_size")),
        **numbers,
        "energy is": energy.get("method", "missing"),
        "rated power is": rated_is or "missing",
        "carbon intensity is": carbon(0.0, region=region, intensity=intensity)["source"],
        "missing": ", ".join(name for name, value in numbers.items() if math.isnan(value)),
    }


def training_energy(manifest: dict) -> float | None:
    """Watt-hours of the training alone, of all its parts; where a record tells only of the whole, the share of it that was training."""
    energy, seconds = manifest.get("energy") or {}, manifest.get("seconds")
    if "training_watt_hours" in energy:
        return energy["training_watt_hours"]
    if not energy.get("watt_hours") or not seconds or manifest.get("training_seconds") is None:
        return None
    return energy["watt_hours"] * min(1.0, manifest["training_seconds"] / seconds)


def _number(value: object) -> float:
    return math.nan if value is None else float(value)


def _images_seen(record, config: dict) -> float:
    """Images, not views, that all steps took together."""
    training = config.get("training", {})
    steps = record.metrics["step"].max() if config and "step" in record.metrics else None
    return _number(steps) * _number(training.get("batch_size")) * training.get("accumulate", 1)


def pareto(cost: np.ndarray, gain: np.ndarray) -> list[int]:
    """The points that no cheaper one equals or beats, cheapest first."""
    front, best = [], -np.inf
    for index in np.lexsort((-gain, cost)):
        if gain[index] > best:
            front.append(int(index))
            best = gain[index]
    return front
