"""Every guard that the page of methods names exists."""

import ast
from pathlib import Path

import pytest

from helpers.pages import pitfalls as module
from helpers.pages.pitfalls import pitfall_list, pitfalls

TESTS = Path(__file__).parents[1]


def defined(file: Path) -> set[str]:
    return {node.name for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, ast.FunctionDef)}


def test_every_named_test_is_there():
    named = [test.partition("::") for row in pitfalls() for test in row["tests"]]
    assert len(named) > 40 and all(name.startswith("test_") for _, _, name in named)
    assert [f"{file}::{name}" for file, _, name in named if name not in defined(TESTS / file)] == []


def test_the_list_says_why_and_which_tests():
    lines = pitfall_list().splitlines()
    assert sum(line.startswith("* ") for line in lines) == len(pitfalls()) and lines.count("**MoCo**") == 1
    line = next(line for line in lines if line.startswith("* The queue is lost"))
    assert line.startswith("* The queue is lost at a resume. *Here:* `tests/methods/test_moco.py::test_the_queue_is_in_the_state`; ")


def test_a_pitfall_without_a_guard_is_refused(tmp_path, monkeypatch):
    (tmp_path / "pitfalls.toml").write_text('[[MoCo]]\nwrong = "keys"\n', encoding="utf-8")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "pitfalls.py"))
    pitfalls.cache_clear()
    try:
        with pytest.raises(ValueError, match="MoCo: nothing stands in the way of 'keys'"):
            pitfalls()
    finally:
        pitfalls.cache_clear()
