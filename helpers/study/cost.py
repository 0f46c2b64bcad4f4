"""What a study will cost, before its first run: steps are timed on this device, a few of each kind."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import torch

from helpers.core.devices import describe, pick_device, wait
from helpers.core.errors import DataError, RecordError, TrainingStopped, UserError
from helpers.core.files import cache_dir, read_json, write_json
from helpers.models import macs
from helpers.study import records
from helpers.study.config import RangeTest, RunConfig
from helpers.study.energy import estimated_watts
from helpers.study.material import material
from helpers.study.run import build, settings_of
from helpers.training import Training

WARM, TIMED = 3, 3  # steps; a CUDA graph is first run, then recorded, then replayed
READOUT = 6.0  # seconds a run spends on probes and maps besides forward passes (measured on two cores)


def forecast(configs: Sequence[RunConfig], device: str = "auto") -> pd.DataFrame:
    """A row for each kind of run: how many to do, how many are cached, and time, FLOPs and energy of those to do.

    FLOPs count a multiply-add as two and a backward pass as two forward passes. Energy is the device's usual draw times
    the time. Evaluation and range tests are included.
    """
    where = pick_device(device)
    rows: dict[str, dict] = {}
    tested: set[str] = set()
    for config in {c.id: c for c in configs}.values():
        name = f"{config.method.name} · {config.encoder.name} ({config.encoder.stem}) · batch {config.training.batch_size}"
        row = rows.setdefault(name, {"runs": name, "to do": 0, "cached": 0, "minutes": 0.0, "PFLOP": 0.0, "Wh": 0.0})
        if (records.runs_dir() / config.id).is_dir():
            row["cached"] += 1
            continue
        row["to do"] += 1
        try:
            cost = _step_cost(config, where)
        except (UserError, DataError, TrainingStopped) as error:  # the run itself will say it again, and the others go on
            row["runs"] = f"{name}: cannot be timed: {error}"
            continue
        steps = config.training.epochs * cost["steps_per_epoch"]
        rate = config.training.rate
        if isinstance(rate, RangeTest) and config.range_test_id not in tested | {p.name for p in records.runs_dir().glob("*-range-*")}:
            tested.add(config.range_test_id)
            steps += rate.seeds * (rate.coarse_steps + rate.fine_steps)
        seconds = steps * cost["seconds"] + _evaluation_seconds(config, cost)
        row["minutes"] += seconds / 60
        row["PFLOP"] += steps * cost["flops"] / 1e15
        row["Wh"] += seconds / 3600 * estimated_watts(where)[0]
    table = pd.DataFrame(list(rows.values()), columns=["runs", "to do", "cached", "minutes", "PFLOP", "Wh"])
    total = {"runs": "all", **table[["to do", "cached", "minutes", "PFLOP", "Wh"]].sum().to_dict()}
    table = pd.concat([table, pd.DataFrame([total])], ignore_index=True).astype({"to do": int, "cached": int})
    return table.round({"minutes": 1, "PFLOP": 6, "Wh": 1})


def _evaluation_seconds(config: RunConfig, cost: dict) -> float:
    """Forward passes over the images of every readout, at a third of a training step's cost an image, and the classifiers."""
    images = material(config.data)
    test, train = len(images.test_indices), len(images.labelled)
    every = config.evaluation.probe_every
    probes = -(-config.training.epochs // every) if every else 0
    seen = (1 + config.evaluation.untrained) * (train + test) + probes * (min(train, config.evaluation.probe_bank or train) + test)
    return READOUT * (1 + config.evaluation.untrained) + seen * cost["seconds_per_view"] / 3


def _step_cost(config: RunConfig, device: torch.device) -> dict:
    """Seconds and FLOPs of one training step, timed once and remembered for this device."""
    training = config.training.changes()
    kind = {
        "encoder": config.encoder.changes(),
        "method": config.method.changes(),
        "views": config.views.changes(),
        "data": config.data.changes(),
        "training": {k: v for k, v in training.items() if k not in ("epochs", "rate", "schedule", "warmup_epochs", "weight_decay")},
        "device": describe(device),
    }
    key = json.dumps(kind, sort_keys=True)
    path = cache_dir() / "step_costs.json"
    try:
        known = read_json(path) if path.is_file() else {}
    except RecordError:
        known = {}  # damaged; a few steps more and it is there again
    if key not in known:
        known[key] = _time_steps(config, device)
        write_json(path, known)
    return known[key]


def _time_steps(config: RunConfig, device: torch.device) -> dict:
    method, batches = build(config, device)
    run = Training(method, batches, replace(settings_of(config, 1e-6), schedule="constant"), device)
    method.train()
    accumulate = config.training.accumulate

    def steps(count: int) -> None:
        epoch = 0
        group = []
        while count:
            for batch in batches.epoch(epoch):
                group.append(batch)
                if len(group) == accumulate:
                    run.take(group)
                    group, count = [], count - 1
                    if not count:
                        break
            epoch += 1
        wait(device)

    steps(WARM)
    started = time.perf_counter()
    steps(TIMED)
    seconds = (time.perf_counter() - started) / TIMED
    views = batches.batch_size * accumulate * method.views.settings.count
    return {
        "seconds": seconds,
        "seconds_per_view": seconds / views,
        "flops": 6.0 * macs(method.encoder) * views,
        "steps_per_epoch": len(batches) // accumulate,
    }
