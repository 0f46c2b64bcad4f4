"""Read trained encoders out on another dataset: python -m helpers.commands.transfer RUN [RUN ...] --to stl10 [--size 32] [--finetune 20]."""

import argparse
import os
import sys

import pandas as pd

from helpers.core.errors import DataError, RecordError, TrainingStopped, UserError, answered
from helpers.core.files import shown
from helpers.runs import records
from helpers.runs.config import Data
from helpers.runs.transfer import Transfer, run_of, transfer
from helpers.training import Stopped, graceful


@answered
def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 all read, 75 stopped with work left, 2 an encoder could not be read, or the call was wrong."""
    given = _parser().parse_args(arguments)
    data = Data(dataset=given.to, image_size=given.size)
    rows, made, failed, stopped = [], [], 0, None
    with graceful() as stop:
        for run in dict.fromkeys(given.runs):
            try:
                row, used = _read(run, data, given, stop)
            except Stopped as error:
                stopped = error
                break
            except (UserError, DataError, RecordError, TrainingStopped) as error:
                print(f"Error: {run}: {error}", file=sys.stderr, flush=True)
                failed += 1
                continue
            rows.append(row)
            made += used
    if rows:
        print(pd.DataFrame(rows).to_string(index=False, na_rep="–", float_format=lambda value: f"{value:.1f}"))
        print(f"Top-1 in percent. Records, in {shown(records.runs_dir())}: {', '.join(dict.fromkeys(made))}")
    if stopped:
        print(stopped)
    return 2 if failed else os.EX_TEMPFAIL if stopped else 0


def _read(run: str, data: Data, given: argparse.Namespace, stop) -> tuple[dict, list[str]]:
    """A row of the table, and the records it is of."""
    method = run_of(run).config["method"]["name"]
    trained = transfer(Transfer(run=run, data=data, finetune_epochs=given.finetune), given.device, stop)
    before = transfer(Transfer(run=run, data=data, trained=False), given.device, stop)
    row = {
        "run": run,
        "method": method,
        "dataset": f"{data.dataset} ({trained.manifest['image_size']} px)",
        "untrained linear": before.evaluations["linear"]["top1"],
        "linear": trained.evaluations["linear"]["top1"],
    }
    if given.finetune:
        row["fine-tuned"] = trained.evaluations["finetune"].get("top1", float("nan"))
    return row, [trained.id, before.id]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.commands.transfer", description="Read trained encoders out on another dataset."
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="ids of runs: names of folders in results/runs")
    parser.add_argument("--to", required=True, metavar="DATASET", help="a name of the catalogue, or of a folder in DATA_DIR")
    parser.add_argument("--size", type=int, metavar="PX", help="side of its images; left out: the size each encoder was trained at")
    parser.add_argument("--finetune", type=int, default=0, metavar="EPOCHS", help="train end to end as well, for so many epochs")
    parser.add_argument("--device", default="auto", help="auto | cpu | cuda | cuda:1")
    return parser


if __name__ == "__main__":
    sys.exit(main())
