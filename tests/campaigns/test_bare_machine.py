"""A machine that only trains needs no notebook, no plotting and none of the libraries that a few steps use."""

import os
import subprocess
import sys

import pytest

from helpers.core.files import REPOSITORY

LACKING = ("IPython", "captum", "codecarbon", "ipykernel", "ipywidgets", "jinja2", "jupyterlab", "matplotlib", "nbconvert", "nbformat")
LACKING += ("papermill", "seaborn")
WITHOUT = f"""
import importlib.util, sys

class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {LACKING!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Lacking())
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.partition(".")[0] in {LACKING!r} else found(name, package)
"""
TRAIN = """
from helpers.runs.config import RunConfig
from helpers.runs.sweep import sweep
evaluation = {"untrained": True, "maps": 20, "tints": True, "blocks": True, "every": 1, "finetune_epochs": 1}
evaluation["labels"] = {"fractions": [0.5, 1.0], "reference": 0.5, "draws": 1, "epochs": 1, "steps": 1}
config = RunConfig(
    data={"dataset": "embedded", "train_images": 64, "test_images": 40, "image_size": 16},
    encoder={"name": "resnet_tiny", "stem": "stride2"},
    training={"epochs": 1, "batch_size": 32},
    evaluation=evaluation,
)
outcome = sweep([config], device="cpu")
print(outcome.summary())
assert outcome[config] is not None, outcome.failures
wanting = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"pictures": True}), "seed": 1})
outcome = sweep([wanting], device="cpu")
assert "Saliency maps need captum" in outcome.failures[wanting.id], outcome.failures
"""
PLAN = """
from helpers.campaigns.campaign import Entry
from helpers.campaigns.priority import wanted
from helpers.studies import names
for name in names():
    if name != "speedrun":
        study = Entry(name=name).opened()
        wanted(study)
        print(name, len(study.configs))
import helpers.commands.gpu_day, helpers.commands.campaign
"""


def run(code: str, tmp_path) -> subprocess.CompletedProcess:
    given = os.environ | {"RUNS_DIR": str(tmp_path / "runs"), "RESULTS_DIR": str(tmp_path / "results")}
    return subprocess.run([sys.executable, "-c", WITHOUT + code], cwd=REPOSITORY, env=given, capture_output=True, text=True)


@pytest.mark.slow
def test_a_run_is_trained_and_recorded_and_one_that_needs_more_says_so_before(tmp_path):
    done = run(TRAIN, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "1 of 1 runs have a record" in done.stdout


@pytest.mark.slow
def test_every_study_is_planned(tmp_path):
    done = run(PLAN, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "backbone_contest" in done.stdout


@pytest.mark.parametrize("name", ("papermill", "captum", "matplotlib"))
def test_the_machine_lacks_them(name, tmp_path):
    assert f"No module named '{name}'" in run(f"import {name}", tmp_path).stderr
