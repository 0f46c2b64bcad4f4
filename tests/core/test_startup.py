"""What a notebook's first cell costs beside torch itself: libraries that only some steps need are not imported by it."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIRST_CELL = [
    "helpers.judging.claims",
    "helpers.studies.backbone_contest.figures",
    "helpers.studies.backbone_contest.tables",
    "helpers.runs.cost",
    "helpers.studies.open",
    "helpers.runs.plan",
    "helpers.report.range_figure",
    "helpers.runs.run",
    "helpers.runs.sweep",
]
# pandas stays, and with it pyarrow, which pandas imports where it is installed.
LATER = ("captum", "codecarbon", "matplotlib", "scipy", "seaborn", "sklearn", "timm", "torchvision", "torch._dynamo")
LIMIT = 2.0  # seconds of a core, which other processes on the machine hardly lengthen; about a fifth of it is needed

PROBE = """
import importlib, json, sys, time
import torch
start = time.process_time()
for name in {names}:
    importlib.import_module(name)
seconds = time.process_time() - start
{after}
print(json.dumps({{"seconds": seconds, "modules": sorted(sys.modules)}}))
"""


@cache
def started(after: str = "") -> dict:
    """A fresh process that imports what the first cell does, then runs `after`."""
    probe = PROBE.format(names=FIRST_CELL, after=after)
    return json.loads(subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def test_the_first_cell_imports_no_library_that_only_some_steps_need():
    loaded = set(started()["modules"])
    assert set(FIRST_CELL) <= loaded
    assert [name for name in LATER if name in loaded] == []


def test_a_config_names_its_encoder_without_timm():
    asked = "from helpers.models import resolve_stem; assert resolve_stem('resnet18', 32) == 'cifar'"
    assert not {"timm", "torchvision"} & set(started(asked)["modules"])


def test_the_check_of_modules_can_fail():
    assert "sklearn" in started("import sklearn")["modules"]


def test_the_package_starts_soon_after_torch():
    best = started()["seconds"]
    for _ in range(2):
        if best >= LIMIT:
            best = min(best, started.__wrapped__()["seconds"])
    assert best < LIMIT
