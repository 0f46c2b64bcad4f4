"""Execute one study: python -m helpers.commands.study NAME --preset P [-p name value ...] [--fresh] [--timeout HOURS]."""

import argparse
import csv
import json
import os
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path

import papermill

from helpers.core.errors import UserError, answered, pick, unknown
from helpers.core.files import REPOSITORY, results_dir, shown, write_text
from helpers.report import notebook
from helpers.runs.records import runs_dir
from helpers.studies.variants import PRESETS, presets_of, variant_name

WORDS = {"true": True, "false": False, "none": None}


@answered
def main(arguments: list[str] | None = None, notebooks: Path = REPOSITORY / "notebooks") -> int:
    """The exit code: 0 executed, 1 a cell failed, 2 the call was wrong or nothing can be written, 128 + signal interrupted."""
    given = _parser().parse_args(arguments)
    source = find(given.study, notebooks)
    hours = given.timeout or pick("preset", given.preset, presets_of(given.study))
    values = parameters(source, {"preset": given.preset, **{name: read_value(text) for name, text in given.p}})
    folder = (
        results_dir()
        / given.study
        / variant_name(given.preset, values.get("reading"), {name: value for name, value in values.items() if value is not None})
    )
    if given.fresh or os.environ.get("FRESH", "") not in ("", "0"):
        trial = results_dir() / "trials" / f"{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}"
        os.environ["RUNS_DIR"], os.environ["CHECKPOINT_DIR"] = str(trial / "runs"), str(trial / "checkpoints")
        print("Starting from an empty runs folder: nothing is taken from finished runs.")
    _check_writable(folder)
    if values.get("train") is not False:
        _check_writable(runs_dir())
    print(f"Executing {given.study}, preset {given.preset}, into {shown(folder)}", flush=True)
    target = folder / f"{given.study}.ipynb"
    outcome = notebook.execute(source, target, values, timeout=int(hours * 3600))
    if outcome.problem:
        print(f"\n{given.study} stopped {outcome.problem}", file=sys.stderr)
        print("Finished runs are kept: the same command goes on from there.", file=sys.stderr)
    if outcome.written:
        print(f"\nRead it:  {shown(target)}\n     or:  {shown(target.with_suffix('.html'))} (any browser, no network)")
        print(_verdicts(folder / "claims.csv") if outcome.code == 0 else "It holds what there is so far.")
    return outcome.code


def find(study: str, notebooks: Path) -> Path:
    """The study's notebook, or an error that names the nearest ones."""
    known = {path.stem: path for path in sorted(notebooks.glob("*.ipynb"))}
    if not known:
        raise UserError(f"There are no notebooks in {shown(notebooks)}. Is this checkout complete? `git status` shows what is missing.")
    return pick("study", study, known)


def parameters(source: Path, values: dict) -> dict:
    """The values, once each is known to be a parameter of the notebook: papermill itself would only warn of a mistyped name."""
    try:
        known = set(papermill.inspect_notebook(str(source)))
    except Exception as error:  # whatever a damaged file makes nbformat raise
        raise UserError(f"Cannot read the notebook {shown(source)}: {error}. `git checkout {shown(source)}` restores it.") from error
    for name in values:
        if name not in known:
            raise unknown(f"parameter of {source.stem}", name, known)
    return values


def read_value(text: str) -> object:
    """A value as typed on the command line: JSON (3, 0.1, true, ["LAMB"]), Python's True, False and None, or else the text itself."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    try:
        value = json.loads(text)
    except ValueError:
        if text[:1] in "[{":
            raise UserError(
                f"{text} is no list or mapping in JSON. Quote it for the shell, with double quotes inside: '[\"LAMB\"]'."
            ) from None
        return text
    return text if text in ("NaN", "Infinity", "-Infinity") else value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m helpers.commands.study", description="Execute one study's notebook.")
    parser.add_argument("study", help="a notebook of notebooks/, without .ipynb")
    parser.add_argument("--preset", default="demo", help=" | ".join(PRESETS))
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="override a parameter; may be repeated")
    parser.add_argument("--fresh", action="store_true", help="start from an empty runs folder (as FRESH=1 does)")
    parser.add_argument("--timeout", type=float, metavar="HOURS", help="the longest a single cell may take")
    return parser


def _check_writable(folder: Path) -> None:
    """Fail now rather than after the training."""
    write_text(folder / ".writable", "").unlink()


def _verdicts(claims: Path) -> str:
    """One line that counts the claims by verdict."""
    if not claims.is_file():
        return ""
    with open(claims, newline="", encoding="utf-8") as lines:
        counts = Counter(row.get("verdict", "?").split(",")[0] for row in csv.DictReader(lines))
    return "Claims:   " + ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())


if __name__ == "__main__":
    sys.exit(main())
