"""A lightweight study whose truth is known: every claim of the paper holds in it unless a test says otherwise."""

import zlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers.insight import keep, thumbnail_layout
from helpers.judging import competence
from helpers.judging.statistics import made
from helpers.studies.lightweight_architectures.cells import CONTRASTIVE, NETS, TECHNIQUES

CLASSES = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
IMAGES = 1000
LABELS = (np.arange(IMAGES) % 10).astype(np.uint8)
TRUTH = dict(zip(TECHNIQUES, (40, 58, 47, 64, 75), strict=True))
OF_NET = dict(zip((*NETS, "VGG-11"), (0, 3, 6, -2, -8, -12), strict=True))
METHOD = dict(zip(TECHNIQUES, ("rotnet", "moco_v2", "split_brain", "simclr", "byol"), strict=True))
ENERGY = dict(zip((*NETS, "VGG-11"), (9.0, 4.0, 10.0, 3.0, 5.0, 8.0), strict=True))
OF_CLASS = {1: 0.5, 6: 1.45}  # bird is hard, horse easy
TAKEN_FOR = {0: 8, 8: 0, 2: 9, 9: 2}  # aeroplane and ship, car and truck
EPOCHS = (2, 4, 6, 8)


@pytest.fixture(autouse=True)
def begun_from_nothing(monkeypatch):
    """Made-up runs share no untrained reference: what they do not tell themselves is taken for a net that knows nothing, and whose
    embedding fills its space."""

    def before(record):
        def predictions(name):
            right = record.evaluations.get(f"{name.removesuffix('.predictions')}_untrained", {}).get("top1", 0.0)
            labels = np.asarray(record.arrays["labels"])
            return np.where(np.arange(len(labels)) < right / 100 * len(labels), labels, labels + 1)

        return SimpleNamespace(arrays=Before(record.arrays["labels"], predictions), evaluations={}) if "labels" in record.arrays else None

    monkeypatch.setattr(competence, "reference_of", before)
    known_gain = competence.gain
    always = lambda records, readout: known_gain(records, readout) or made(50.0, 0.0, 1.0, len(records))  # noqa: E731
    monkeypatch.setattr(competence, "gain", always)
    told = competence.directions
    known = lambda record: told(record) if "effective_rank" in record.metrics else None  # noqa: E731
    monkeypatch.setattr(competence, "directions", known)


class Before(dict):
    """The arrays of a reference: any readout has its predictions."""

    def __init__(self, labels, predictions):
        super().__init__(labels=labels)
        self.predictions = predictions

    def get(self, name):
        return self.predictions(name)


def predicted(right: float, luck: np.ndarray, rng) -> np.ndarray:
    """Classes of accuracy `right` in percent; of the mistakes, half are for the class that this one is taken for."""
    chance = np.array([right / 100 * OF_CLASS.get(label, 1.0) for label in range(10)])[LABELS]
    usual = np.array([TAKEN_FOR.get(label, (label + 1) % 10) for label in range(10)])[LABELS]
    other = (LABELS + 1 + np.arange(IMAGES) % 9) % 10
    often = np.isin(LABELS, list(TAKEN_FOR)) & (rng.random(IMAGES) < 0.9)
    return np.where(luck < chance, LABELS, np.where(often, usual, other)).astype(np.uint8)


def luck_of(seed: int) -> np.ndarray:
    """How easy each image is, the same for every run of a seed, and every class alike."""
    ladder = (np.arange(IMAGES // 10) + 0.5) / (IMAGES // 10)
    return np.stack([np.random.default_rng([seed, label]).permutation(ladder) for label in range(10)], axis=1).reshape(-1)


def curve_of(technique: str, net: str, right: float) -> list[float]:
    if technique not in CONTRASTIVE:
        return [right, right, 0.9 * right, right]
    early = right - 30 if net == "ShuffleNetV2" else right - 15
    return [early, right, right if technique == "BYOL" else 0.9 * right, right]


def tinted_of(before: np.ndarray, target: int, rng) -> np.ndarray:
    draw = rng.random(IMAGES)
    return np.where(draw < 0.15, target, np.where(draw < 0.25, rng.integers(0, 10, IMAGES), before)).astype(np.uint8)


def pictures_of(rng) -> dict:
    def images(count, side):
        return rng.integers(0, 256, (count, side, side, 3)).astype(np.uint8)

    kept = {}
    for kind in ("best", "worst"):
        kept |= {f"examples.{kind}.images": keep(images(6, 16)), f"examples.{kind}.true": np.arange(6)}
        kept |= {f"examples.{kind}.{name}": keep(rng.random((6, 16, 16))) for name in ("gradient", "smooth")}
        kept |= {f"examples.{kind}.predicted": np.arange(6) + (kind == "worst"), f"examples.{kind}.probability": np.linspace(1, 0.1, 6)}
    kept |= {"neighbours.queries": keep(images(6, 16)), "neighbours.labels": np.arange(6), "neighbours.rows": np.arange(6)}
    kept |= {"neighbours.euclidean.images": keep(images(30, 16)), "neighbours.euclidean.labels": rng.integers(0, 6, (6, 5))}
    kept |= {f"neighbours.{name}.precision": np.float32(40.0) for name in ("euclidean", "cosine")}
    points = rng.standard_normal((200, 2)).astype(np.float32)
    layout = thumbnail_layout(points, 30)
    kept |= {f"map.{name}": np.asarray(value) for name, value in layout._asdict().items()}
    return kept | {"map.images": keep(images(len(layout.rows), 20)), "tsne": points, "tsne.labels": LABELS[:200]}


def record_of(technique: str, net: str, seed: int, collapsed: bool = False):
    run = f"{technique}-{net}-{seed}".replace(" ", "")
    rng = np.random.default_rng(zlib.crc32(run.encode()))
    right = TRUTH[technique] + OF_NET[net] + 0.3 * seed
    luck, mistakes = luck_of(seed), int(rng.integers(1000))
    way = np.stack([predicted(each, luck, np.random.default_rng(mistakes)) for each in curve_of(technique, net, right)])
    tuned = predicted(min(right + 8, 90), luck, np.random.default_rng(mistakes))
    if collapsed:
        way, tuned = np.zeros_like(way), np.zeros_like(tuned)
    top1 = 100 * (way == LABELS).mean(axis=1)
    epochs = np.arange(1, 9)
    metrics = pd.DataFrame({"epoch": epochs, "step": 10 * epochs, "loss": 5 - 0.2 * epochs, "seconds": 1.0})
    metrics["linear"] = metrics["epoch"].map(dict(zip(EPOCHS, top1, strict=True)))
    metrics["finetune"] = metrics["epoch"].map({8: 100 * float((tuned == LABELS).mean())})
    metrics["spread"], metrics["effective_rank"] = (0.01, 1.1) if collapsed else (0.9 - 0.01 * epochs, 20.0 + epochs)
    metrics["first_layer_gradient"] = 0.0 if collapsed else 0.5 / epochs
    evaluations = {"linear": {"top1": top1[-1]}, "finetune": {"top1": 100 * float((tuned == LABELS).mean())}}
    arrays = {"labels": LABELS, "linear.predictions": way[-1], "finetune.predictions": tuned}
    arrays |= {"linear.epochs": np.array(EPOCHS, np.uint16), "linear.on_the_way": way}
    arrays |= {f"tinted.{colour}": tinted_of(way[-1], target, rng) for colour, target in (("blue", 8), ("red", 9))}
    if technique in ("RotNet", "Split-Brain"):
        best = predicted(right + 6, luck, np.random.default_rng(mistakes))
        tops = {"layer1": 30.0, "layer2": 100 * float((best == LABELS).mean()), "layer3": top1[-1]}
        evaluations["linear_block"] = {"top1": tops["layer2"], "block": "layer2", "blocks": tops}
        arrays["linear_block.predictions"] = best
    if technique in ("SimCLR", "Split-Brain"):
        evaluations |= {"linear_untrained": {"top1": 30.0}, "finetune_untrained": {"top1": 42.0}}
    return SimpleNamespace(
        id=run,
        config={
            "training": {"batch_size": 64},
            "method": {"name": METHOD[technique], "options": {}},
            "encoder": {"options": {"width": 0.5}},
        },
        manifest={
            "classes": CLASSES,
            "encoder": net.lower(),
            "parameters": 1_000_000 + 200_000 * NETS.index(net) if net in NETS else 9_000_000,
            "macs": int(ENERGY[net] * 1e7),
            "training_flops": int(ENERGY[net] * 1e12),
            "training_seconds": 60.0,
            "seconds": 90.0,
            "energy": {"watt_hours": 2 * ENERGY[net], "training_watt_hours": ENERGY[net], "method": "estimated"},
            "profile": {"latency_ms": ENERGY[net] / 2, "peak_memory_bytes": 2e8},
            "collapsed": collapsed,
            "image_size": 40,
            "feature_width": 256,
            "test_images": IMAGES,
        },
        metrics=metrics,
        evaluations=evaluations,
        arrays=arrays | (pictures_of(rng) if (technique, seed) == ("BYOL", 0) else {}),
    )


@pytest.fixture(scope="session")
def lightweight():
    """Makes the cells: lightweight(seeds=3, collapsed={("MoCo v2", "SqueezeNet", 0)})."""

    def cells(seeds: int = 3, collapsed=frozenset()) -> pd.DataFrame:
        wanted = [("main", t, n, s) for t in TECHNIQUES for n in NETS for s in range(seeds)]
        rows = []
        for part, technique, net, seed in [*wanted, *(("plain", t, "VGG-11", 0) for t in TECHNIQUES)]:
            made = record_of(technique, net, seed, (technique, net, seed) in collapsed)
            row = {"part": part, "backbone": net, "pretext": technique, "seed": seed, "run": made.id, "record": made}
            rows.append(row | {"encoder": made.manifest["encoder"], "stem": "imagenet"})
        return pd.DataFrame(rows)

    return cells
