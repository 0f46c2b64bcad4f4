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
from helpers.data import Batches
from helpers.evaluation.finetune import BATCH_SIZE, RECIPES, epochs_of
from helpers.evaluation.robustness import READINGS
from helpers.methods import Method
from helpers.models import macs
from helpers.runs import records
from helpers.runs.config import RangeTest, RunConfig
from helpers.runs.energy import estimated_watts
from helpers.runs.footprint import step_flops
from helpers.runs.labels import seconds as label_seconds
from helpers.runs.material import material
from helpers.runs.run import build, settings_of
from helpers.training import Training
from helpers.training.growing import mean_area
from helpers.views import make_views

WARM, TIMED = 3, 3  # steps; a CUDA graph is first run, then recorded, then replayed
READOUT = 1.5  # seconds of a linear probe and kNN besides forward passes (measured on two cores)
MAPS = 4.5  # the same of t-SNE
ALTERING = 0.004  # of all alterations of one image of 32 px
FORWARD = 1 / 3  # of a training step's cost an image
NUMBERS = ["to do", "cached", "not timed", "minutes", "PFLOP", "Wh"]


def forecast(configs: Sequence[RunConfig], device: str = "auto") -> pd.DataFrame:
    """A row for each kind of run: how many to do, cached and not to be timed, and time, FLOPs and energy of those to do.

    FLOPs are counted while one step is computed, a multiply-add as two; those of evaluations are left out. Energy is the device's
    usual draw times the time. Evaluations, at the end and on the way, and range tests are in the time.
    """
    where = pick_device(device)
    rows: dict[str, dict] = {}
    tested: set[str] = set()
    for config in {c.id: c for c in configs}.values():
        name = f"{config.method.name} · {config.encoder.name} ({config.encoder.stem}) · batch {config.training.batch_size}"
        row = rows.setdefault(name, {"runs": name} | dict.fromkeys(NUMBERS[:3], 0) | dict.fromkeys(NUMBERS[3:], 0.0))
        if (records.runs_dir() / config.id).is_dir():
            row["cached"] += 1
            continue
        row["to do"] += 1
        try:
            cost = _step_cost(config, where)
        except (UserError, DataError, TrainingStopped) as error:  # the run itself will say it again, and the others go on
            row["not timed"] += 1
            row["runs"] = f"{name}: cannot be timed: {error}"
            continue
        steps = config.training.epochs * cost["steps_per_epoch"]
        if sizes := config.training.sizes:
            size = material(config.data).train.images.shape[-1]
            steps *= mean_area(sizes, config.training.epochs, make_views(config.views.recipe, size, **config.views.options))
        rate = config.training.rate
        if isinstance(rate, RangeTest) and config.range_test_id not in tested | {p.name for p in records.runs_dir().glob("*-range-*")}:
            tested.add(config.range_test_id)
            steps += rate.seeds * (rate.coarse_steps + rate.fine_steps)
        seconds = steps * cost["seconds"] + _evaluation_seconds(config, cost)
        seconds += label_seconds(config, material(config.data), cost["seconds_per_view"], FORWARD, READOUT)
        row["minutes"] += seconds / 60
        row["PFLOP"] += steps * cost["flops"] / 1e15
        row["Wh"] += seconds / 3600 * estimated_watts(where)[0]
    table = pd.DataFrame(list(rows.values()), columns=["runs", *NUMBERS])
    total = {"runs": "all", **table[NUMBERS].sum().to_dict()}
    table = pd.concat([table, pd.DataFrame([total])], ignore_index=True).astype(dict.fromkeys(NUMBERS[:3], int))
    return table.round({"minutes": 2, "PFLOP": 6, "Wh": 1})


def _evaluation_seconds(config: RunConfig, cost: dict) -> float:
    """Forward passes over the images of every readout, the classifiers on them, and the fine-tunings, which cost what training costs."""
    images, asked = material(config.data), config.evaluation
    test, train = len(images.test_indices), len(images.labelled)
    probes = -(-config.training.epochs // asked.probe_every) if asked.probe_every else 0
    downstream = _times(config, asked.every) if asked.every else 0
    seen = (1 + asked.untrained + downstream) * (train + test) + probes * (min(train, asked.probe_bank or train) + test)
    fine_tunings = asked.untrained + _times(config, asked.finetune_every) if asked.finetune_epochs else 0
    epochs = epochs_of(train, BATCH_SIZE, asked.finetune_epochs, asked.finetune_steps)
    steps = fine_tunings * (epochs * train + (RECIPES[asked.finetune_recipe] * train + test) * FORWARD)
    heads = fine_tunings * (asked.finetune_recipe == "from_probe")
    altered = 0
    if asked.robustness:
        altered = min(test, asked.robustness.images or test)
        seen += altered * READINGS
    classifiers = READOUT * (1 + asked.untrained + downstream + heads) + MAPS * bool(asked.maps)
    side = images.test.images.shape[-1] if altered else 0
    return classifiers + altered * ALTERING * (side / 32) ** 2 + (seen * FORWARD + steps) * cost["seconds_per_view"]


def _times(config: RunConfig, every: int | None) -> int:
    """How often something happens that is done every so many epochs, or never on the way, and after the last one in any case."""
    return 1 + ((config.training.epochs - 1) // every if every else 0)


def _step_cost(config: RunConfig, device: torch.device) -> dict:
    """Seconds and FLOPs of one training step, timed once and remembered for this device."""
    training, views = config.training.changes(), config.views.changes()
    # The steps of a view take next to nothing of a training step, so their order makes no kind: a grid has as many as cells.
    views["options"] = {name: value for name, value in views.get("options", {}).items() if name != "order"}
    kind = {
        "encoder": config.encoder.changes(),
        "method": config.method.changes(),
        "views": views,
        "data": config.data.changes(),
        "training": {
            k: v for k, v in training.items() if k not in ("epochs", "rate", "schedule", "warmup_epochs", "weight_decay", "sizes")
        },
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
    seconds = _seconds_a_step(config, method, batches, device)
    method.zero_grad(set_to_none=True)  # the copy that is counted needs the room
    flops = step_flops(method, batches, config.training.accumulate)
    return {
        "seconds": seconds,
        "seconds_per_view": seconds * 6 * macs(method.encoder) / flops,  # of the encoder alone, there and back
        "flops": float(flops),
        "steps_per_epoch": len(batches) // config.training.accumulate,
    }


def _seconds_a_step(config: RunConfig, method: Method, batches: Batches, device: torch.device) -> float:
    run = Training(method, batches, replace(settings_of(config, 1e-6), schedule="constant", sizes=()), device)
    method.train()

    def steps(count: int) -> None:
        epoch = 0
        group = []
        while count:
            for batch in batches.epoch(epoch):
                group.append(batch)
                if len(group) == config.training.accumulate:
                    run.take(group)
                    group, count = [], count - 1
                    if not count:
                        break
            epoch += 1
        wait(device)

    steps(WARM)
    started = time.perf_counter()
    steps(TIMED)
    return (time.perf_counter() - started) / TIMED
