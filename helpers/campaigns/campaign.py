"""A campaign: an ordered list of studies whose runs are trained in one process until they are done or the time is up.

The list is a TOML file; the grid of each study is the function of its runs.py, most telling cells first as it gives them.
"""

import tomllib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import field_validator

from helpers.core.clock import process_seconds
from helpers.core.errors import DataError, UserError, pick, unknown
from helpers.core.sections import Section
from helpers.runs import records, untrained
from helpers.runs.config import RangeTest, RunConfig
from helpers.runs.cost import forecast
from helpers.runs.run import checkpoint_folder
from helpers.runs.sweep import Outcome, sweep
from helpers.studies import part
from helpers.studies.open import CONTROLS, Study, opened
from helpers.studies.variants import PRESETS

SHIPPED = Path(__file__).parent
RESERVE_SHARE, RESERVE_MOST = 0.05, 30.0  # of the budget, and in seconds


class Entry(Section):
    """One [[study]] of the list."""

    name: str
    preset: str = "demo"
    reading: str | None = None
    parameters: dict[str, Any] = {}

    @field_validator("preset")
    @classmethod
    def _preset(cls, value):
        pick("preset", value, PRESETS)
        return value

    @field_validator("parameters")
    @classmethod
    def _parameters(cls, value):
        if taken := [name for name in value if name in CONTROLS]:
            raise ValueError(f"{taken[0]} is not set here; preset and reading stand beside the name, the rest is given in the call")
        return value

    @property
    def title(self) -> str:
        return " · ".join(filter(None, (self.name, self.preset, self.reading, "changed" if self.parameters else None)))

    @property
    def values(self) -> dict:
        """The study's parameters."""
        return {"preset": self.preset} | ({"reading": self.reading} if self.reading else {}) | self.parameters

    def opened(self) -> Study:
        """The study with nothing to be drawn. A race times each run in a process of its own, which a campaign does not."""
        if hasattr(part(self.name, "runs"), "race"):
            raise UserError(f"{self.name} is a race, whose runs no campaign trains: use `make {self.name}` for it.")
        return opened(self.name, self.values)


@dataclass(frozen=True)
class Stage:
    """An entry and the runs it asks for, in the grid's order; those of an earlier stage are left out."""

    entry: Entry
    configs: tuple[RunConfig, ...]
    shared: int  # runs that an earlier stage asked for already


def read_list(file: str) -> list[Entry]:
    """The entries of a list: a TOML file, or the bare name of one that comes with the code."""
    shipped = {path.stem: path for path in sorted(SHIPPED.glob("*.toml"))}
    path = Path(file) if Path(file).is_file() else shipped.get(file)
    if path is None:
        raise UserError(f"There is no file {Path(file).name}. {unknown('campaign', file, shipped)}")
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # TOML that is malformed, or no text at all
        raise UserError(f"Cannot read the list {path.name}: {error}.") from error
    studies = table.get("study")
    if set(table) != {"study"} or not isinstance(studies, list) or not all(isinstance(item, dict) for item in studies):
        raise UserError(f'{path.name} must be a list of [[study]] tables and nothing else: [[study]], name = "...", preset = "...".')
    return [_named(path, number, item) for number, item in enumerate(studies, start=1)]


def _named(path: Path, number: int, item: dict) -> Entry:
    try:
        return Entry(**item)
    except UserError as error:
        raise UserError(f"{path.name}, study {number}: {error}") from error


def read_stages(file: str) -> list[Stage]:
    """Every entry with its runs; anything wrong in any of them is an error before the first run."""
    stages: list[Stage] = []
    seen: set[str] = set()
    for number, entry in enumerate(read_list(file), start=1):
        try:
            asked = {config.id: config for config in entry.opened().configs}
        except (UserError, DataError) as error:
            raise UserError(f"{Path(file).name}, study {number}: {error}") from error
        stages.append(Stage(entry, tuple(c for run, c in asked.items() if run not in seen), len(asked.keys() & seen)))
        seen |= asked.keys()
    return stages


def configs_in(stages: Sequence[Stage]) -> list[RunConfig]:
    return [config for stage in stages for config in stage.configs]


def run_ids(stages: Sequence[Stage]) -> list[str]:
    """The ids of all records the campaign leaves behind, range tests and untrained references included."""
    configs = configs_in(stages)
    tests = [c.range_test_id for c in configs if isinstance(c.training.rate, RangeTest)]
    return [c.id for c in configs] + tests + [untrained.reference_id(c) for c in configs if c.data.validation is None]


def seconds_left(budget: float | None) -> float | None:
    """What is left to train of a budget that began with the process, less what is kept for writing."""
    return None if budget is None else budget - process_seconds() - reserve(budget)


def reserve(budget: float) -> float:
    """Seconds kept for the step at hand and for writing."""
    return min(RESERVE_SHARE * budget, RESERVE_MOST)


def work(stages: Sequence[Stage], budget: float | None, device: str, workers: int | None) -> Outcome:
    """Train what is missing, in order, until all is done or the time is up. A budget in which nothing can happen is an error."""
    configs = configs_in(stages)
    before = _position(stages)
    seconds = seconds_left(budget)
    if seconds is not None and seconds <= 0 and any(records.find(config.id) is None for config in configs):
        raise _too_short(budget, f"starting up took {process_seconds():.0f} s of it")
    engine = "processes" if (workers or 1) > 1 else "inline"
    outcome = sweep(configs, engine=engine, workers=workers, device=device, time_budget=seconds)
    if not outcome.stopped and not outcome.failures:
        for more in _decide(stages, budget, device, workers):
            outcome.records |= more.records
            outcome.failures |= more.failures
            outcome.stopped = outcome.stopped or more.stopped
    if outcome.stopped and not outcome.failures and seconds is not None and seconds_left(budget) <= 0 and _position(stages) == before:
        raise _too_short(budget, "it was spent before the first step, or the first range test, was done")
    return outcome


def _decide(stages: Sequence[Stage], budget: float | None, device: str, workers: int | None) -> list[Outcome]:
    """Seeds for what is undecided in the studies that add them, in the campaign's order, until the time is up; how that ended."""
    outcomes = []
    for stage in stages:
        study = stage.entry.opened()
        left = seconds_left(budget)
        if study.settings.decide and (left is None or left > 0):
            study = replace(study, device=device, workers=workers or 1, time_budget=left)
            study.run()
            outcomes += study.outcomes
    return outcomes


def _too_short(budget: float, reason: str) -> UserError:
    return UserError(f"The budget of {budget:g} s is too short: {reason}. Nothing new was trained and nothing is lost; give it more.")


def _position(stages: Sequence[Stage]) -> tuple:
    """How far everything is: what changes when anything at all was done that lasts."""
    recorded = [run for run in run_ids(stages) if (records.runs_dir() / run).is_dir()]
    return recorded, [saved_step(config) for config in configs_in(stages)]


def saved_step(config: RunConfig) -> int:
    """The step of a run's newest checkpoint, 0 where it has none."""
    return max((int(path.stem.removeprefix("step-")) for path in checkpoint_folder(config).glob("step-*.pt")), default=0)


def closing_table(stages: Sequence[Stage], outcome: Outcome) -> pd.DataFrame:
    """Per study: what is recorded, begun, left and failed."""
    rows = []
    for stage in stages:
        done = sum(outcome[config] is not None for config in stage.configs)
        failed = sum(config.id in outcome.failures for config in stage.configs)
        begun = sum(outcome[config] is None and saved_step(config) > 0 for config in stage.configs)
        left = len(stage.configs) - done - failed
        rows.append({"study": stage.entry.title, "done": done, "left": left, "failed": failed, "with a checkpoint": begun})
    table = pd.DataFrame(rows, columns=["study", "done", "left", "failed", "with a checkpoint"])
    return pd.concat([table, pd.DataFrame([{"study": "all"} | table.iloc[:, 1:].sum().to_dict()])], ignore_index=True)


def failure_lines(stages: Sequence[Stage], outcome: Outcome) -> list[str]:
    """One line a failed run: why, and where it can go on."""
    lines = []
    for config in configs_in(stages):
        if reason := outcome.failures.get(config.id):
            step = saved_step(config)
            kept = f" Its checkpoint after step {step} stands." if step else ""
            lines.append(f"{config.id} failed: {reason.strip().splitlines()[0].rstrip('.')}.{kept}")
    return lines


def plan_table(stages: Sequence[Stage], device: str) -> pd.DataFrame:
    """What each study would train here, a row for each kind of run, and the time it would have taken until then."""
    tables, minutes = [], 0.0
    for stage in stages:
        table = forecast(stage.configs, device)
        minutes += table["minutes"].iloc[-1]
        table["until then"] = [None] * (len(table) - 1) + [round(minutes, 1)]
        begun = sum(saved_step(config) > 0 for config in stage.configs)
        words = [f"{begun} begun" if begun else "", f"{stage.shared} shared with the above" if stage.shared else ""]
        table.loc[table.index[-1], "runs"] = ", ".join(["all", *filter(None, words)])
        table.insert(0, "study", stage.entry.title)
        tables.append(table)
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def fitting(stages: Sequence[Stage], seconds: float, device: str) -> tuple[int, int, int]:
    """How many of the runs to do can be finished in that time, of how many, and how many more cannot be timed; in the campaign's order."""
    to_do = [config for config in configs_in(stages) if not (records.runs_dir() / config.id).is_dir()]
    timed = [config for config in to_do if not forecast([config], device)["not timed"].iloc[-1]]
    counts = range(1, len(timed) + 1)
    fit = bisect_right(counts, seconds / 60, key=lambda count: forecast(timed[:count], device)["minutes"].iloc[-1])
    return fit, len(timed), len(to_do) - len(timed)
