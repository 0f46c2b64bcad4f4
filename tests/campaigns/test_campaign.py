"""Campaign lists and the grids of their studies; nothing is trained here."""

import json
import re
import subprocess
import sys

import pytest

from helpers.campaigns import campaign
from helpers.commands import campaign as command
from helpers.core.errors import UserError
from helpers.core.files import REPOSITORY
from helpers.runs.sweep import Outcome
from helpers.studies import names
from tests.small_study import known, write_study

NOTEBOOKS = REPOSITORY / "notebooks"
TINY = {
    "data": {"dataset": "embedded", "train_images": 128, "test_images": 32},
    "encoder": {"name": "resnet_tiny", "stem": "stride2"},
    "training": {"batch_size": 64, "epochs": 2},
    "evaluation": {"maps": None, "probe_every": 0},
}


@pytest.fixture(autouse=True)
def small(tmp_path):
    """One more study, "small"."""
    yield from known(write_study(tmp_path, TINY, seeds=2))


@pytest.fixture
def listed(tmp_path):
    def make(text: str) -> str:
        path = tmp_path / "list.toml"
        path.write_text(text)
        return str(path)

    return make


def test_the_grid_is_the_function_of_the_study(listed):
    (stage,) = campaign.read_stages(listed('[[study]]\nname = "small"\nparameters = { seeds = 3, sizes = [32, 16] }\n'))
    assert [(c.seed, c.training.epochs, c.training.batch_size) for c in stage.configs] == [(0, 2, 32), (1, 2, 32), (2, 2, 32)]
    with pytest.raises(UserError, match="study 1: .*race.*make speedrun"):
        campaign.read_stages(listed('[[study]]\nname = "speedrun"\n'))


@pytest.mark.parametrize("name", sorted({*names()} - {"speedrun"}))
def test_the_notebook_runs_the_grid_that_a_campaign_trains(name):
    book = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())
    source = "\n".join("".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code")
    assert "study.show_grid()" in source and "cells = study.run()" in source and "RunConfig(" not in source


def test_neither_jupyter_nor_a_plotting_library_has_to_be_there():
    code = (
        "import sys\nfor name in ('IPython', 'matplotlib', 'seaborn', 'papermill', 'nbformat', 'jinja2'): sys.modules[name] = None\n"
        "from helpers.commands.campaign import main\nfrom helpers.campaigns import campaign\nfrom helpers.core.files import REPOSITORY\n"
        "print(sum(len(s.configs) for s in campaign.read_stages('gpu')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and int(done.stdout) > 20, done.stderr


@pytest.mark.parametrize("name", [path.stem for path in campaign.SHIPPED.glob("*.toml")])
def test_the_lists_that_come_with_the_code_can_be_read(name):
    stages = campaign.read_stages(name)
    ids = [config.id for config in campaign.configs_in(stages)]
    assert ids and len(ids) == len(set(ids))
    assert set(ids) <= set(campaign.run_ids(stages))


def test_a_run_of_two_studies_counts_once_in_the_first(listed):
    file = listed('[[study]]\nname = "small"\n[[study]]\nname = "small"\nparameters = { seeds = 3 }\n')
    first, second = campaign.read_stages(file)
    assert (len(first.configs), len(second.configs), second.shared) == (2, 1, 2)
    assert second.configs[0].seed == 2 and second.entry.title == "small · demo · changed"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[study]]\nname = "smal"', "study 1: Unknown study 'smal'.*small"),
        ('[[study]]\nname = "small"\npreset = "gpo"', "list.toml, study 1: Entry: preset = 'gpo'.*'gpu'"),
        ('[[study]]\nname = "small"\nparameters = { sedes = 3 }', "study 1: Unknown parameter of small 'sedes'.*'seeds'"),
        ('[[study]]\nname = "small"\npresset = "gpu"', "'presset'.*preset"),
        ('[[study]]\nname = "small"\nparameters = { device = "cpu" }', "device is not set here"),
        ("[[study]]\npreset = 'demo'", "study 1: Entry: name"),
        ('[study]\nname = "small"', r"must be a list of \[\[study\]\]"),
        ('[[study]]\nname = "small', "Cannot read the list list.toml: "),
        ("", "must be a list"),
    ],
)
def test_what_is_wrong_in_a_list_is_said_before_any_run(listed, capsys, text, says):
    assert command.main([listed(text)]) == 2
    error = capsys.readouterr().err
    assert re.search(says, error), error


@pytest.mark.parametrize(("name", "says"), [("gup", "Unknown campaign 'gup'.*'gpu'"), ("nowhere/list.toml", "There is no file list.toml")])
def test_a_list_that_is_not_there_names_those_that_are(name, says):
    with pytest.raises(UserError, match=says):
        campaign.read_stages(name)


@pytest.mark.parametrize("words", [["--budget", "soon"], ["--workers", "0"], ["--device", "cuda:99"]])
def test_a_wrong_call_is_refused(listed, monkeypatch, tmp_path, capsys, words):
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "runs"))
    assert command.main([listed('[[study]]\nname = "small"'), *words]) == 2
    assert capsys.readouterr().err.startswith("Error: ") and not (tmp_path / "runs").exists()


def test_the_plan_says_what_is_to_do_and_what_fits_and_trains_nothing(tmp_path, listed, monkeypatch, capsys):
    for setting in ("RUNS_DIR", "RESULTS_DIR"):
        monkeypatch.setenv(setting, str(tmp_path / setting))
    file = listed('[[study]]\nname = "small"\n[[study]]\nname = "small"\nparameters = { seeds = 4 }\n')
    with open(file, "a") as more:
        more.write('[[study]]\nname = "small"\nparameters = { dataset = "nowhere" }\n')
    assert command.main([file, "--plan", "--device", "cpu", "--budget", "4h", "--workers", "2"]) == 0
    out = capsys.readouterr().out
    assert "all, 2 shared with the above" in out and "PFLOP" in out and "Wh" in out and "until then" in out
    assert "4 of 4 runs to do would be finished; 2 more cannot be timed." in out
    assert out.endswith("The plan is for one run at a time, not for 2 at once.\n")
    assert not (tmp_path / "RUNS_DIR").exists()
    stages = campaign.read_stages(file)
    assert campaign.fitting(stages, 1e-3, "cpu") == (0, 4, 2)
    minutes = campaign.plan_table(stages, "cpu")["until then"].dropna().tolist()
    assert minutes == sorted(minutes) and len(minutes) == 3


@pytest.mark.parametrize(
    ("failures", "stopped", "rendering", "code"),
    [
        ({}, None, 0, 2),  # the export fails, since there is no record
        ({}, None, 1, 1),
        ({}, "Stopped.", 0, 75),
        ({"x-1": "it broke"}, None, 0, 1),
        ({"x-1": "it broke"}, "Stopped.", 0, 1),
    ],
)
def test_neither_export_nor_rendering_hides_how_training_ended(listed, monkeypatch, tmp_path, capsys, failures, stopped, rendering, code):
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setattr(campaign, "work", lambda *call: Outcome({}, failures, stopped))
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: name)
    rendered = []
    monkeypatch.setattr(command, "_render", lambda entry, notebooks: rendered.append(entry.name) or rendering)
    words = [listed('[[study]]\nname = "small"'), "--export", str(tmp_path / "a.zip"), "--render"]
    assert command.main(words) == code
    assert rendered == ([] if stopped else ["small"])
    assert "no record to export" in capsys.readouterr().err


def test_rendering_executes_the_notebook_with_the_same_values_and_trains_nothing(monkeypatch):
    study, called = pytest.importorskip("helpers.commands.study"), []
    monkeypatch.setattr(study, "main", lambda words, notebooks: called.append(words) or 0)
    entry = campaign.Entry(name="backbone_contest", preset="cpu", reading="fair", parameters={"seeds": 5, "backbones": ["ViT"]})
    assert command._render(entry, NOTEBOOKS) == 0
    (words,) = called
    given = {words[n + 1]: study.read_value(words[n + 2]) for n, word in enumerate(words) if word == "-p"}
    assert words[:3] == ["backbone_contest", "--preset", "cpu"]
    assert given == {"train": False, "reading": "fair", "seeds": 5, "backbones": ["ViT"]}


def test_seeds_that_were_added_on_the_way_are_exported(listed, monkeypatch, tmp_path):
    file = listed('[[study]]\nname = "small"\n')
    more = listed('[[study]]\nname = "small"\nparameters = { seeds = 3 }\n')
    stages = iter([campaign.read_stages(file), campaign.read_stages(more)])
    sent = []
    monkeypatch.setattr(campaign, "read_stages", lambda name: next(stages))
    monkeypatch.setattr(campaign, "work", lambda *given: Outcome({}))
    monkeypatch.setattr(command.archive, "export", lambda path, runs: sent.extend(runs) or path.write_bytes(b"") or runs)
    assert command.main([file, "--export", str(tmp_path / "out.zip")]) == 0
    kept = {run for run in sent if "untrained" not in run}
    assert len(kept) == 3, "two seeds were asked for, and a third was added"


def test_seeds_that_were_added_and_failed_are_the_campaigns_failures(listed, monkeypatch):
    stages = campaign.read_stages(listed('[[study]]\nname = "small"\n'))
    monkeypatch.setattr(campaign, "sweep", lambda configs, **how: Outcome({config.id: None for config in configs}))
    monkeypatch.setattr(campaign, "_decide", lambda *given: [Outcome({"x": None}, {"x": "it broke"}), Outcome({}, stopped="Time is up.")])
    outcome = campaign.work(stages, None, "cpu", None)
    assert outcome.failures == {"x": "it broke"} and outcome.stopped == "Time is up." and "x" in outcome.records
