"""The grid of a study: which run stands in which cell of its tables."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd

from helpers.study import records
from helpers.study.config import RangeTest, RunConfig
from helpers.study.sweep import Outcome


@dataclass(frozen=True)
class Cell:
    """One place in a study's tables and the run that fills it. A run may fill several places."""

    part: str
    backbone: str
    optimizer: str
    seed: int
    config: RunConfig
    pretext: str = "contrast"
    schedule: str = "one-cycle"
    rate_factor: float = 1.0  # multiple of the rate that the range test chose


def collect(cells: Sequence[Cell], outcome: Outcome) -> pd.DataFrame:
    """A row for each cell, with its record or None."""
    rows = []
    for cell in cells:
        row = {k: v for k, v in asdict(cell).items() if k != "config"}
        record = outcome[cell.config]
        stem = record.manifest["stem"] if record else cell.config.encoder.stem
        rows.append(row | {"run": cell.config.id, "record": record, "encoder": cell.config.encoder.name, "stem": stem})
    return pd.DataFrame(rows)


def range_test_frame(cells: Sequence[Cell]) -> pd.DataFrame:
    """A row for each range test that the cells asked for: backbone, optimizer, run (its id), record or None."""
    asked = {}
    for cell in cells:
        if isinstance(cell.config.training.rate, RangeTest):
            family = cell.optimizer.split(" @")[0] + ("" if cell.pretext == "contrast" else ", three pretexts")
            asked.setdefault((cell.backbone, family), cell.config.range_test_id)
    rows = [{"backbone": b, "optimizer": o, "run": run, "record": records.find(run)} for (b, o), run in asked.items()]
    return pd.DataFrame(rows, columns=["backbone", "optimizer", "run", "record"])
