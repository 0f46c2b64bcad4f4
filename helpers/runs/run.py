"""One run from its config to its record: data, views, encoder, method, training, evaluation, in this order."""

import os
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch

from helpers.core.clock import process_seconds
from helpers.core.devices import pick_device
from helpers.core.errors import Diverged
from helpers.core.files import cache_dir, lock
from helpers.core.progress import line
from helpers.core.seeds import derive
from helpers.data import Batches
from helpers.evaluation import evaluate
from helpers.evaluation.blocks import probe_blocks
from helpers.insight import cka_features, sample
from helpers.insight.saliency import check_captum
from helpers.methods import METHODS, Method
from helpers.methods import method_options as options_of
from helpers.models import build_encoder, export, macs, parameters
from helpers.runs import pictures, records
from helpers.runs.beside import Company, company
from helpers.runs.config import RunConfig
from helpers.runs.downstream import Downstream, kept, small
from helpers.runs.energy import EnergyMeter
from helpers.runs.footprint import profile_encoder, remembered, training_flops
from helpers.runs.labels import Labels
from helpers.runs.manifest import manifest
from helpers.runs.material import Material, material
from helpers.runs.robustness import robust_readout
from helpers.runs.room import room
from helpers.runs.stages import Found, Stages
from helpers.runs.watch import follow_of
from helpers.training import Stopped, Training, TrainSettings
from helpers.training.checkpoints import remove
from helpers.training.epoch_report import EpochReport
from helpers.training.watch import collapsed
from helpers.views import make_views

MOST_STEPS = 20_000  # of which a record keeps how long the gradient was
CKA_IMAGES = 500  # test images whose features are kept, the same for every run, to compare encoders


def build(config: RunConfig, device: torch.device, seed: int | None = None) -> tuple[Method, Batches]:
    """The method with its initial weights and the batches it is to be trained on; both a function of the seed."""
    seed = config.seed if seed is None else seed
    images = material(config.data)
    size = images.train.images.shape[-1]
    torch.manual_seed(derive(seed, "weights"))
    encoder = build_encoder(config.encoder.name, size, stem=config.encoder.stem, weights=config.encoder.weights, **config.encoder.options)
    options = dict(config.method.options)
    if "classes" in options_of(config.method.name):
        options.setdefault("classes", len(images.dataset.classes))
    if "images" in options_of(config.method.name):
        options.setdefault("images", torch.from_numpy(np.sort(images.train_indices)).long())
    views = make_views(config.views.recipe, size, **config.views.options)
    method = METHODS[config.method.name](encoder, views, **options)
    indices = images.labelled if method.needs_labels else images.train_indices
    split = images.bank if method.needs_labels else images.train
    asked = config.training
    batches = Batches(split, asked.batch_size, device, seed=seed, indices=indices, epoch_images=asked.epoch_images)
    return method.to(device), batches


def settings_of(config: RunConfig, rate: float) -> TrainSettings:
    asked = config.training.model_dump(exclude={"rate", "rate_batch", "batch_size", "epoch_images", "processes"})
    return TrainSettings(rate=rate, seed=config.seed, **asked)


def checkpoint_folder(config: RunConfig) -> Path:
    return Path(os.environ.get("CHECKPOINT_DIR") or cache_dir() / "checkpoints") / config.id


def encoder_file(run_id: str):
    """The trained encoder of a run, as safetensors that timm or torchvision load; not committed."""
    return cache_dir() / "encoders" / f"{run_id}.safetensors"


@contextmanager
def alone(work: str, stop):
    """Hold the lock of that name; while another process holds it, wait for it or for the word to stop."""
    told = False
    while True:
        with lock(cache_dir() / "locks" / work, wait=False) as mine:
            if mine:
                yield
                return
        if reason := stop():
            raise Stopped(f"Stopped while another process was at work on {work}, because {reason}; run again to read its record.")
        if not told:
            line(f"{work} is being made by another process; waiting for its record.")
            told = True
        time.sleep(0.2)


def run(config: RunConfig, device: torch.device | str = "auto", stop=lambda: None) -> records.Record:
    """Train and evaluate one config, or read its record where there is one. Two processes asking for the same run train it once."""
    device = pick_device(device) if isinstance(device, str) else device
    with alone(config.id, stop), room(config.id, device):
        if record := records.find(config.id):
            return record
        started, meter = time.time(), EnergyMeter(device)
        try:
            with company(config, device) as others:
                return _train_and_evaluate(config, device, stop, others)
        except Diverged as error:
            if config.data.validation is None:
                raise
            told = {"diverged": str(error)}  # an answer, which nobody need ask for again
            nothing = {"metrics": [], "evaluations": {}, "arrays": {}}
            about = manifest(config, started, meter, device) | told
            record = records.save(config.id, config=config.model_dump(mode="json"), manifest=about, **nothing)
            remove(checkpoint_folder(config))
            return record


def _train_and_evaluate(config: RunConfig, device: torch.device, stop, others: Company | None) -> records.Record:
    """The stages of a run, in order. What each came to is kept until the record is written: a run that is killed goes on with the stage
    it was killed in, the training at its last checkpoint."""
    age = process_seconds()
    from helpers.runs import rates  # here, as a rate may be found by runs of its own

    records.check_writable()
    if config.evaluation.pictures:
        check_captum()
    rate, resolved = rates.find_rate(config, device, stop)
    started, meter = time.time(), EnergyMeter(device)  # a range test and trials have records, and a cost, of their own
    images = material(config.data)
    method, batches = build(config, device)
    folder = checkpoint_folder(config)
    stages = Stages(folder)
    downstream, labels = Downstream(config, images, device, folder), Labels(config, images, device, folder, stop).before(method)
    stages("before", lambda: _before(config, images, method, device, downstream))
    parts = {
        "folder": folder,
        "probe": follow_of(config, images, device, downstream, labels, meter),
        "report": EpochReport(config.id),
        "stop": stop,
        "trace": config.evaluation.gradients,
    }
    with others.meet(parts) if others else nullcontext():
        training = Training(method, batches, settings_of(config, rate), device, **parts)
        metrics = training.run()
    for name, work in (
        ("read", lambda: _readouts(config, images, method, device)),
        ("labels", lambda: ({}, labels.after(method))),
        ("downstream", lambda: _last(config, downstream)),
        ("blocks", lambda: _blocks(config, images, method, device)),
        ("elsewhere", lambda: (_elsewhere(config, method, device, "transfer"), {})),
    ):
        if reason := stop():  # everything is kept, and a readout may take longer than there is time
            raise Stopped(f"{config.id} is trained and not yet evaluated, because {reason}; run again to go on from there.")
        stages(name, work)
    described = {
        "resolved": resolved,
        "startup": {"process_seconds": round(age, 2), "first_step_seconds": training.first_step_seconds},
        "resumed": training.resumed_at,
        "training_seconds": round(sum(row["seconds"] for row in metrics), 2),  # also of a run in several parts
        "collapsed": not method.needs_labels and collapsed(metrics[-1]),  # labels of two classes may well end in one direction
    } | _description(config, images, method, batches, training, device)
    export(method.encoder, encoder_file(config.id))  # before the record, which says that everything is there
    record = records.save(
        config.id,
        config=config.model_dump(mode="json"),
        manifest=manifest(config, started, meter, device, metrics) | described,
        metrics=metrics,
        evaluations=stages.evaluations,
        # a trial is read for its accuracy alone
        arrays=stages.arrays | _traced(training) if config.data.validation is None else {},
    )
    remove(folder)
    return record


def _before(config: RunConfig, images: Material, method: Method, device: torch.device, downstream: Downstream) -> Found:
    """What the encoder is worth before the first step, where that is asked for."""
    if not config.evaluation.untrained:
        return {}, {}
    evaluations, arrays = _named(evaluated(config, method, images, device), "untrained"), {}
    evaluations |= _elsewhere(config, method, device, "transfer_untrained")
    if config.evaluation.finetune_epochs and (scratch := downstream.measured("finetune", method.encoder)) is not None:
        told, predictions = downstream.tuned(kept("finetune", scratch))
        evaluations["finetune_untrained"] = told["finetune"]
        arrays["finetune_untrained.predictions"] = predictions["finetune.predictions"]
    return evaluations, arrays


def _traced(training: Training) -> dict[str, np.ndarray]:
    """How long the gradient of each part was, step by step; in half precision its logarithm keeps three digits. Of a run of more than
    MOST_STEPS it is the longest of so many steps in a row, as a record is small."""
    steps = np.array(training.traced, dtype=float).reshape(len(training.traced), len(training.parts)).T
    each = -(-len(training.traced) // MOST_STEPS) or 1
    if each > 1:
        steps = np.maximum.reduceat(steps, np.arange(0, steps.shape[1], each), axis=1)
    with np.errstate(divide="ignore"):
        return {name: np.log10(row).astype(np.float16) for name, row in zip(training.parts, steps, strict=True)}


def _readouts(config: RunConfig, images: Material, method: Method, device: torch.device) -> Found:
    """The trained encoder by every protocol, and what is kept of its features for the figures."""
    asked = config.evaluation
    result = evaluated(config, method, images, device)
    arrays = dict(result.arrays)
    if asked.cka:
        arrays["cka.features"] = cka_features(result.test.x, m=CKA_IMAGES)
    if asked.maps:
        arrays |= pictures.map_points(result.test, asked.maps)
    if asked.tints:
        arrays |= pictures.recoloured(method, images, result.probe, device, config.training.precision)
    if asked.robustness:
        told, kept_of = robust_readout(config, images, method, result.probe, device)
        result.evaluations.update(told)
        arrays |= kept_of
    if asked.pictures:
        arrays |= pictures.example_arrays(method, images, result.train, result.test, result.probe, device)
        arrays |= pictures.neighbour_arrays(images, result.train, result.test)
        if asked.maps:
            arrays |= pictures.map_arrays(arrays["tsne"], sample(len(result.test.x), asked.maps), images)
    return result.evaluations, arrays


def _last(config: RunConfig, downstream: Downstream) -> Found:
    """The downstream readouts on the way, and what fine-tuning came to after the last epoch."""
    last = downstream.last()
    if not config.evaluation.finetune_epochs or "finetune" not in last:
        return {}, downstream.arrays()
    found, predictions = downstream.tuned(last)
    return found, downstream.arrays() | predictions


def _blocks(config: RunConfig, images: Material, method: Method, device: torch.device) -> Found:
    """Every block of the encoder probed, and which is best."""
    if not config.evaluation.blocks:
        return {}, {}
    found = probe_blocks(
        method.encoder, method.views, images.bank, images.test, len(images.dataset.classes), **_read(config, images, device)
    )
    told = {"top1": found.top1[found.best], "block": found.best, "blocks": found.top1, "folds": found.folds}
    return {"linear_block": told}, {"linear_block.predictions": small(found.predictions.cpu().numpy())}


def _description(config: RunConfig, images: Material, method: Method, batches: Batches, training: Training, device: torch.device) -> dict:
    """What the manifest says of the net and the images."""
    encoder, size = method.encoder, images.train.images.shape[-1]
    net = (config.encoder.model_dump_json(), size, str(device), config.training.precision)
    work = (config.method.model_dump_json(), batches.batch_size, config.training.accumulate)
    return {
        "parameters": parameters(encoder),
        "macs": macs(encoder),
        "training_flops": training_flops(training, *net, *work),
        "profile": remembered(("profile", *net), lambda: profile_encoder(encoder, device, config.training.precision)),
        "encoder": config.encoder.name,
        "stem": encoder.stem,
        "feature_width": encoder.width,
        "image_size": size,
        "classes": list(images.dataset.classes),
        "train_images": len(images.train_indices),
        "test_images": len(images.test_indices),
    }


def _read(config: RunConfig, images: Material, device: torch.device) -> dict:
    """How features are read, by every protocol alike."""
    return {
        "device": device,
        "train_indices": images.labelled,
        "test_indices": images.test_indices,
        "precision": config.training.precision,
    }


def evaluated(config: RunConfig, method: Method, images: Material, device: torch.device):
    classes = len(images.dataset.classes)
    return evaluate(method.encoder, method.views, images.bank, images.test, classes, **_read(config, images, device))


def _named(evaluation, suffix: str) -> dict:
    return {f"{name}_{suffix}": value for name, value in evaluation.evaluations.items()}


def _elsewhere(config: RunConfig, method: Method, device: torch.device, suffix: str) -> dict:
    """The same readouts on the other dataset, where one is asked for."""
    other = config.evaluation.transfer
    return _named(evaluated(config, method, material(other), device), suffix) if other else {}
