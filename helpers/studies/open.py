"""A study opened: its parameters checked before any work, the preset filled in, its grid made, the report opened."""

import ast
import inspect
import time
import tomllib
from dataclasses import dataclass, field

import pandas as pd

from helpers.core.devices import describe, device_words, pick_device
from helpers.core.errors import UserError, pick, unknown
from helpers.core.files import results_dir
from helpers.judging.tables import verdict_table, write_claims
from helpers.report.report import Report
from helpers.runs.config import RunConfig
from helpers.runs.cost import forecast
from helpers.runs.manifest import code_version, versions
from helpers.runs.plan import Cell, collect, configs
from helpers.runs.sweep import Outcome, sweep
from helpers.studies import decide, folder, part
from helpers.studies.settings import StudySettings
from helpers.studies.variants import DEFAULT_READING, is_custom, presets_of, variant_name

CONTROLS = ("preset", "reading", "device", "workers", "time_budget", "train")


def show(table: pd.DataFrame) -> None:
    """In a notebook as one sees tables there, on a bare training machine as text."""
    try:
        from IPython.display import display
    except ImportError:
        print(table.to_string(index=False))
    else:
        display(table)


@dataclass(frozen=True)
class Study:
    """An opened study: its settings, the cells of its grid, its report, and how it is to be run."""

    name: str
    preset: str
    reading: str
    variant: str
    settings: StudySettings
    grid: list[Cell]
    report: Report
    device: str = "auto"
    workers: int = 1
    time_budget: float | None = None
    train: bool = True
    first: int | None = None  # with how many seeds claims are judged first, where seeds are added to them; None: their number is fixed
    opened: float = field(default_factory=time.monotonic)
    outcomes: list[Outcome] = field(default_factory=list)  # of its sweeps, for whoever runs it and has to say how it ended

    @property
    def configs(self) -> list[RunConfig]:
        return configs(self.grid)

    @property
    def scope(self) -> str:
        return self.settings.scope

    def show_grid(self):
        """The function that makes the grid, as it stands in the study's folder, and how many runs it comes to."""
        from IPython.display import Markdown  # here, as a machine that only trains opens studies without Jupyter

        print(f"{len(self.grid)} cells, {len({cell.config.id for cell in self.grid})} different runs")
        return Markdown(f"```python\n{inspect.getsource(part(self.name, 'runs').cells)}```")

    def forecast(self):
        """What training the missing runs would take; what a study needs and lacks is said here, before the first of them."""
        if not self.train:
            return "Nothing will be trained."
        if check := getattr(part(self.name, "runs"), "check", None):
            check(self.settings)
        return forecast(self.configs, device=self.device).style.hide(axis="index").format(precision=3)

    def run(self) -> pd.DataFrame:
        """A row for each cell with its record, trained now where it was missing, or None; with seeds added where the study decides."""
        cells = self._swept([])
        if self.settings.decide and self.train:
            cells, added = decide.work(self, cells, self._swept)
            self.grid.extend(added)
        return cells

    def _swept(self, more: list[Cell]) -> pd.DataFrame:
        cells = [*self.grid, *more]
        return self.told(cells, sweep(configs(cells), **self.engine, time_budget=self.time_left(), train=self.train))

    def told(self, cells: list[Cell], outcome: Outcome) -> pd.DataFrame:
        """The rows of some cells; what came of their runs is said."""
        self.outcomes.append(outcome)
        print(outcome.summary())
        if outcome.failures:
            show(outcome.failure_table())
        return collect(cells, outcome)

    def recorded(self) -> pd.DataFrame:
        """The rows with what records there are; nothing is trained and nothing said."""
        return collect(self.grid, sweep(self.configs, train=False))

    def verdicts(self, cells: pd.DataFrame) -> pd.DataFrame | None:
        """Every claim judged from these cells; None of a study that judges none."""
        claims = part(self.name, "claims") if (folder(self.name) / "claims.toml").is_file() else None
        return claims and claims.verdicts(self, cells)

    def judge(self, cells: pd.DataFrame):
        """The verdicts, written beside the tables and shown."""
        verdicts = self.verdicts(cells)
        write_claims(verdicts, self.report.folder)
        words = "Every claim, ours beside the published, with its verdict."
        return self.report.table("verdicts", verdict_table(verdicts), words, cells["run"])

    def time_left(self) -> float | None:
        """What is left of the time budget: a notebook with two pieces of work gives each what the one before it left."""
        return None if self.time_budget is None else max(0.01, self.time_budget - (time.monotonic() - self.opened))

    @property
    def engine(self) -> dict:
        """How its sweep runs: one run after another, or several at once in processes of their own."""
        return {"device": self.device, "engine": "processes" if self.workers > 1 else "inline", "workers": self.workers}

    def card(self):
        """The run card: what code, machine and settings this notebook was executed with."""
        code, device = code_version(), describe(pick_device(self.device))
        state = "with changes" if code["changed"] else "as committed"
        rows = {
            "study": f"{self.name}, preset {self.preset}, reading {self.reading}, scope {self.scope}",
            "code": f"commit {(code['commit'] or 'none')[:12]}, helpers {state} (source {code['source']})",
            "drawn on": device_words(device),
            "packages": ", ".join(f"{k} {v}" for k, v in versions().items()),
        }
        values = self.settings.model_dump()
        rows |= {
            key: str(value)
            for key, value in values.items()
            if key not in ("encoders", "heads", "headline", "scope", "candidates", "recipes") and value is not None
        }
        return pd.DataFrame({"value": rows}).style.set_properties(**{"text-align": "left", "white-space": "normal"})


def open_study(name: str, namespace: dict) -> Study:
    """The study with every parameter of the notebook's namespace (its globals()) checked and laid over the preset."""
    known = parameters_of(name)
    values = {key: namespace[key] for key in known if namespace.get(key) is not None}
    return opened(name, dict.fromkeys(_injected(namespace)) | values)


def opened(name: str, values: dict) -> Study:
    """The study with these parameters, those of its settings and those that say how it is run; None is the preset's value."""
    known = parameters_of(name)
    for key in values:
        if key not in known:
            raise unknown(f"parameter of {name}", key, known)
    values = {key: value for key, value in values.items() if value is not None}
    settings, runs = part(name, "settings"), part(name, "runs")
    preset, reading = values.get("preset", "demo"), values.get("reading", DEFAULT_READING)
    if preset not in presets_of(name):
        raise unknown("preset", preset, presets_of(name))
    if reading not in settings.READINGS:
        raise unknown("reading", reading, settings.READINGS)
    given = {key: value for key, value in values.items() if key not in CONTROLS}
    usual = preset_values(name, preset, reading)
    for key in getattr(settings, "LAID_OVER", ()):  # groups of settings of which only what differs need be named
        if isinstance(given.get(key), dict) and isinstance(usual.get(key), dict):
            given[key] = usual[key] | given[key]
    wanted = usual | given
    if usual.get("decide") and not _flag("decide", wanted["decide"]):
        given |= {"judged once": True}  # what was looked at again and again must not stand beside it at a fixed level
    if wanted["dataset"] == "embedded" and not wanted.get("data_dir"):
        wanted["scope"] = "embedded"
    elif is_custom(given):  # no longer the paper's sizes, whatever preset it began from
        wanted["scope"] = "reduced"
    s = settings.Settings(**wanted).prepared()
    grid, train = runs.cells(s), _flag("train", values.get("train", True))
    first = None
    if s.decide:
        first, grid = decide.begun(name, grid), decide.adopted(grid)
    variant, device = variant_name(preset, reading, given), values.get("device", "auto")
    pick_device(device)
    return Study(
        name,
        preset,
        reading,
        variant,
        s,
        grid,
        Report(results_dir() / name / variant),
        device,
        _workers(values.get("workers")),
        seconds_of(values.get("time_budget")),
        train,
        first,
    )


def parameters_of(name: str) -> list[str]:
    return [*CONTROLS, *(field for field in part(name, "settings").Settings.model_fields if field != "scope")]


def preset_values(name: str, preset: str, reading: str) -> dict:
    """The preset's table, with the table of its reading laid over it."""
    presets = tomllib.loads((folder(name) / "presets.toml").read_text(encoding="utf-8"))
    table = pick(f"preset of {name}", preset, presets)
    readings = table.pop("readings", {})
    if reading != DEFAULT_READING and reading not in readings:
        raise UserError(f"Preset {preset!r} of {name} has no reading {reading!r}. It has: {', '.join([DEFAULT_READING, *readings])}.")
    return _laid_over(table, readings.get(reading, {}))


def _laid_over(table: dict, changes: dict) -> dict:
    """The table with those changes, in tables within it too: a reading names only what differs."""
    both = {key: _laid_over(table[key], value) for key, value in changes.items() if isinstance(value, dict) and key in table}
    return table | changes | both


def seconds_of(budget: object) -> float | None:
    """A time budget in seconds from 90, "90", "90s", "15m" or "2h"."""
    if budget is None:
        return None
    text = str(budget).strip().lower()
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:], None)
    try:
        seconds = float(text[:-1]) * unit if unit else float(text)
    except ValueError:
        seconds = -1.0
    if not seconds > 0:
        raise UserError(f"time_budget = {budget!r} is no time. Write seconds, or '15m', or '2h'.")
    return seconds


def _workers(given: object) -> int:
    """How many runs go on at once; None is one."""
    if given is None:
        return 1
    if isinstance(given, bool) or not str(given).isdigit() or int(given) < 1:
        raise UserError(f"workers = {given!r} is no number of runs at once. Write 2, or None for one after another.")
    return int(given)


def _flag(name: str, value: object) -> bool:
    """Papermill's -p gives text where a flag was meant."""
    flags = {"true": True, "false": False, "1": True, "0": False}
    if str(value).lower() not in flags:
        raise UserError(f"{name} = {value!r} is neither true nor false.")
    return flags[str(value).lower()]


def _injected(namespace: dict) -> list[str]:
    """Names assigned in the cell that papermill injected, and in the parameters cell: both must be known.

    Of a cell that was executed more than once only the last form counts, so that a mended typo is forgotten.
    """
    cells: dict[str, list[str]] = {}
    for source in namespace.get("In", []):
        try:
            tree = ast.parse(source)
        except SyntaxError:  # a cell with a magic, or one that failed
            continue
        names = [name for node in tree.body for name in _assigned(node)]
        if source.lstrip().startswith("# Parameters"):
            cells["injected"] = names
        elif {"preset", "device"} <= set(names):  # what every study's parameters cell has
            cells["parameters"] = names
    return list(dict.fromkeys(name for names in cells.values() for name in names))


def _assigned(node: ast.stmt) -> list[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
