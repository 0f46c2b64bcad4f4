"""Untrained references: what a run's encoder is worth before its first step, by every readout, so that it can be said what was learned.

A reference depends on the first weights, the images and how they are scaled, and on nothing of training: runs that begin from the same
weights share one, as they share a range test. Its record is made once, in seconds, and lies among those of the runs.
"""

import functools
import json
import time
from collections.abc import Sequence

import torch

from helpers.core.devices import pick_device
from helpers.core.progress import line
from helpers.methods import METHODS
from helpers.runs import records
from helpers.runs.config import Data, RunConfig, digest, slug
from helpers.runs.energy import EnergyMeter
from helpers.runs.manifest import manifest
from helpers.views import RECIPES, ViewSettings

SCALING = ("mean", "std")  # of the views' settings: all that an unaltered image sees of them


def reference_config(config: RunConfig) -> dict:
    """What a reference depends on, as it differs from the defaults."""
    changes = config.changes()
    asked = RECIPES[config.views.recipe].model_dump(mode="json") | config.views.changes().get("options", {})
    usual = ViewSettings().model_dump(mode="json")
    scaling = {name: list(asked[name]) for name in SCALING if list(asked[name]) != usual[name]}
    found = {name: changes[name] for name in ("data", "encoder") if name in changes} | {"seed": config.seed}
    if scaling:
        found["views"] = {"options": scaling}
    if not METHODS[config.method.name].takes_weights:  # it builds nets of its own
        found["method"] = changes.get("method", {})
    if precision := changes.get("training", {}).get("precision"):
        found["training"] = {"precision": precision}
    return found


def reference_id(config: RunConfig) -> str:
    return named(reference_config(config))


def named(values: dict) -> str:
    """The id of the reference that depends on these values. They need not make a run: the usual batch may be larger than its images."""
    return f"{slug(values.get('data', {}).get('dataset', Data().dataset))}-untrained-{digest(values)}"


@functools.lru_cache(maxsize=4096)
def _id_of(config: str) -> str:
    return reference_id(RunConfig(**json.loads(config)))


def find(record: records.Record) -> records.Record | None:
    """The reference of a run that has a record."""
    return records.find(_id_of(json.dumps(record.config, sort_keys=True)))


def missing(configs: Sequence[RunConfig]) -> list[RunConfig]:
    """One config for each reference that has no record yet; trials need none."""
    asked = {reference_id(config): config for config in configs if config.data.validation is None}
    return [config for name, config in asked.items() if records.find(name) is None]


def make(config: RunConfig, device: torch.device | str = "auto", stop=lambda: None) -> records.Record:
    """Read the encoder of a config as it begins, or the record where that was done. Two processes that ask for the same one make it once."""
    from helpers.runs import run  # here, as who only finds references needs nothing of what makes them

    device, name = pick_device(device) if isinstance(device, str) else device, reference_id(config)
    with run.alone(name, stop):
        if record := records.find(name):
            return record
        started, meter = time.time(), EnergyMeter(device)
        records.check_writable()
        line(f"{name}  {config.encoder.name} before training")
        method, _ = run.build(config, device)
        images = run.material(config.data)
        found = run.evaluated(config, method, images, device)
        described = {
            "kind": "untrained",
            "encoder": config.encoder.name,
            "stem": method.encoder.stem,
            "feature_width": method.encoder.width,
        }
        return records.save(
            name,
            config=reference_config(config),
            manifest=manifest(config, started, meter, device) | described,
            metrics=[],
            evaluations=found.evaluations,
            arrays=found.arrays,
        )
