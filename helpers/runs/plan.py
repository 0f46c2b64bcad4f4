"""The grid of a study: which run stands in which place of its tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from helpers.runs import records
from helpers.runs.config import RangeTest, RunConfig
from helpers.runs.sweep import Outcome


@dataclass(frozen=True)
class Cell:
    """A run, and what tells its place in the tables from the others: the columns that claims, tables and figures choose by.

    A run may fill several places. One that is not asked for is not trained now, and drawn where it has a record."""

    config: RunConfig
    place: dict[str, Any] = field(default_factory=dict)
    asked: bool = True


def configs(cells: Sequence[Cell]) -> list[RunConfig]:
    """The runs to be trained, in the grid's order, each once; those by which a rate is chosen before the first that asks for it."""
    asked = (config for cell in cells if cell.asked for config in (*cell.config.rate_trials(), cell.config))
    return list({config.id: config for config in asked}.values())


def collect(cells: Sequence[Cell], outcome: Outcome) -> pd.DataFrame:
    """A row for each place: its columns, seed, run (the id), record or None, encoder, stem, and the range test that its rate came from."""
    rows = []
    for cell in cells:
        config = cell.config
        record = outcome[config] if config.id in outcome.records else records.find(config.id)
        stem = record.manifest.get("stem", config.encoder.stem) if record else config.encoder.stem
        told = {"seed": config.seed, "run": config.id, "record": record, "encoder": config.encoder.name, "stem": stem}
        test = config.range_test_id if isinstance(config.training.rate, RangeTest) else ""
        rows.append(cell.place | told | {"test": test})
    return pd.DataFrame(rows)
