"""A variant's tables, figures and verdicts once more from its records: in this process, without Jupyter, data or a GPU.

The study's notebook says what there is, so its own statements are executed, with train=False; what needs a dataset is left out and named.
"""

import ast
import contextlib
import dataclasses
import io
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from helpers.core.errors import DataError, RecordError, UserError
from helpers.core.files import shown
from helpers.study.grid import code_of, needed, notebook_of
from helpers.study.open import Study
from helpers.study.report import Report
from helpers.study.variants import DEFAULT_READING

HOW = ("device", "workers", "time_budget", "train")  # parameters that say how a study was run, not what it shows
OF_THE_MACHINE = "study.card()"  # the run card: another on every machine, and no result


@dataclass
class Redrawn:
    """What one variant gave: what was left out with the reason, or why there is nothing."""

    study: str
    variant: str
    skipped: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def redraw(folder: Path, notebooks: Path, results: Path) -> Redrawn:
    """Write what the records in results/runs give for the variant of that folder, figures as SVG alone, into results/STUDY/VARIANT."""
    study, variant = folder.parent.name, folder.name
    done = Redrawn(study, variant)
    (results / study / variant).mkdir(parents=True, exist_ok=True)
    with away_from_data(results), contextlib.redirect_stdout(io.StringIO()):
        try:
            notebook = notebook_of(study, notebooks)
            namespace, body = opened(notebook, parameters(folder))
            for statement in body:
                _execute(statement, namespace, notebook, done)
        except Exception as error:  # as many kinds as a cell can raise
            done.problem = f"{type(error).__name__}: {error}"
    return done


def rejudge(folder: Path, notebooks: Path) -> pd.DataFrame | None:
    """The verdicts of a variant as its records give them, with nothing drawn; None of a study that judges no claims."""
    notebook = notebook_of(folder.parent.name, notebooks)
    verdicts = ast.Name("verdicts", ast.Load())
    with away_from_data(folder.parents[1]), contextlib.redirect_stdout(io.StringIO()):
        try:
            namespace, body = opened(notebook, parameters(folder))
            for statement in needed(body, verdicts):
                run_statement(statement, namespace, notebook)
        except (UserError, DataError, RecordError):
            raise
        except Exception as error:
            raise UserError(f"{shown(folder)} cannot be judged from its records: {type(error).__name__}: {error}.") from error
    return namespace.get("verdicts")


def in_turns(work: Callable, folders: Sequence[Path], *others) -> list:
    """work(folder, *others) of every variant, in the order of the folders: one process a core where there are several."""
    count = min(len(folders), len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    if count < 2:
        return [work(folder, *others) for folder in folders]
    context = multiprocessing.get_context("spawn")  # a forked child of a process that holds threads is broken
    with ProcessPoolExecutor(count, context, _alone) as pool:
        first = sorted(folders, key=_size, reverse=True)  # the longest first, so that no core waits long at the end
        asked = {folder: pool.submit(work, folder, *others) for folder in first}
        return [asked[folder].result() for folder in folders]


def _alone() -> None:
    import torch

    torch.set_num_threads(1)


def _size(folder: Path) -> int:
    """How much there is to draw: every run behind every table and figure is named in the index."""
    index = folder / "index.json"
    return index.stat().st_size if index.is_file() else 0


def parameters(folder: Path) -> dict:
    """What a variant's executed notebook was given, but for how it was run; the folder's name says preset and reading."""
    book = folder / f"{folder.parent.name}.ipynb"
    given = {}
    if book.is_file():
        try:
            given = json.loads(book.read_text(encoding="utf-8"))["metadata"].get("papermill", {}).get("parameters", {})
        except (ValueError, KeyError) as error:
            raise RecordError(f"Cannot read {shown(book)} ({error}). Execute its study again; finished runs are kept.") from error
    preset, _, reading = folder.name.partition("-")
    kept = {name: value for name, value in given.items() if name not in (*HOW, "preset", "reading")}
    return kept | {"preset": preset, "train": False} | ({"reading": reading} if reading and reading != DEFAULT_READING else {})


def opened(notebook: Path, values: dict) -> tuple[dict, list[ast.stmt]]:
    """A namespace in which the notebook's parameters have these values, and the statements that follow."""
    source, body = code_of(notebook)
    injected = "\n".join(["# Parameters", *(f"{name} = {value!r}" for name, value in values.items())])
    namespace = {"__name__": notebook.stem, "In": ["", source, injected]}  # In: where open_study looks for mistyped names
    for text in (source, injected):
        exec(compile(text, notebook.name, "exec"), namespace)
    return namespace, body


def _execute(statement: ast.stmt, namespace: dict, notebook: Path, done: Redrawn) -> None:
    """One statement; a table or figure that needs a dataset is left out, anything else that fails is an error."""
    if ast.unparse(statement) == OF_THE_MACHINE:
        return
    try:
        run_statement(statement, namespace, notebook)
    except DataError as error:
        if not (name := _reported(statement)):
            raise
        done.skipped[name] = str(error).partition(". ")[0]
    study = namespace.get("study")
    if isinstance(study, Study) and study.report.pixels:
        namespace["study"] = dataclasses.replace(study, report=Report(study.report.folder, pixels=False))


def run_statement(statement: ast.stmt, namespace: dict, notebook: Path) -> None:
    exec(compile(ast.Module([statement], type_ignores=[]), notebook.name, "exec"), namespace)


def _reported(statement: ast.stmt) -> str:
    """The name of the table or figure that a statement reports, "" where it reports none."""
    call = getattr(statement, "value", None)
    if isinstance(statement, ast.Expr) and isinstance(call, ast.Call) and ast.unparse(call.func) in ("report.figure", "report.table"):
        return call.args[0].value if call.args and isinstance(call.args[0], ast.Constant) else ""
    return ""


@contextlib.contextmanager
def away_from_data(results: Path) -> Iterator[None]:
    """Read and write results there, and find no dataset and no cache: what is drawn is the same on every machine."""
    with tempfile.TemporaryDirectory(prefix="empty-") as empty:
        settings = {"RESULTS_DIR": str(results), "RUNS_DIR": str(results / "runs"), "DATA_DIR": empty, "CACHE_DIR": empty}
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
