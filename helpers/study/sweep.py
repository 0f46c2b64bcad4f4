"""A list of configs becomes a list of records: cached runs cost nothing, one failure does not take the rest down, a deadline
or SIGTERM ends in a checkpoint, and whatever is there can be drawn."""

import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch

from helpers.core.devices import pick_device
from helpers.core.errors import DataError, RecordError, TrainingStopped, UserError, pick
from helpers.study import records
from helpers.study.config import RunConfig
from helpers.study.run import run
from helpers.training import Stopped, graceful
from helpers.training.progress import line


@dataclass
class Outcome:
    """What a sweep left behind: a record or None for each config, why runs failed, and why it stopped early if it did."""

    records: dict[str, records.Record | None]
    failures: dict[str, str] = field(default_factory=dict)
    stopped: str | None = None
    trained: int = 0

    def __getitem__(self, config: RunConfig) -> records.Record | None:
        return self.records.get(config.id)

    def summary(self) -> str:
        there = sum(r is not None for r in self.records.values())
        text = f"{there} of {len(self.records)} runs have a record ({self.trained} trained now, {there - self.trained} from before)"
        if self.failures:
            text += f"; {len(self.failures)} failed"
        return text + (f". {self.stopped}" if self.stopped else ".")

    def failure_table(self) -> pd.DataFrame:
        return pd.DataFrame([{"run": run_id, "reason": reason} for run_id, reason in self.failures.items()], columns=["run", "reason"])


def _inline(configs: Sequence[RunConfig], device: torch.device, time_budget: float | None, outcome: Outcome) -> None:
    """One after the other, in this process."""
    with graceful(time_budget) as stop:
        for position, config in enumerate(configs, start=1):
            if outcome.records.get(config.id) is not None:
                continue
            if reason := stop():
                outcome.stopped = f"Stopped before run {position} of {len(configs)} because {reason}."
                return
            started = time.monotonic()
            try:
                outcome.records[config.id] = run(config, device, stop)
                outcome.trained += 1
                line(f"{config.id}  done in {time.monotonic() - started:.0f} s ({position} of {len(configs)})")
            except Stopped as halt:
                outcome.stopped = str(halt)
                return
            except RecordError:
                raise  # nothing can be written: going on would lose every run
            except Exception as error:  # contained: the other runs can still be right
                outcome.failures[config.id] = f"{type(error).__name__}: {error}"
                told = isinstance(error, UserError | DataError | TrainingStopped)  # these say by themselves what is wrong
                line(f"{config.id}  FAILED: {error}" + ("" if told else f"\n{traceback.format_exc(limit=-4)}"))


ENGINES = {"inline": _inline}


def sweep(
    configs: Sequence[RunConfig], *, engine: str = "inline", device: str = "auto", time_budget: float | None = None, train: bool = True
) -> Outcome:
    """Records of all configs, trained where they are missing; equal configs are one run. train=False only reads."""
    work = pick("engine", engine, ENGINES)
    unique = list({config.id: config for config in configs}.values())
    outcome = Outcome({config.id: records.find(config.id) for config in unique})
    if train:
        work(unique, pick_device(device), time_budget, outcome)
    return outcome
