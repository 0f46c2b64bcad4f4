"""The studies, one folder each, found by being here: settings, presets, published figures, runs, claims, tables, figures.

Whoever adds one adds a folder with the same file names, and a notebook of its name; nothing has to be told of it.
"""

import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

from helpers.core.errors import pick


def names() -> list[str]:
    return sorted(path.parent.name for place in __path__ for path in Path(place).glob("*/settings.py"))


def folder(study: str) -> Path:
    pick("study", study, dict.fromkeys(names()))
    return next(Path(place) / study for place in __path__ if (Path(place) / study / "settings.py").is_file())


def part(study: str, module: str) -> ModuleType:
    """A module of a study's folder."""
    folder(study)
    return import_module(f"helpers.studies.{study}.{module}")


@cache
def published(study: str) -> dict:
    """What the paper and its repository report."""
    return tomllib.loads((folder(study) / "published.toml").read_text(encoding="utf-8"))
