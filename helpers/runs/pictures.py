"""What a record keeps so that its pictures can be drawn without data: examples with saliency maps, neighbours, a map with thumbnails."""

import numpy as np
import torch

from helpers.evaluation import Probe, extract
from helpers.evaluation.features import Features
from helpers.insight import Classifier, best_and_worst, keep, saliency_maps, sample, silhouette, thumbnail_layout, thumbnails, tinted, tsne
from helpers.insight.neighbours import neighbours, precision_at
from helpers.runs.material import Material

EXAMPLES = 6  # best and worst, each
QUERIES, NEIGHBOURS = 10, 5
SIDE, SMALL = 32, 20  # pixels of neighbours' and of the map's thumbnails
ON_MAP = 60
TINTS = {"blue": 0.5, "red": 0.5}  # colour: strength


def example_arrays(method, images: Material, train: Features, test: Features, probe: Probe, device) -> dict[str, np.ndarray]:
    """examples.<best|worst>.*: the surest right answers and the worst mistakes of the linear probe, with maps by two methods."""
    classifier, kept = Classifier(*probe.classifier), {}
    for kind, found in best_and_worst(classifier.probabilities(test.x), test.y.cpu(), EXAMPLES).items():
        raw = raw_images(images.test, images.test_indices[found["rows"]])
        shown = method.views.plain(raw.to(device))
        kept |= {f"examples.{kind}.{name}": np.asarray(value) for name, value in found.items()}
        if len(raw):
            kept[f"examples.{kind}.images"] = keep(thumbnails(raw, raw.shape[-1]))
            for name in ("gradient", "smooth"):
                kept[f"examples.{kind}.{name}"] = keep(saliency_maps(method.encoder, classifier, shown, found["predicted"], name))
    return kept


def neighbour_arrays(images: Material, train: Features, test: Features) -> dict[str, np.ndarray]:
    """neighbours.*: the nearest training images of some test images by two distances, one query a class; and how often they agree."""
    labels, train_labels = test.y.cpu().numpy(), train.y.cpu().numpy()
    rows = np.array([np.flatnonzero(labels == label)[0] for label in np.unique(labels)])[:QUERIES]
    kept = {"neighbours.queries": keep(thumbnails(raw_images(images.test, images.test_indices[rows]), SIDE)), "neighbours.rows": rows}
    kept["neighbours.labels"] = labels[rows]
    every = np.arange(len(labels))[:500]
    for metric in ("euclidean", "cosine"):
        index, _ = neighbours(train.x, test.x, rows, NEIGHBOURS, metric)
        kept[f"neighbours.{metric}.labels"] = train_labels[index]
        kept[f"neighbours.{metric}.index"] = index.astype(np.uint32)
        found, _ = neighbours(train.x, test.x, every, NEIGHBOURS, metric)
        kept[f"neighbours.{metric}.precision"] = np.float32(precision_at(found, train_labels, labels[every]))
        kept["neighbours.counted"] = np.uint32(len(every))
    nearest = kept["neighbours.euclidean.index"].reshape(-1)
    kept["neighbours.euclidean.images"] = keep(thumbnails(raw_images(images.bank, images.labelled[nearest]), SIDE))
    return kept


def map_points(test: Features, count: int) -> dict:
    """Coordinates and silhouettes of some test images, the same for every run, for the figures."""
    rows = sample(len(test.x), count)
    x, y = test.x[rows], test.y[rows]
    return {
        "tsne": tsne(x, n=count, seed=0),
        "tsne.labels": y.cpu().numpy().astype(np.uint8),
        "silhouette": silhouette(x, y).astype(np.float16),
    }


def map_arrays(points: np.ndarray, rows: np.ndarray, images: Material) -> dict[str, np.ndarray]:
    """map.*: which points of the t-SNE map carry a thumbnail, where it goes, and the thumbnails."""
    layout = thumbnail_layout(points, ON_MAP)
    chosen = raw_images(images.test, images.test_indices[rows[layout.rows]])
    kept = {f"map.{name}": np.asarray(value) for name, value in layout._asdict().items()}
    return kept | {"map.images": keep(thumbnails(chosen, SMALL))}


def recoloured(method, images: Material, probe: Probe, device, precision: str) -> dict[str, np.ndarray]:
    """tinted.<colour>: what the same classifier calls the test images when all of them are tinted."""
    weights, bias = probe.classifier
    kept = {}
    for colour, strength in TINTS.items():
        split = type(images.test)(
            tinted(raw_images(images.test, images.test_indices), colour, strength).numpy(), images.test.labels[images.test_indices]
        )
        features = extract(method.encoder, method.views, split, device=device, precision=precision)
        kept[f"tinted.{colour}"] = (features.x @ weights + bias).argmax(1).cpu().numpy().astype(np.uint8)
    return kept


def raw_images(split, rows) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(split.images[rows]))
