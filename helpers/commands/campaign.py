"""Train an ordered list of studies until a deadline: python -m helpers.commands.campaign FILE --budget 9m [--plan] [--export ZIP]."""

import argparse
import importlib.util
import json
import os
import shlex
import sys
from pathlib import Path

from helpers.campaigns import campaign
from helpers.core.errors import RecordError, UserError, answered
from helpers.core.files import REPOSITORY
from helpers.runs import archive
from helpers.runs.sweep import Outcome
from helpers.studies.open import seconds_of


@answered
def main(arguments: list[str] | None = None, notebooks: Path = REPOSITORY / "notebooks") -> int:
    """The exit code: 0 all done, 75 stopped with work left and everything saved, 1 a run or notebook failed or an imported record
    differs from the one here, 2 the call was wrong or cannot be done."""
    given = _parser().parse_args(arguments)
    if not (given.file or given.imported or given.export):
        _parser().error("a FILE is needed, or an archive to --import or --export")
    words = shlex.join(sys.argv[1:] if arguments is None else arguments)
    budget = seconds_of(given.budget)
    if given.workers is not None and given.workers < 1:
        raise UserError(f"--workers {given.workers}: at least one has to work.")
    if given.render and importlib.util.find_spec("papermill") is None:
        raise UserError("--render needs papermill, which is not installed here: render where it is, after importing the records.")
    stages = campaign.read_stages(given.file) if given.file else []
    codes = [_import(given.imported)] if given.imported else []
    if given.plan:
        _print_plan(stages, budget, given)
        return _combined(codes)
    stopped = None
    if given.file:
        outcome = campaign.work(stages, budget, given.device, given.workers)
        stopped = outcome.stopped
        stages = campaign.read_stages(given.file)  # with the seeds that were added on the way
        codes.append(_report(stages, outcome, words))
    if given.export:
        codes.append(_export(given.export, campaign.run_ids(stages) if given.file else None))
    if given.render and stopped:
        print("No notebook is rendered, since training was stopped.")
    elif given.render:
        codes += [_render(stage.entry, notebooks) for stage in stages]
    return _combined(codes)


def _combined(codes: list[int]) -> int:
    """One code for all parts: a failure before work that is left, and that before what could not be written."""
    return next((code for code in (1, os.EX_TEMPFAIL) if code in codes), max(codes, default=0))


def _import(path: Path) -> int:
    new, known, other = archive.take_in(path)
    print(f"Imported {len(new)} records; {len(known)} were here already.", flush=True)
    for day in archive.days_in(path):
        print(f"The day on a GPU {day}: results/gpu_day/{day}/report.md. `make results-tables` takes it into the README.", flush=True)
    if other:
        print(f"{len(other)} more are here with another outcome, and were left as they are here: {', '.join(other)}.")
        print("To take those of the archive, delete their folders and import again.", flush=True)
    return 1 if other else 0


def _export(path: Path, runs: list[str] | None) -> int:
    """An error here must not hide how the training ended."""
    try:
        held = archive.export(path, runs)
    except (UserError, RecordError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print(f"{path.name} holds {len(held)} records, {path.stat().st_size / 1e6:.2f} MB.")
    return 0


def _report(stages: list[campaign.Stage], outcome: Outcome, words: str) -> int:
    print("\n" + campaign.closing_table(stages, outcome).to_string(index=False))
    for line in [*campaign.failure_lines(stages, outcome), *filter(None, [outcome.stopped])]:
        print(line)
    code = 1 if outcome.failures else os.EX_TEMPFAIL if outcome.stopped else 0
    if code:
        print("Everything is saved. Go on, here or where records and checkpoints are copied to, with")
        print(f"  python -m helpers.commands.campaign {words}")
    return code


def _print_plan(stages: list[campaign.Stage], budget: float | None, given: argparse.Namespace) -> None:
    table = campaign.plan_table(stages, given.device)
    print(table.to_string(index=False, na_rep="", float_format=lambda value: f"{value:g}") if len(table) else "The list is empty.")
    if budget is not None:
        reserve = campaign.reserve(budget)
        fit, count, untimed = campaign.fitting(stages, budget - reserve, given.device)
        more = f"; {untimed} more cannot be timed" if untimed else ""
        print(
            f"\nIn {budget / 60:g} minutes, {reserve:.0f} s of them kept for writing, {fit} of {count} runs to do would be finished{more}."
        )
        print("The rest goes on in the next call. Start-up and compiling come on top; runs that are begun cost less than stands here.")
    if (given.workers or 1) > 1:
        print(f"The plan is for one run at a time, not for {given.workers} at once.")


def _render(entry: campaign.Entry, notebooks: Path) -> int:
    from helpers.commands import study

    given = {name: value if isinstance(value, str) else json.dumps(value) for name, value in entry.values.items()}
    words = [word for name, text in given.items() if name != "preset" for word in ("-p", name, text)]
    return study.main([entry.name, "--preset", entry.preset, "-p", "train", "false", *words], notebooks)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m helpers.commands.campaign", description="Train a list of studies until a deadline.")
    parser.add_argument("file", nargs="?", help="a TOML list of [[study]] tables, or the bare name of one in helpers/campaigns/")
    parser.add_argument("--budget", metavar="TIME", help="stop after this long, counted from the start of the process: 90, 9m, 2h")
    parser.add_argument("--plan", action="store_true", help="print what would be trained, for how long and at what energy; train nothing")
    parser.add_argument("--device", default="auto", help="auto | cpu | cuda | cuda:1")
    parser.add_argument("--workers", type=int, help="so many runs at once, each in a process of its own")
    parser.add_argument("--import", dest="imported", type=Path, metavar="ZIP", help="first take the records of this archive in")
    parser.add_argument("--export", type=Path, metavar="ZIP", help="at the end, write the campaign's records (without FILE: all) into it")
    parser.add_argument(
        "--render", action="store_true", help="at the end, if nothing was stopped, execute every study's notebook without training"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
