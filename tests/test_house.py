"""The house itself: what notebooks, helpers, requirements, README and committed results have to look like."""

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 2_000_000  # bytes
MACHINE_PATH = re.compile(r"(?<![\w.:/~])/(home|root|work|Users)/[\w.-]")
STUDIES = sorted((ROOT / "notebooks").glob("*.ipynb"))


def tracked() -> list[Path]:
    """The files that git holds or would add: results that are ignored are nobody's reading."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def cells(path: Path) -> list[dict]:
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


def test_there_are_studies():
    assert STUDIES


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_notebooks_carry_no_outputs_and_no_implementation(path):
    for cell in cells(path):
        if cell["cell_type"] != "code":
            continue
        assert not cell["outputs"] and cell["execution_count"] is None, "outputs: run `make strip`"
        for line in "".join(cell["source"]).splitlines():
            assert not re.match(r"\s*(async def|def|class)\s", line), f"belongs into helpers/: {line}"


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_notebooks_have_one_parameters_cell(path):
    tagged = [cell for cell in cells(path) if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    assert re.search(r"^preset\b.*=", "".join(tagged[0]["source"]), re.MULTILINE) or path.stem == "explore_results"


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_notebooks_name_their_language(path):
    kernel = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("kernelspec", {})
    assert (kernel.get("name"), kernel.get("language")) == ("python3", "python"), "papermill needs it, and Jupyter would ask"


def test_the_readme_is_short():
    assert (ROOT / "README.md").stat().st_size < 12_000


def test_results_are_light():
    committed = [path for path in tracked() if path.is_relative_to(ROOT / "results")]
    assert sum(path.stat().st_size for path in committed) < 30 * 2**20, "seven studies; leave out of records what no page reads"


def test_links_of_the_guides_lead_somewhere():
    for guide in (
        "README.md",
        "notebooks/README.md",
        "helpers/README.md",
        *(f"results/{path.stem}/README.md" for path in STUDIES),
        "results/README.md",
    ):
        text = (ROOT / guide).read_text() if (ROOT / guide).is_file() else ""  # a study that was never executed has no page
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            assert target.startswith("http") or ((ROOT / guide).parent / target).exists(), f"{guide}: {target}"


def test_helpers_files_are_short():
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in (ROOT / "helpers").rglob("*.py")}
    assert {name: count for name, count in long.items() if count > 300} == {}


def test_no_file_is_large():
    assert [str(path.relative_to(ROOT)) for path in tracked() if path.stat().st_size > LIMIT] == []


def test_requirements_are_pinned_and_explained():
    lines = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.strip() and not line.startswith("#")]
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+(\[\w+\])?==[\w.]+ +# \S.*", line)] == []


def test_the_list_of_packages_stands_in_one_place():
    names = re.findall(r"^([\w-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    text = (ROOT / "environment.yml").read_text()
    assert "-r requirements.txt" in text and "-e ." in text
    assert [name for name in names if re.search(rf"^\s*- {name}\b", text, re.MULTILINE)] == []


def test_commands_of_the_readme_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    texts = [(ROOT / name).read_text() for name in ("README.md", "notebooks/README.md", "helpers/README.md")]
    used = set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)(?=[\s`]|$)", code_of("\n".join(texts))))
    assert {"demo", "test"} <= used
    assert used <= targets


def code_of(markdown: str) -> str:
    """What stands in code blocks and between backquotes."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", markdown, re.DOTALL))


def test_modules_that_the_makefile_calls_exist():
    for module in re.findall(r"-m (helpers[\w.]+)", (ROOT / "Makefile").read_text()):
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file(), module


def test_committed_results_read_well_anywhere():
    problems = []
    for path in tracked():
        if "results" not in path.relative_to(ROOT).parts[:1] or path.suffix not in (".ipynb", ".html", ".md", ".csv", ".json", ".svg"):
            continue
        name, text = str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
        found = MACHINE_PATH.search(without_images(text))
        if found:
            problems.append(f"{name}: a path of some machine: {found.group()}...")
        if path.suffix == ".ipynb":
            problems += [f"{name}: {problem}" for problem in problems_of(json.loads(text))]
    assert problems == []


def without_images(text: str) -> str:
    return re.sub(r"[A-Za-z0-9+/=]{200,}", "", text)


def problems_of(book: dict) -> list[str]:
    """What would hinder a reader of an executed notebook."""
    outputs = [output for cell in book["cells"] for output in cell.get("outputs", [])]
    problems = ["widget state"] * ("widgets" in book["metadata"])
    problems += ["an error output"] * any(output["output_type"] == "error" for output in outputs)
    problems += ["no outputs at all"] * (not outputs)
    return problems


def test_the_check_of_results_can_fail():
    failed = {"output_type": "error"}
    assert problems_of({"metadata": {"widgets": {}}, "cells": [{"outputs": [failed]}]}) == ["widget state", "an error output"]
    assert MACHINE_PATH.search('File "/home/someone/helpers/x.py"') and not MACHINE_PATH.search("https://example.org/home/page")


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_lines_of_prose_end_where_a_screen_ends(path):
    long = [
        line for cell in cells(path) if cell["cell_type"] == "markdown" for line in "".join(cell["source"]).splitlines() if len(line) > 120
    ]
    assert [line for line in long if not line.startswith("|")] == []
