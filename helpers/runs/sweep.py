"""A list of configs becomes a list of records: cached runs cost nothing, one failure does not take the rest down, a deadline
or SIGTERM ends in a checkpoint, and whatever is there can be drawn."""

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch

from helpers.core.devices import device_lost, pick_device
from helpers.core.errors import DataError, RecordError, TrainingStopped, UserError, pick
from helpers.core.progress import line
from helpers.runs import records, untrained
from helpers.runs.config import RunConfig
from helpers.runs.run import run
from helpers.training import Stopped, graceful


@dataclass
class Outcome:
    """What a sweep left behind: a record or None for each config, why runs failed, and why it stopped early if it did."""

    records: dict[str, records.Record | None]
    failures: dict[str, str] = field(default_factory=dict)
    stopped: str | None = None
    trained: int = 0

    def __getitem__(self, config: RunConfig) -> records.Record | None:
        return self.records.get(config.id)

    def ended(self, config: RunConfig, error: BaseException | None, took: str = "") -> None:
        """Take in one run's end. A failure is contained, since the other runs can still be right; a disk that takes nothing is not."""
        if isinstance(error, RecordError):
            raise error  # going on would lose every run
        if error is None:
            self.records[config.id] = records.find(config.id)
            self.trained += 1
            line(f"{config.id}  done{took} ({sum(r is not None for r in self.records.values())} of {len(self.records)})")
            return
        self.failures[config.id] = f"{type(error).__name__}: {error}"
        told = isinstance(error, UserError | DataError | TrainingStopped)  # these say by themselves what is wrong
        line(f"{config.id}  FAILED: {error}" + ("" if told else "\n" + "".join(traceback.format_exception(error, limit=-4))))

    def summary(self) -> str:
        there = sum(r is not None for r in self.records.values())
        text = f"{there} of {len(self.records)} runs have a record ({self.trained} trained now, {there - self.trained} from before)"
        if self.failures:
            text += f"; {len(self.failures)} failed"
        return text + (f". {self.stopped}" if self.stopped else ".")

    def failure_table(self) -> pd.DataFrame:
        return pd.DataFrame([{"run": run_id, "reason": reason} for run_id, reason in self.failures.items()], columns=["run", "reason"])


def _inline(configs: Sequence[RunConfig], device: torch.device, workers: int | None, stop, outcome: Outcome, references: bool) -> None:
    """One after the other, in this process, each followed by its untrained reference: a night cut short leaves pairs."""
    for position, config in enumerate(configs, start=1):
        if reason := stop():
            outcome.stopped = f"Stopped before run {position} of {len(configs)} to do because {reason}."
            return
        started = time.monotonic()
        try:
            run(config, device, stop)
        except Stopped as halt:
            outcome.stopped = str(halt)
            return
        except Exception as error:
            outcome.ended(config, error)
            if device_lost(error):
                outcome.stopped = (
                    f"Stopped because {device} was lost in {config.id}; its last checkpoint stands, run again to go on from there."
                )
                return
        else:
            outcome.ended(config, None, f" in {time.monotonic() - started:.0f} s")
            if references:
                _refer([config], device, stop, outcome)
            if outcome.stopped:
                return


def _processes(configs: Sequence[RunConfig], device: torch.device, workers: int | None, stop, outcome: Outcome, references: bool) -> None:
    """Several at once, each in a process of its own."""
    from helpers.runs.pool import run_all

    if reason := run_all(list(configs), device, workers, stop, outcome.ended, references):
        outcome.stopped = f"Stopped because {reason}; what was being trained is in its checkpoints, run again to go on from there."


ENGINES = {"inline": _inline, "processes": _processes}


def sweep(
    configs: Sequence[RunConfig],
    *,
    engine: str = "inline",
    workers: int | None = None,
    device: str = "auto",
    time_budget: float | None = None,
    train: bool = True,
    references: bool = True,
) -> Outcome:
    """Records of all configs, trained where they are missing; equal configs are one run. train=False only reads.

    With them come the untrained references that runs with a record need and that nobody has read yet. `workers` is how many runs go on at once under the engine "processes"; None takes one a core, or one a GPU."""
    work = pick("engine", engine, ENGINES)
    unique = {config.id: config for config in configs}
    outcome = Outcome({run_id: records.find(run_id) for run_id in unique})
    missing = [config for run_id, config in unique.items() if outcome.records[run_id] is None]
    if train:
        with graceful(time_budget) as stop:
            if missing:
                work(missing, pick_device(device), workers, stop, outcome, references)
            if references:
                _refer([config for run_id, config in unique.items() if outcome.records[run_id]], device, stop, outcome)
    return outcome


def _refer(configs: Sequence[RunConfig], device: torch.device | str, stop, outcome: Outcome) -> None:
    """Read the untrained encoders that these runs are compared with; one that fails takes nothing else down."""
    for config in untrained.missing(configs):
        if untrained.reference_id(config) in outcome.failures:
            continue
        if reason := outcome.stopped or stop():
            outcome.stopped = outcome.stopped or f"Stopped before the untrained reference of {config.id} because {reason}."
            return
        try:
            untrained.make(config, device, stop)
        except Stopped as halt:
            outcome.stopped = str(halt)
            return
        except RecordError:
            raise
        except Exception as error:
            outcome.failures[untrained.reference_id(config)] = f"{type(error).__name__}: {error}"
