"""The study command, with a notebook that trains nothing, through the real papermill and a real kernel."""

import os
import signal
import subprocess
import sys
import time

import nbformat
import pytest

from helpers.commands import study
from helpers.core.errors import UserError
from helpers.studies.variants import variant_name

PARAMETERS = 'preset = "demo"\nreading = "as_written"\nseeds = 1\nfail = False  # raise in the second cell\nsleep = 0\norderly = False\n'
REPORT = """\
import os, signal, sys, time
from pathlib import Path
print("python", sys.executable == os.environ["EXPECTED_PYTHON"], "seeds", repr(seeds), "here", Path("helpers").is_dir())
print("runs", os.environ.get("RUNS_DIR", "default"))
if sleep:
    asked = []
    if orderly:  # as a sweep does
        signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    Path(os.environ["RESULTS_DIR"], "started").touch()
    until = time.monotonic() + sleep
    while time.monotonic() < until and not asked:
        time.sleep(0.1)
name = preset if reading == "as_written" else f"{preset}-{reading}"
folder = Path(os.environ["RESULTS_DIR"], "tiny", f"{name}-custom" if fail or sleep else name)
(folder / "claims.csv").write_text("claim,verdict\\nC1,supported\\nC2,undecided\\nC3,supported\\n")
if fail:
    raise ValueError(f"no data in {Path('helpers').resolve()}")
"""


@pytest.fixture
def notebooks(tmp_path, monkeypatch):
    """A folder with one study called tiny; results go beside it."""
    book = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell("# Tiny"),
            nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(REPORT),
            nbformat.v4.new_code_cell("print('the last cell')"),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    folder = tmp_path / "notebooks"
    folder.mkdir()
    nbformat.write(book, folder / "tiny.ipynb")
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path / "results"))
    monkeypatch.setenv("EXPECTED_PYTHON", sys.executable)
    monkeypatch.delenv("FRESH", raising=False)
    monkeypatch.setenv("RUNS_DIR", "")
    monkeypatch.setenv("CHECKPOINT_DIR", "")  # --fresh sets both, for this process alone
    return folder


def test_execution_writes_a_readable_notebook_and_page(notebooks, tmp_path, capfd):
    assert study.main(["tiny", "--preset", "cpu", "-p", "reading", "fair", "-p", "seeds", "3", "--fresh"], notebooks) == 0
    target = tmp_path / "results" / "tiny" / "cpu-fair" / "tiny.ipynb"
    executed = nbformat.read(target, as_version=4)
    printed = "".join(output.get("text", "") for cell in executed.cells for output in cell.get("outputs", []))
    assert "python True seeds 3 here True" in printed
    assert "/trials/" in printed and "the last cell" in printed
    assert "papermill" not in executed.cells[-1].metadata and "input_path" not in executed.metadata.papermill
    assert executed.metadata.papermill.parameters == {"preset": "cpu", "reading": "fair", "seeds": 3}
    page = target.with_suffix(".html").read_text()
    assert "the last cell" in page and 'src="http' not in page and "import(" not in page
    said = capfd.readouterr().out
    assert "the last cell" in said, "the kernel's output is not passed on while it runs"
    assert "2 supported, 1 undecided" in said and "tiny.html" in said
    assert [path.name for path in target.parent.iterdir() if path.name.startswith(".")] == []


def test_failing_cell_is_shown_and_gives_exit_code_1(notebooks, tmp_path, capfd):
    assert study.main(["tiny", "-p", "fail", "true"], notebooks) == 1
    text = (tmp_path / "results" / "tiny" / "demo-custom" / "tiny.ipynb").read_text()
    assert '"output_type": "error"' in text and "Not complete." in text
    assert str(study.REPOSITORY) + "/" not in text, "a path of this machine is in the notebook"
    error = capfd.readouterr().err
    assert "ValueError: no data in" in error and "import os, signal, sys, time" in error and "Finished runs are kept" in error


@pytest.mark.parametrize("orderly", ["false", "true"])
def test_sigterm_reaches_the_kernel(notebooks, tmp_path, orderly):
    """One that stops in order is written; one that is cut off leaves the finished notebook of before in its place."""
    target = tmp_path / "results" / "tiny" / "demo-custom" / "tiny.ipynb"
    target.parent.mkdir(parents=True)
    target.write_text("finished before")
    call = "import sys; from pathlib import Path; from helpers.commands import study; sys.exit(study.main(sys.argv[2:], Path(sys.argv[1])))"
    command = [sys.executable, "-c", call, str(notebooks), "tiny", "-p", "sleep", "60", "-p", "orderly", orderly]
    process = subprocess.Popen(command, cwd=study.REPOSITORY, stderr=subprocess.PIPE, text=True)
    started = time.monotonic()
    while not (tmp_path / "results" / "started").exists():
        assert time.monotonic() - started < 60 and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGTERM
    assert "SIGTERM" in error and "helpers/commands" not in error
    assert ("the last cell" in target.read_text()) == (orderly == "true")
    assert (target.read_text() == "finished before") == (orderly == "false")


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["tinny"], "tiny."),
        (["tiny", "--preset", "dem"], "'demo'"),
        (["tiny", "-p", "sedes", "3"], "'seeds'"),
        (["tiny", "-p", "seeds", "[1, 2"], "JSON"),
    ],
)
def test_wrong_calls_fail_before_any_work(notebooks, tmp_path, capsys, arguments, said):
    assert study.main(arguments, notebooks) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and said in error and "Traceback" not in error
    assert not (tmp_path / "results").exists()


def test_a_missing_or_damaged_notebook_is_said_in_one_line(notebooks, capsys):
    (notebooks / "tiny.ipynb").write_text('{"cells": [')
    assert study.main(["tiny"], notebooks) == 2
    (notebooks / "tiny.ipynb").unlink()
    assert study.main(["tiny"], notebooks) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 2 and "tiny.ipynb" in errors[0] and "no notebooks" in errors[1]


def test_results_that_cannot_be_written_are_an_error_before_any_work(notebooks, tmp_path, capsys):
    (tmp_path / "results").write_text("a file where the folder should be")
    assert study.main(["tiny"], notebooks) == 2
    assert "Cannot write" in capsys.readouterr().err


def test_values_are_read_as_typed():
    typed = {
        "3": 3,
        "1e-4": 1e-4,
        "true": True,
        "False": False,
        "None": None,
        "null": None,
        '["LAMB"]': ["LAMB"],
        "007": "007",
        "NaN": "NaN",
    }
    for text, value in typed.items():
        assert study.read_value(text) == value and type(study.read_value(text)) is type(value)
    with pytest.raises(UserError, match="JSON"):
        study.read_value("['LAMB']")


def test_variant_names_the_reading_unless_it_is_the_default():
    assert variant_name("cpu") == variant_name("cpu", "as_written") == "cpu"
    assert variant_name("cpu", "as_run") == "cpu-as_run"


def test_fresh_comes_from_the_environment_too(notebooks, monkeypatch, capfd):
    monkeypatch.setenv("FRESH", "1")
    assert study.main(["tiny"], notebooks) == 0
    assert "empty runs folder" in capfd.readouterr().out
    assert "/trials/" in os.environ["RUNS_DIR"]
