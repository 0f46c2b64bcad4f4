"""What encoders are worth on other images: those of this study, and of any other by the ids of their runs."""

import pandas as pd

from helpers.core.errors import DataError, RecordError, TrainingStopped, UserError
from helpers.core.progress import line
from helpers.runs.config import Data
from helpers.runs.transfer import Transfer, find, transfer
from helpers.studies.relic_views.settings import IMAGES, RIVALS, WHOLE, Settings
from helpers.training import Stopped

COLUMNS = ("encoder", "trained on", "read on", "frozen", "kNN", "fine-tuned", "note")


def asked(s: Settings, cells: pd.DataFrame) -> list[tuple[str, str, Transfer]]:
    """(encoder, what it was trained on, the readout): the first seed of what is compared, and what was trained elsewhere read at home."""
    found = []
    chosen = cells[(cells["seed"] == 0) & (cells["spent"] == IMAGES) & cells["arm"].isin((WHOLE, *RIVALS))]
    own = chosen[chosen["part"].isin(("ladder", "rivals")) & (chosen["net"] == s.main)]
    for data in s.transfer:
        found += [(row.arm, s.dataset, _read(s, row.run, data)) for row in own.itertuples()]
        found += [("untrained", "nothing", _read(s, row.run, data, trained=False)) for row in own.head(1).itertuples()]
        found += [(f"run {run}", "", _read(s, run, data)) for run in s.transfer_runs]
    home = Data(**s.data())
    for row in cells[cells["part"] == "sources"].itertuples():
        found.append((row.arm, row.source, _read(s, row.run, home)))
    return found


def _read(s: Settings, run: str, data: Data, trained: bool = True) -> Transfer:
    return Transfer(run=run, data=data, trained=trained, finetune_epochs=s.transfer_epochs)


def table(study, cells: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """(a row each, the records behind it): read now where it was not, as long as there is time; what cannot be read says why."""
    rows, runs = [], []
    for encoder, source, what in asked(study.settings, cells):
        row = {"encoder": encoder, "trained on": source, "read on": what.data.dataset}
        try:
            record = find(what)
            if record is None and study.train and (study.time_left() or 1) > 0.02:
                record = transfer(what, study.device)
        except (UserError, DataError, RecordError, TrainingStopped, Stopped) as error:
            line(f"{encoder} on {what.data.dataset}: {error}")  # paths and ids of this machine, which the table does without
            record = None
        if record is None:
            rows.append(row | {"note": "missing"})
            continue
        told = record.evaluations
        row |= {"frozen": told["linear"]["top1"], "kNN": told.get("knn20_t0.1", {}).get("top1")}
        rows.append(row | {"fine-tuned": told.get("finetune", {}).get("top1")})
        runs.append(record.id)
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).dropna(axis="columns", how="all") if rows else pd.DataFrame(columns=list(COLUMNS))
    return frame, runs
