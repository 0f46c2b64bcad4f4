"""The first cell of every study: parameters checked before any work, the preset filled in, the report opened."""

import ast
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from helpers.core.devices import describe, pick_device
from helpers.core.errors import UserError, nearest, pick, unknown
from helpers.core.files import results_dir
from helpers.study.aid_settings import READINGS as AID_READINGS
from helpers.study.aid_settings import AidSettings
from helpers.study.augmentation_settings import READINGS as GRID_READINGS
from helpers.study.augmentation_settings import AugmentationSettings
from helpers.study.config import Section
from helpers.study.contest_settings import READINGS, ContestSettings
from helpers.study.label_efficiency_settings import READINGS as LABEL_READINGS
from helpers.study.label_efficiency_settings import LabelEfficiencySettings
from helpers.study.lightweight_settings import READINGS as LIGHT_READINGS
from helpers.study.lightweight_settings import LightweightSettings
from helpers.study.manifest import code_version, versions
from helpers.study.report import Report
from helpers.study.speedrun_settings import READINGS as RACE_READINGS
from helpers.study.speedrun_settings import SpeedrunSettings
from helpers.study.variants import DEFAULT_READING, PRESETS, is_custom, variant_name

CONTROLS = ("preset", "reading", "device", "workers", "time_budget", "train")
STUDIES: dict[str, tuple[type[Section], tuple[str, ...]]] = {
    "backbone_contest": (ContestSettings, READINGS),
    "speedrun": (SpeedrunSettings, RACE_READINGS),
    "lightweight_architectures": (LightweightSettings, LIGHT_READINGS),
    "augmentation_grid": (AugmentationSettings, GRID_READINGS),
    "aid_remote_sensing": (AidSettings, AID_READINGS),
    "label_efficiency": (LabelEfficiencySettings, LABEL_READINGS),
}


@dataclass(frozen=True)
class Study:
    """An opened study: its settings (`s`), its report, and how it is to be run."""

    name: str
    preset: str
    reading: str
    device: str
    workers: int
    time_budget: float | None
    train: bool
    variant: str
    settings: Section
    report: Report
    opened: float = field(default_factory=time.monotonic)

    def time_left(self) -> float | None:
        """What is left of the time budget: a notebook with two pieces of work gives each what the one before it left."""
        return None if self.time_budget is None else max(0.01, self.time_budget - (time.monotonic() - self.opened))

    @property
    def engine(self) -> dict:
        """How its sweep runs: one run after another, or several at once in processes of their own."""
        return {"device": self.device, "engine": "processes" if self.workers > 1 else "inline", "workers": self.workers}

    @property
    def scope(self) -> str:
        return self.settings.scope

    def card(self):
        """The run card: what code, machine and settings this notebook was executed with."""
        code, device = code_version(), describe(pick_device(self.device))
        state = "with changes" if code["changed"] else "as committed"
        rows = {
            "study": f"{self.name}, preset {self.preset}, reading {self.reading}, scope {self.scope}",
            "code": f"commit {(code['commit'] or 'none')[:12]}, helpers {state} (source {code['source']})",
            "drawn on": f"{device['name']}" + (f", {device['threads']} threads" if "threads" in device else ""),
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
    """Check every parameter in the notebook's namespace (its globals()), merge it over the preset, open the report."""
    settings_class, readings = pick("study", name, STUDIES)
    known = [*CONTROLS, *(f for f in settings_class.model_fields if f != "scope")]
    for injected in _injected(namespace):
        if injected not in known:
            raise UserError(
                f"Unknown parameter {injected!r} of {name}. Nearest: {', '.join(nearest(injected, known))}. All: {', '.join(known)}."
            )
    preset, reading = namespace.get("preset", "demo"), namespace.get("reading", DEFAULT_READING)
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    if reading not in readings:
        raise unknown("reading", reading, readings)
    values = preset_values(name, preset, reading)
    given = {key: namespace[key] for key in known if key not in CONTROLS and namespace.get(key) is not None}
    values |= given
    if values["dataset"] == "embedded" and not values.get("data_dir"):
        values["scope"] = "embedded"
    elif is_custom(given):  # no longer the paper's sizes, whatever preset it began from
        values["scope"] = "reduced"
    settings = settings_class(**values).prepared()
    variant = variant_name(preset, reading, given)
    device = namespace.get("device") or "auto"
    pick_device(device)
    return Study(
        name,
        preset,
        reading,
        device,
        _workers(namespace.get("workers")),
        seconds_of(namespace.get("time_budget")),
        _flag("train", namespace.get("train", True)),
        variant,
        settings,
        Report(results_dir() / name / variant),
    )


def preset_values(name: str, preset: str, reading: str) -> dict:
    """The preset's table, with the table of its reading laid over it."""
    with open(Path(__file__).parent / "presets" / f"{name}.toml", "rb") as file:
        table = pick(f"preset of {name}", preset, tomllib.load(file))
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
