"""A study of MoCo v3 whose truth is known: every claim of the paper holds in it unless a test says otherwise."""

import zlib
from dataclasses import astuple, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd

from helpers.runs.config import RunConfig
from helpers.runs.plan import collect
from helpers.runs.sweep import Outcome
from helpers.studies.moco_v3_stability.runs import Place, cell_of, places
from helpers.studies.moco_v3_stability.settings import (
    ADAMW,
    BATCH_NORM,
    BYOL,
    FROZEN,
    LAMB,
    LARS,
    LEARNED,
    LONG,
    SHORT,
    SIMCLR,
    SIMSIAM,
    SUPERVISED,
    SWAV,
    V2,
    V2_PLUS,
    V3,
)
from helpers.studies.open import open_study

STUDY, IMAGES, STEPS = "moco_v3_stability", 1000, 240
LABELS = (np.arange(IMAGES) % 10).astype(np.uint8)
RATES = {ADAMW: [0.002, 0.008, 0.032], LAMB: [0.004, 0.016, 0.064], LARS: [0.5, 2.0, 8.0]}
BATCHES = [128, 512, 2048]
# Of the lowest, the middle and the highest rate: (accuracy, depth of a dip in points, how many readings it is wide).
AT_RATES = {
    (ADAMW, LEARNED): ((60, 0, 0), (58, 15, 2), (50, 25, 5)),
    (ADAMW, FROZEN): ((60.5, 0, 0), (59.5, 15, 1), (57, 20, 2)),
    (LAMB, LEARNED): ((59, 0, 0), (56, 18, 3), (40, 28, 7)),
    (LARS, LEARNED): ((35, 0, 0), (45, 0, 0), (40, 0, 0)),
}
CHANGED = {BATCH_NORM: 63}  # others as the usual one
AT_BATCH = {512: 60, 2048: 51}
OTHERS = {SUPERVISED: 64}  # others 45
AFTER = {
    LONG: {SIMCLR: 50, SIMSIAM: 53, SWAV: 56, V2: 55, V2_PLUS: 59, BYOL: 62, V3: 69},
    SHORT: {SIMCLR: 38, SWAV: 39, BYOL: 40, V2: 41, V2_PLUS: 44, SIMSIAM: 48},
}


def settings(**given):
    """Of the preset cpu, with numbers of our own where a test rests on them."""
    vit = {"epochs": 30, "epoch_images": 2048, "warmup_epochs": 3, "batches": BATCHES, "rates": RATES, "clip": 1.0, "read": 2000}
    usual = {"seeds": 3, "side_seeds": 1, "vit": vit | given.pop("vit", {})}
    return open_study(STUDY, {"preset": "cpu"} | usual | given).settings


def level(place: Place) -> int:
    """Which of its optimizer's rates a ViT has."""
    return RATES[place.optimizer].index(place.rate)


def truth(place: Place) -> float:
    if place.part == "line":
        return AFTER.get(place.length, {}).get(place.arm, 45)
    if place.part == "others":
        return OTHERS.get(place.arm, 45)
    if place.part != "stability" or place.arm:
        return CHANGED.get(place.arm, 58)
    return AT_BATCH.get(place.batch) or AT_RATES[place.optimizer, place.patches][level(place)][0]


def dip_of(place: Place) -> tuple[float, int]:
    """(depth, readings) of the dip in a ViT's curve."""
    if place.part != "stability" or place.arm or place.batch in AT_BATCH:
        return 0, 0
    return AT_RATES[place.optimizer, place.patches][level(place)][1:]


def drawn(place: Place) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(repr(astuple(place)).encode()))


def predictions(right: float, seed: int) -> np.ndarray:
    """The easiest images right, so many percent; every seed finds nearly the same ones easy."""
    ease = np.random.default_rng(7).random(IMAGES) + 0.05 * np.random.default_rng([7, seed]).normal(size=IMAGES)
    return np.where(ease.argsort().argsort() < IMAGES * right / 100, LABELS, (LABELS + 1) % 10).astype(np.uint8)


def curve_of(right: float, depth: float, wide: int, epochs: int) -> np.ndarray:
    """A rise to nine tenths of the accuracy with one dip two fifths of the way."""
    curve = 0.9 * right - (0.9 * right - 15) * np.exp(-5 * np.arange(epochs) / epochs)
    first = 2 * epochs // 5
    curve[first : first + wide] -= depth
    return curve


def traced(place: Place) -> dict[str, np.ndarray]:
    """Gradients that spike now and then, the first layer's first."""
    parts, kept = ("first_layer", "first_block", "rest", "heads"), {}
    for late, part in enumerate(parts):
        norms = np.exp(0.05 * drawn(place).normal(size=STEPS))
        for at in (120, 180):
            norms[at + late : at + late + 3] *= 6
        kept[f"gradient.{part}"] = np.log10(norms).astype(np.float16)
    if place.patches == FROZEN:
        del kept["gradient.first_layer"]
    return kept


def record(config: RunConfig, place: Place, right: float | None = None, dip: tuple[float, int] | None = None, before: float | None = None):
    """Of one run, with a little luck of its own. before: how many percent its encoder had right before training."""
    right = (truth(place) if right is None else right) + 0.3 * drawn(place).normal()
    guesses = predictions(right, place.seed)
    top1 = 100 * float((guesses == LABELS).mean())
    epochs = config.training.epochs
    step = np.linspace(STEPS / epochs, STEPS, epochs).round().astype(int)
    metrics = pd.DataFrame({"epoch": range(1, epochs + 1), "step": step, "loss": 1.0, "seconds": 1.0, "effective_rank": 30.0})
    if config.evaluation.probe_every:
        metrics["knn"] = curve_of(right, *(dip_of(place) if dip is None else dip), epochs)
    arrays = {"labels": LABELS, "linear.predictions": guesses} | (traced(place) if config.evaluation.gradients else {})
    evaluations = {"linear": {"top1": top1}, "knn20_t0.1": {"top1": 0.9 * top1}}
    manifest = {"seconds": 60.0, "training_seconds": 50.0, "training_flops": 1e12, "parameters": 1_000_000, "macs": 10_000_000}
    manifest |= {
        "classes": [*"0123456789"],
        "test_images": IMAGES,
        "feature_width": 64,
        "image_size": 32,
        "startup": {"first_step_seconds": 0.5},
    }
    return SimpleNamespace(
        id=config.id,
        config=config.model_dump(mode="json"),
        manifest=manifest | {"resolved": {"rate": config.training.rate}, "diverged": ""},
        metrics=metrics,
        evaluations=evaluations | ({} if before is None else {"linear_untrained": {"top1": before}}),
        arrays=arrays,
    )


def cells_of(s, without=lambda place: False, tried=False, **known):
    """The cells of the study. `known`: functions of a place, one for each keyword of `record`, that say None where nothing is changed.
    A run may fill several places; the first says what is in it."""
    asked = [place for place in places(s) if tried or place.part != "rates"]
    cells, made = [cell_of(s, place) for place in asked], {}
    for place, cell in zip(asked, cells, strict=True):
        given = {name: say(place) for name, say in known.items()}
        made.setdefault(cell.config.id, None if without(place) else record(cell.config, place, **given))
    return collect(cells, Outcome(made))


def usual_place(s, **changes) -> Place:
    place = Place("stability", "", optimizer=ADAMW, rate=s.vit.middle, batch=s.vit.batches[0])
    return replace(place, **changes)
