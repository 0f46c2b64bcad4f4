"""The race to a kNN accuracy: runs raced one at a time, each in a process of its own, and the wall time to the target read from
their records. `cells` has one row a run, as plan.collect makes it: part ("race" or "trial"), backbone, optimizer (the candidate's
name), seed, run, record (None where it is missing)."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from helpers import studies
from helpers.core.devices import device_words
from helpers.core.files import REPOSITORY
from helpers.core.progress import line
from helpers.judging.statistics import Summary, summary
from helpers.runs import records
from helpers.runs.alone import STOPPED
from helpers.runs.config import RunConfig
from helpers.runs.sweep import Outcome
from helpers.studies.speedrun.settings import PROTOCOL
from helpers.training import graceful

POLL = 0.2  # seconds between two looks at the raced process
PARTS = ("imports", "data and net", "first step", "training", "probes")


published = partial(studies.published, "speedrun")


def race(
    configs: Sequence[RunConfig],
    *,
    device: str = "auto",
    time_budget: float | None = None,
    time_limit: float | None = None,
    train: bool = True,
) -> Outcome:
    """Records of the raced runs; those that are missing are raced one after the other, each in a fresh process. After the budget none
    begins, since a part of one is worth nothing; at the limit, where the machine goes back to its owner, one is cut short."""
    outcome = Outcome({config.id: records.find(config.id) for config in configs})
    missing = [config for config in configs if outcome[config] is None] if train else []
    begun = time.monotonic()
    with graceful(time_limit) as stop:
        for config in missing:
            reason = stop()
            if time_budget is not None and time.monotonic() - begun >= time_budget:
                reason = "the time budget is spent"
            if not reason:
                line(f"{config.id}  raced in a process of its own, seed {config.seed}")
                reason = _race_one(config, device, stop, outcome)
            if reason:
                outcome.stopped = f"Stopped because {reason}; a race that was cut short begins again from its start."
                break
    return outcome


def _race_one(config: RunConfig, device: str, stop, outcome: Outcome) -> str | None:
    """Race one config into the outcome; the reason where it was stopped."""
    command = [sys.executable, "-m", "helpers.runs.alone", config.model_dump_json(exclude_defaults=True), "--device", device]
    fresh = os.environ | {
        "TORCHINDUCTOR_FORCE_DISABLE_CACHES": "1"
    }  # compiling is in the time: what an earlier run compiled does not count
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command, cwd=REPOSITORY, stderr=said, env=fresh)
        while process.poll() is None:
            time.sleep(POLL)
            if stop():
                process.terminate()
                process.wait()
        said.seek(0)
        last = said.read().strip().rpartition("\n")[2]
    outcome.records[config.id] = record = records.find(config.id)
    if record is not None:
        outcome.trained += 1
    elif process.returncode == STOPPED or stop():
        return stop() or "the raced process was asked to stop"
    else:
        outcome.failures[config.id] = last or f"the process ended with code {process.returncode}"
        line(f"{config.id}  FAILED: {outcome.failures[config.id]}")
    return None


@dataclass(frozen=True)
class Finish:
    """Where a run first stood at the target or above."""

    epoch: int
    seconds: float  # wall time since its process began
    knn: float


def finish(record, target: float) -> Finish | None:
    """The first probe at or above the target, or None; epochs without a probe are passed over."""
    probed = record.metrics[record.metrics["knn"] >= target]
    if probed.empty:
        return None
    first = probed.iloc[0]
    return Finish(int(first["epoch"]), float(first["elapsed_seconds"]), float(first["knn"]))


def invalid(record) -> str:
    """Why a record is no race, or an empty text."""
    if record.manifest.get("resumed") is not None:
        return f"not one piece: it went on from step {record.manifest['resumed']}"
    if not {"knn", "elapsed_seconds"} <= set(record.metrics):
        return "its metrics hold no probe or no wall time"
    if record.config["evaluation"].get("probe") != PROTOCOL:
        return f"not probed by {PROTOCOL}"
    if record.config["data"].get("validation") is not None:
        return "read on a slice of train, not on test"
    return ""


def raced(cells: pd.DataFrame) -> list:
    """The valid records of the race, by seed."""
    return [r for r in cells.loc[cells["part"] == "race", "record"] if r is not None and not invalid(r)]


def time_to_target(cells: pd.DataFrame, target: float) -> tuple[Summary, str]:
    """Seconds to the target over seeds, and why there is no mean where there is none: every valid run must have got there."""
    valid = raced(cells)
    finishes = [found for record in valid if (found := finish(record, target))]
    devices = {device_of(record) for record in valid}
    if not valid:
        return summary([]), "no valid run"
    if len(finishes) < len(valid):
        return summary([]), f"{len(valid) - len(finishes)} of {len(valid)} runs never reached the target"
    if len(devices) > 1:
        return summary([]), f"raced on different devices: {', '.join(sorted(devices))}"
    return summary([found.seconds for found in finishes]), ""


def device_of(record) -> str:
    return device_words(record.manifest.get("device") or {})


def breakdown(record, target: float) -> dict[str, float]:
    """Wall seconds to the target (to the end where it was never reached) by what they were spent on; they add up to the whole."""
    found = finish(record, target)
    rows = record.metrics[record.metrics["epoch"] <= (found.epoch if found else record.metrics["epoch"].max())]
    startup = record.manifest["startup"]
    first, probes, trained = startup["first_step_seconds"], rows["probe_seconds"].sum(), rows["seconds"].sum()
    imports, whole = startup["process_seconds"], rows["elapsed_seconds"].iloc[-1]
    rest = max(whole - imports - probes - trained, 0.0)  # reading the images, building the net, writing checkpoints
    return dict(zip(PARTS, map(float, (imports, rest, first, trained - first, probes)), strict=True))
