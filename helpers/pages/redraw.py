"""A variant's tables, figures and verdicts once more from its records: in this process, without Jupyter, data or a GPU.

The study's notebook says what there is, so its own cells are executed, one after the other; what needs a dataset is left out and named.
"""

import contextlib
import io
import json
import multiprocessing
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from helpers.core.errors import DataError, RecordError, UserError, pick
from helpers.core.files import read_json, shown
from helpers.report import report
from helpers.studies.open import opened
from helpers.studies.variants import DEFAULT_READING

HOW = ("device", "workers", "time_budget", "train")  # parameters that say how a study was run, not what it shows
REPORTED = re.compile(r"report\.(?:figure|table)\(\s*\"(\w+)\"")


@dataclass
class Redrawn:
    """What one variant gave: what was left out with the reason, or why there is nothing."""

    study: str
    variant: str
    skipped: dict[str, str] = field(default_factory=dict)
    problem: str = ""


def redraw(folder: Path, notebooks: Path, results: Path) -> Redrawn:
    """Write what the records in results/runs give for the variant of that folder into results/STUDY/VARIANT."""
    done = Redrawn(folder.parent.name, folder.name)
    (results / done.study / done.variant).mkdir(parents=True, exist_ok=True)
    with away_from_data(results), report.drawings_alone(), contextlib.redirect_stdout(io.StringIO()):
        try:
            parameters, *cells = code_of(notebook_of(done.study, notebooks))
            namespace = {"__name__": done.study}
            exec(parameters, namespace)
            namespace |= parameters_of(folder)
            for source in cells:
                _execute(source, namespace, done)
        except Exception as error:  # as many kinds as a cell can raise
            done.problem = f"{type(error).__name__}: {error}"
    return done


def _execute(source: str, namespace: dict, done: Redrawn) -> None:
    """One cell; a table or figure that needs a dataset is left out, anything else that fails is an error."""
    try:
        exec(compile(source, done.study, "exec"), namespace)
    except DataError as error:
        if not (name := REPORTED.search(source)):
            raise
        done.skipped[name[1]] = str(error).partition(". ")[0]


def rejudge(folder: Path) -> pd.DataFrame | None:
    """The verdicts of a variant as its records give them, with nothing drawn; None of a study that judges no claims."""
    with away_from_data(folder.parents[1]):
        try:
            study = opened(folder.parent.name, parameters_of(folder))
            return study.verdicts(study.recorded())
        except (UserError, DataError, RecordError):
            raise
        except Exception as error:
            raise UserError(f"{shown(folder)} cannot be judged from its records: {type(error).__name__}: {error}.") from error


def notebook_of(study: str, notebooks: Path) -> Path:
    return pick("study", study, {path.stem: path for path in sorted(notebooks.glob("*.ipynb"))})


def code_of(notebook: Path) -> list[str]:
    """The code cells from the parameters on, without magics."""
    try:
        cells = [cell for cell in read_json(notebook)["cells"] if cell["cell_type"] == "code"]
        at = next((n for n, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", [])), None)
        sources = ["".join(cell["source"]) for cell in cells[at:]]
    except (KeyError, TypeError) as error:
        raise UserError(f"Cannot read the notebook {shown(notebook)}: {type(error).__name__}: {error}.") from error
    if at is None:
        raise UserError(f"{shown(notebook)} has no cell tagged 'parameters'.")
    return ["\n".join(line for line in source.splitlines() if not line.startswith(("%", "!"))) for source in sources]


def parameters_of(folder: Path) -> dict:
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
