"""Campaign lists and the grids that are read from notebooks; nothing is trained here."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.commands import campaign as command
from helpers.core.errors import UserError
from helpers.core.files import REPOSITORY
from helpers.study import campaign
from helpers.study.grid import configs_of
from helpers.study.sweep import Outcome

NOTEBOOKS = REPOSITORY / "notebooks"
PARAMETERS = 'preset = "demo"\nreading = "as_written"\nseeds = 2\nsizes = [64]\n'
GRID = """\
import no_such_plotting_library
from no_such_display import show
from helpers.study.config import RunConfig
from helpers.study.sweep import sweep
plan = []
options = {"epochs": 3}
options["batch_size"] = sizes[0]
for n in range(seeds):
    plan.append(RunConfig(training=options, seed=n))
plan += [RunConfig(training=options | {"epochs": 9})]
show(plan)
no_such_plotting_library.draw(plan)
table = no_such_plotting_library.forecast(plan)
"""
SWEEP = "outcome = sweep([config for config in plan], device='cpu')\nplan = None\n"
TINY = {
    "data": {"dataset": "embedded", "train_images": 128, "test_images": 32},
    "encoder": {"name": "resnet_tiny", "stem": "stride2"},
    "training": {"batch_size": 64, "epochs": 2},
    "evaluation": {"maps": None, "probe_every": 0},
}


def write(folder: Path, *cells: str, name="small") -> Path:
    book = [{"cell_type": "code", "metadata": {"tags": ["parameters"] * (not n)}, "source": [text]} for n, text in enumerate(cells)]
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "markdown", "metadata": {}, "source": ["# Small"]}, *book]}))
    return path


@pytest.fixture
def notebooks(tmp_path):
    return write(tmp_path / "notebooks", PARAMETERS, "%matplotlib inline\n" + GRID, SWEEP).parent


@pytest.fixture
def listed(tmp_path):
    def make(text: str) -> str:
        path = tmp_path / "list.toml"
        path.write_text(text)
        return str(path)

    return make


def test_only_what_the_sweep_depends_on_is_executed(notebooks):
    found = configs_of(notebooks / "small.ipynb", {})
    assert [(c.seed, c.training.epochs, c.training.batch_size) for c in found] == [(0, 3, 64), (1, 3, 64), (0, 9, 64)]
    changed = configs_of(notebooks / "small.ipynb", {"seeds": 1, "sizes": [32, 16]})
    assert [(c.seed, c.training.epochs, c.training.batch_size) for c in changed] == [(0, 3, 32), (0, 9, 32)]


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ([PARAMETERS, GRID], r"calls sweep\(...\) 0 times"),
        ([PARAMETERS, GRID, SWEEP, "outcome = speedrun.race(plan)"], r"also calls race\(...\).*`make speedrun`"),
        ([PARAMETERS, GRID, SWEEP, SWEEP], r"calls sweep\(...\) 2 times"),
        ([PARAMETERS, GRID.replace("range(seeds)", "range(seedz)"), SWEEP], "NameError: name 'seedz'"),
        ([PARAMETERS, GRID + "plan = [1]\n", SWEEP], "hands int to its sweep"),
        ([PARAMETERS, GRID.replace("epochs", "epcohs"), SWEEP], "'epcohs'.*epochs"),
        ([PARAMETERS, "for", SWEEP], "Cannot read the notebook small.ipynb: SyntaxError"),
    ],
)
def test_a_notebook_without_a_grid_that_can_be_read_is_refused(tmp_path, cells, says):
    with pytest.raises(UserError, match=says):
        configs_of(write(tmp_path, *cells), {})


@pytest.mark.parametrize("preset", ["demo", "cpu"])
@pytest.mark.parametrize("reading", ["as_written", "fair"])
def test_the_grid_is_the_one_that_the_notebook_builds(preset, reading):
    book = json.loads((NOTEBOOKS / "backbone_contest.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "code"]
    last = next(n for n, text in enumerate(cells) if "sweep(" in text)
    namespace = {"In": [""]}
    for text in [cells[0], f"preset, reading = {preset!r}, {reading!r}", *(t for t in cells[1:last] if not t.startswith("forecast"))]:
        exec(text, namespace)
    found = configs_of(NOTEBOOKS / "backbone_contest.ipynb", {"preset": preset, "reading": reading})
    assert [c.id for c in found] == [cell.config.id for cell in namespace["plan"]] and len(found) >= 3


def test_neither_jupyter_nor_a_plotting_library_has_to_be_there():
    code = (
        "import sys\nfor name in ('IPython', 'matplotlib', 'seaborn', 'papermill', 'nbformat', 'jinja2'): sys.modules[name] = None\n"
        "from helpers.commands.campaign import main\nfrom helpers.study import campaign\nfrom helpers.core.files import REPOSITORY\n"
        "print(sum(len(s.configs) for s in campaign.read_stages('gpu', REPOSITORY / 'notebooks')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and int(done.stdout) > 20, done.stderr


@pytest.mark.parametrize("name", [path.stem for path in campaign.SHIPPED.glob("*.toml")])
def test_the_lists_that_come_with_the_code_can_be_read(name):
    stages = campaign.read_stages(name, NOTEBOOKS)
    ids = [config.id for config in campaign.configs_in(stages)]
    assert ids and len(ids) == len(set(ids))
    assert set(ids) <= set(campaign.run_ids(stages))


def test_a_run_of_two_studies_counts_once_in_the_first(notebooks, listed):
    file = listed('[[study]]\nname = "small"\n[[study]]\nname = "small"\nparameters = { seeds = 3 }\n')
    first, second = campaign.read_stages(file, notebooks)
    assert (len(first.configs), len(second.configs), second.shared) == (3, 1, 3)
    assert second.configs[0].seed == 2 and second.entry.title == "small · demo · changed"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[[study]]\nname = "smal"', "study 1: Unknown study 'smal'. Choose one of. small"),
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
def test_what_is_wrong_in_a_list_is_said_before_any_run(notebooks, listed, capsys, text, says):
    assert command.main([listed(text)], notebooks) == 2
    error = capsys.readouterr().err
    assert re.search(says, error), error


@pytest.mark.parametrize(("name", "says"), [("gup", "Unknown campaign 'gup'.*'gpu'"), ("nowhere/list.toml", "There is no file list.toml")])
def test_a_list_that_is_not_there_names_those_that_are(name, says, notebooks):
    with pytest.raises(UserError, match=says):
        campaign.read_stages(name, notebooks)


@pytest.mark.parametrize("words", [["--budget", "soon"], ["--workers", "0"], ["--device", "cuda:99"]])
def test_a_wrong_call_is_refused(notebooks, listed, monkeypatch, tmp_path, capsys, words):
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "runs"))
    assert command.main([listed('[[study]]\nname = "small"'), *words], notebooks) == 2
    assert capsys.readouterr().err.startswith("Error: ") and not (tmp_path / "runs").exists()


def test_the_plan_says_what_is_to_do_and_what_fits_and_trains_nothing(tmp_path, listed, monkeypatch, capsys):
    for setting in ("RUNS_DIR", "RESULTS_DIR"):
        monkeypatch.setenv(setting, str(tmp_path / setting))
    write(
        tmp_path / "notebooks",
        "preset = 'demo'\nseeds = 1\ndataset = 'embedded'",
        f"from helpers.study.config import RunConfig\nbase = {TINY!r}\nbase['data']['dataset'] = dataset",
        "sweep([RunConfig(**base, seed=n) for n in range(seeds)])",
    )
    file = listed('[[study]]\nname = "small"\n[[study]]\nname = "small"\nparameters = { seeds = 4 }\n')
    with open(file, "a") as more:
        more.write('[[study]]\nname = "small"\nparameters = { dataset = "nowhere" }\n')
    assert command.main([file, "--plan", "--device", "cpu", "--budget", "4h", "--workers", "2"], tmp_path / "notebooks") == 0
    out = capsys.readouterr().out
    assert "all, 1 shared with the above" in out and "PFLOP" in out and "Wh" in out and "until then" in out
    assert "4 of 4 runs to do would be finished; 1 more cannot be timed." in out
    assert out.endswith("The plan is for one run at a time, not for 2 at once.\n")
    assert not (tmp_path / "RUNS_DIR").exists()
    stages = campaign.read_stages(file, tmp_path / "notebooks")
    assert campaign.fitting(stages, 1e-3, "cpu") == (0, 4, 1)
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
def test_neither_export_nor_rendering_hides_how_training_ended(
    notebooks, listed, monkeypatch, tmp_path, capsys, failures, stopped, rendering, code
):
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setattr(campaign, "work", lambda *call: Outcome({}, failures, stopped))
    monkeypatch.setattr(command.importlib.util, "find_spec", lambda name: name)
    rendered = []
    monkeypatch.setattr(command, "_render", lambda entry, notebooks: rendered.append(entry.name) or rendering)
    words = [listed('[[study]]\nname = "small"'), "--export", str(tmp_path / "a.zip"), "--render"]
    assert command.main(words, notebooks) == code
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
