"""A study of a few lines in a folder of its own, found as the others are: by its folder."""

import sys
from pathlib import Path

from helpers import studies

SETTINGS = """
from helpers.runs.config import RangeTest
from helpers.studies.settings import StudySettings

READINGS = ("as_written",)


class Settings(StudySettings):
    seeds: int = 1
    rate: RangeTest | None = None
    sizes: list[int] = [64]
"""
RUNS = """
from helpers.runs.config import RunConfig
from helpers.runs.plan import Cell


def cells(s):
    base = {base!r}
    base["data"]["dataset"] = s.dataset
    base["training"] |= {{"batch_size": s.sizes[0]}} | ({{"rate": s.rate}} if s.rate else {{}})
    return [Cell(RunConfig(**base, seed=seed), {{"part": "main"}}) for seed in range(s.seeds)]
"""


def write_study(place: Path, base: dict, seeds: int = 1, name: str = "small") -> Path:
    """Put the study `name` there, whose runs are `base` with so many seeds; the folder of studies that it lies in."""
    folder = place / "studies" / name
    folder.mkdir(parents=True)
    (folder / "settings.py").write_text(SETTINGS)
    (folder / "runs.py").write_text(RUNS.format(base={"data": {}, "training": {}} | base))
    (folder / "presets.toml").write_text(f'[demo]\nscope = "embedded"\ndataset = "embedded"\nseeds = {seeds}\nsizes = [{batch(base)}]\n')
    return folder.parent


def batch(base: dict) -> int:
    return base.get("training", {}).get("batch_size", 64)


def known(folder: Path, name: str = "small"):
    """While it is known: a generator for a fixture."""
    studies.__path__.append(str(folder))
    try:
        yield
    finally:
        studies.__path__.remove(str(folder))
        for module in [module for module in sys.modules if module.startswith(f"helpers.studies.{name}")]:
            del sys.modules[module]
