"""Transfer: the encoder of any run, named by its id, read out on another dataset: frozen, and trained end to end where that is asked for.

The encoder is built as its run built it and filled from the file that the run left; images are normalised as in that run. What it was
before its first step is read in the same way, once for all runs that begin from the same weights. Each readout has a record of its own,
which lies among those of the runs and is made once.
"""

import hashlib
import time
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from helpers.core.devices import pick_device
from helpers.core.errors import TrainingStopped, UserError, nearest
from helpers.core.files import cache_dir, shown
from helpers.core.progress import line
from helpers.core.sections import Section, one_of
from helpers.core.seeds import derive
from helpers.evaluation import evaluate, finetune
from helpers.evaluation.finetune import RECIPES as FINETUNING
from helpers.methods import METHODS
from helpers.models import Encoder, build_encoder, load_weights, tune
from helpers.runs import records, untrained
from helpers.runs.config import Data, RunConfig, digest, slug
from helpers.runs.downstream import small
from helpers.runs.energy import EnergyMeter
from helpers.runs.manifest import manifest
from helpers.runs.material import Material, material
from helpers.runs.room import room
from helpers.runs.run import alone, encoder_file
from helpers.runs.stages import Found
from helpers.training import Stopped
from helpers.views import Views, make_views

KINDS = {"range_test": "a range test", "untrained": "the reference of an untrained encoder", "transfer": "a transfer of a run's encoder"}


class Transfer(Section):
    """What is read, and where."""

    run: str  # the id of a run with a record
    data: Data  # image_size None: the size that the encoder was trained at
    trained: bool = True  # False: the same encoder as it was before its first step, for which no file is needed
    finetune_epochs: Annotated[int, Field(ge=0)] = 0  # 0: frozen alone
    finetune_recipe: one_of("recipe of fine-tuning", FINETUNING) = "from_probe"
    finetune_steps: Annotated[int, Field(ge=0)] = 0  # at least, however few labelled images there are
    finetune_rate: Annotated[float, Field(gt=0)] = 1e-3  # of the encoder


def transfer(asked: Transfer, device: torch.device | str = "auto", stop=lambda: None) -> records.Record:
    """Read that encoder on those data, or the record where that was done. Two processes that ask for the same one make it once."""
    device, source = pick_device(device) if isinstance(device, str) else device, run_of(asked.run)
    asked = _resolved(asked, source)
    values = _values(asked, source)
    name = named(values)
    with alone(name, stop), room(name, device):
        if record := records.find(name):
            return record
        started, meter = time.time(), EnergyMeter(device)
        records.check_writable()
        config = RunConfig(**source.config).model_copy(update={"data": asked.data})
        encoder = _encoder_of(asked, source, config, device)
        images = material(asked.data)
        line(f"{name}  {config.encoder.name} of {source.id}{'' if asked.trained else ' before training'} on {asked.data.dataset}")
        evaluations, arrays = _read(asked, config, encoder, images, device, stop)
        described = {
            "kind": "transfer",
            "trained": asked.trained,
            "encoder": config.encoder.name,
            "stem": encoder.stem,
            "feature_width": encoder.width,
            "image_size": asked.data.image_size,
            "trained_size": source.manifest["image_size"],
        }
        return records.save(
            name,
            config=values,
            manifest=manifest(config, started, meter, device) | described | (_origin(source, config) if asked.trained else {}),
            metrics=[],
            evaluations=evaluations,
            arrays=arrays,
        )


def find(asked: Transfer) -> records.Record | None:
    """The record of that readout, where it was made."""
    source = run_of(asked.run)
    return records.find(named(_values(_resolved(asked, source), source)))


def named(values: dict) -> str:
    """The id of the transfer that depends on these values, which its record holds as its config."""
    return f"{slug(values.get('data', {}).get('dataset', Data().dataset))}-transfer-{digest(values)}"


def run_of(name: str) -> records.Record:
    """The record of the run of that id, one that has trained an encoder."""
    there = [record.id for record in records.everything()]
    record = records.find(name) if name in there else None
    if record is None:
        runs = [other for other in there if other.count("-") == 1]  # records of other kinds say theirs between the two parts
        close = f"Nearest: {', '.join(nearest(name, runs)[:3])}" if runs else "There is none"
        raise UserError(f"Unknown run {name!r}. {close}. An id is the name of a folder in {shown(records.runs_dir())}.")
    if kind := record.manifest.get("kind"):
        raise UserError(f"{name} is {KINDS.get(kind, f'a {kind}')} and no run. Give the id of a run, such as cifar10-0123456789ab.")
    if record.diverged:
        raise UserError(f"{name} did not train to its end and left no encoder ({record.diverged}). Give the id of another run.")
    return record


def _resolved(asked: Transfer, source: records.Record) -> Transfer:
    """With the size that is read, so that who names it and who does not ask for the same."""
    size = asked.data.image_size or source.manifest["image_size"]
    return asked.model_copy(update={"data": asked.data.model_copy(update={"image_size": size})})


def _values(asked: Transfer, source: records.Record) -> dict:
    """What the readout depends on, as it differs from the defaults: the run, or of an untrained encoder what makes its first weights."""
    values = asked.changes()
    if not asked.finetune_epochs:
        values = {name: value for name, value in values.items() if not name.startswith("finetune_")}
    if asked.trained:
        return values
    first = untrained.reference_config(RunConfig(**source.config)) | {"image_size": source.manifest["image_size"]}
    del values["run"], first["data"]
    return values | {"start": first}


def _origin(source: records.Record, config: RunConfig) -> dict:
    """Where a trained encoder comes from; an untrained one is that of every run that begins alike."""
    weights = hashlib.sha256(encoder_file(source.id).read_bytes()).hexdigest()[:16]
    return {"run": source.id, "method": config.method.name, "trained_on": source.manifest["dataset"], "weights": weights}


def _encoder_of(asked: Transfer, source: records.Record, config: RunConfig, device: torch.device) -> nn.Module:
    """The encoder as its run built it, at the size it was trained at, and as the run left it; an error where it cannot be had or read."""
    size, file = source.manifest["image_size"], encoder_file(source.id)
    if asked.trained and not file.is_file():
        raise UserError(
            f"The encoder of {source.id} is not on this machine: there is no encoders/{file.name} in CACHE_DIR ({shown(cache_dir())}). Encoders "
            "are not committed; the run trained anew makes it. FRESH=1 before its study's command trains although there is a record."
        )
    wanted = config.encoder
    weights = None if asked.trained else wanted.weights
    torch.manual_seed(derive(config.seed, "weights"))
    encoder = build_encoder(wanted.name, size, stem=wanted.stem, weights=weights, **wanted.options)
    method = METHODS[config.method.name]
    if not method.takes_weights:  # it builds nets of its own
        encoder = method(encoder, _views_of(config, size), **config.method.options).encoder
    _check_size(source.id, encoder, asked.data.image_size)
    if asked.trained:
        load_weights(encoder, file)
    if not asked.trained or config.training.precision == "plain":
        return encoder.to(device)
    return tune(encoder.to(device, memory_format=torch.channels_last), device)  # as training leaves it


def _check_size(run: str, encoder: nn.Module, size: int) -> None:
    """An error where the net, or one of its halves, was trained at another size than is to be read and cannot take this one."""
    for part in (part for part in encoder.modules() if isinstance(part, Encoder)):
        if size == part.image_size:
            continue
        reason = "it takes one size alone"
        if part.takes_any_size:
            try:
                part.width_at(size)
                continue
            except UserError as error:
                reason = str(error)
        raise UserError(
            f"The encoder {part.name} of {run} was trained at {part.image_size} px and cannot be read at {size} px: "
            f"give image_size = {part.image_size} ({reason.rstrip('.')})."
        )


def _views_of(config: RunConfig, size: int) -> Views:
    return make_views(config.views.recipe, size, **config.views.options)


def _read(asked: Transfer, config: RunConfig, encoder: nn.Module, images: Material, device: torch.device, stop) -> Found:
    """Frozen by every protocol, then fine-tuned; one that diverges says so in place of a number, and costs the rest nothing."""
    views, classes = _views_of(config, asked.data.image_size), len(images.dataset.classes)
    how = {"device": device, "precision": config.training.precision, "test_indices": images.test_indices}
    found = evaluate(encoder, views, images.bank, images.test, classes, train_indices=images.labelled, **how)
    if not asked.finetune_epochs:
        return found.evaluations, found.arrays
    if reason := stop():
        raise Stopped(f"Stopped before {config.encoder.name} of {asked.run} was fine-tuned, because {reason}; run again to read it.")
    how |= {name: getattr(asked, f"finetune_{name}") for name in ("recipe", "epochs", "steps", "rate")}
    how |= {"indices": images.labelled, "seed": config.seed}
    moved = make_views("supervised", views.size, mean=views.settings.mean, std=views.settings.std)
    try:
        tuned = finetune(encoder, moved, images.bank, images.test, classes, **how)
    except TrainingStopped as error:
        return found.evaluations | {"finetune": {"skipped": str(error)}}, found.arrays
    told = {"top1": tuned.top1, "train_top1": tuned.train_top1}
    return found.evaluations | {"finetune": told}, found.arrays | {"finetune.predictions": small(tuned.predictions.cpu().numpy())}
