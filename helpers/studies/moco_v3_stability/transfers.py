"""The ViTs fine-tuned end to end on other images: pretrained without labels, with labels, and not at all."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from helpers.core.errors import DataError, RecordError, TrainingStopped, UserError
from helpers.core.progress import line
from helpers.runs.config import Data
from helpers.runs.transfer import Transfer, find, transfer
from helpers.studies.moco_v3_stability.settings import SUPERVISED, V3, Settings
from helpers.training import Stopped

UNTRAINED = "untrained"
STARTS = (V3, SUPERVISED, UNTRAINED)


@dataclass(frozen=True)
class Asked:
    """One readout: from which start, by which seed, where, with which share of the labels."""

    start: str
    seed: int
    dataset: str
    fraction: float
    what: Transfer


def asked(s: Settings, cells: pd.DataFrame) -> Iterator[Asked]:
    """A seed of every start on every dataset before the next seed. Only what trained to its end can be read."""
    for seed in range(int(cells["seed"].max()) + 1 if len(cells) else 0):
        pairs = {start: run_of(s, cells, start, seed) for start in (V3, SUPERVISED)}
        for start in STARTS:
            run = pairs.get(start) or (pairs[V3] if start == UNTRAINED else None)
            if run:
                for data in s.transfer:
                    for fraction in s.fractions:
                        yield Asked(start, seed, data.dataset, fraction, readout(s, run, data, fraction, trained=start != UNTRAINED))


def run_of(s: Settings, cells: pd.DataFrame, start: str, seed: int) -> str | None:
    """The id of the run that pretrained a ViT so: MoCo v3 at the middle rate with learned patches, or supervised training."""
    own = cells[(cells["seed"] == seed) & cells["record"].map(lambda record: hasattr(record, "evaluations"))]
    own = own[(own["part"] == "others") & (own["arm"] == SUPERVISED)] if start == SUPERVISED else of_usual(s, own)
    return own["run"].iloc[0] if len(own) else None


def of_usual(s: Settings, cells: pd.DataFrame) -> pd.DataFrame:
    """The rows of MoCo v3 as it is: AdamW, the middle rate, the first batch, learned patches, nothing changed."""
    where = {"part": "stability", "arm": "", "optimizer": "AdamW", "patches": "learned", "batch": s.vit.batches[0]}
    kept = (cells[list(where)] == pd.Series(where)).all(axis=1) & (cells["rate"] - s.vit.middle).abs().lt(1e-12)
    return cells[kept]


def readout(s: Settings, run: str, data: Data, fraction: float, trained: bool = True) -> Transfer:
    """The same fine-tuning from whatever start, with so many labels."""
    return Transfer(
        run=run,
        data=data.model_copy(update={"label_fraction": fraction}),
        trained=trained,
        finetune_epochs=s.transfer_epochs,
        finetune_steps=s.transfer_steps,
    )


def read(study, cells: pd.DataFrame) -> None:
    """Read now what was not read, as long as there is time; what cannot be read says why and costs the rest nothing."""
    for each in asked(study.settings, cells):
        if not study.train or (study.time_left() or 1) <= 0.02:
            return
        try:
            if find(each.what) is None:
                transfer(each.what, study.device)
        except (UserError, DataError, RecordError, TrainingStopped, Stopped) as error:
            line(f"{each.start} on {each.dataset}: {error}")


def records_of(s: Settings, cells: pd.DataFrame) -> list[tuple[Asked, object]]:
    """What was read, with its record."""
    return [(each, record) for each in asked(s, cells) if (record := find(each.what)) is not None]
