"""Train every method under one protocol and write the page of methods: python -m helpers.commands.methods [--preset cpu] [--only NAME ...]."""

import argparse
import os
import sys

import pandas as pd

from helpers.core.errors import UserError, answered
from helpers.core.files import shown, write_text
from helpers.pages.methods_page import MAIN, check, entries, page, page_path
from helpers.runs import records
from helpers.runs.config import RunConfig
from helpers.runs.sweep import sweep


@answered
def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 all recorded, 75 stopped with work left and everything saved, 1 a run failed, 2 the call was wrong."""
    parser = argparse.ArgumentParser(prog="python -m helpers.commands.methods", description="Train every method alike; write their page.")
    parser.add_argument("--preset", default=MAIN, help="cpu (CIFAR-10) or demo (embedded images, seconds a method)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="train these methods alone; the page has all of them")
    parser.add_argument("--workers", type=int, default=1, help="so many runs at once, each in a process of its own")
    parser.add_argument("--device", default="auto", help="auto | cpu | cuda | cuda:1")
    parser.add_argument("--plan", action="store_true", help="list the runs; train and write nothing")
    given = parser.parse_args(arguments)
    if given.workers < 1:
        raise UserError(f"--workers {given.workers}: at least one has to work.")
    entries(given.preset)  # every method on the page, also where only some are trained
    configs = [config for entry in entries(given.preset, given.only) for config in entry.configs]
    if given.plan:
        print(plan(configs).to_string(index=False))
        return 0
    check(config for config in configs if not recorded(config))
    engine = "processes" if given.workers > 1 else "inline"
    outcome = sweep(configs, engine=engine, workers=given.workers, device=given.device)
    written = write_text(page_path(given.preset), page(given.preset))
    print(outcome.summary())
    if outcome.failures:
        print(outcome.failure_table().to_string(index=False))
    print(f"Read it: {shown(written)}")
    return 1 if outcome.failures else os.EX_TEMPFAIL if outcome.stopped else 0


def recorded(config: RunConfig) -> bool:
    return (records.runs_dir() / config.id).is_dir()


def plan(configs: list[RunConfig]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "method": config.method.name,
            "seed": config.seed,
            "encoder": f"{config.encoder.name} ({config.encoder.stem})",
            "views": config.views.recipe,
            "images": config.data.train_images or "all",
            "epochs": config.training.epochs,
            "rate": config.training.rate,
            "run": config.id,
            "state": "recorded" if recorded(config) else "to do",
        }
        for config in configs
    )


if __name__ == "__main__":
    sys.exit(main())
