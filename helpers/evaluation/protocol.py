"""One extraction, every protocol: what a record keeps of an encoder's evaluation."""

from dataclasses import dataclass

import numpy as np

from helpers.evaluation import knn
from helpers.evaluation.features import Features, extract
from helpers.evaluation.linear import probe
from helpers.evaluation.metrics import Probe


@dataclass(frozen=True)
class Evaluation:
    """Numbers by protocol and the arrays behind them, as a record keeps them; and the features, for insight."""

    evaluations: dict[str, dict]
    arrays: dict[str, np.ndarray]
    train: Features
    test: Features
    probe: Probe | None = None


def evaluate(
    encoder,
    views,
    train_split,
    test_split,
    classes: int,
    *,
    device,
    train_indices=None,
    test_indices=None,
    seed=0,
    precision="auto",
    ks=(10, 20, 200),
    temperatures=(None, 0.1),
    linear=True,
) -> Evaluation:
    """kNN for every k and temperature and the linear probe, on one extraction of features; top-1 in percent."""
    train = extract(encoder, views, train_split, device=device, indices=train_indices, precision=precision)
    test = extract(encoder, views, test_split, device=device, indices=test_indices, precision=precision)
    small = np.uint8 if classes <= 256 else np.uint16
    evaluations, arrays = {}, {"labels": test.y.cpu().numpy().astype(small)}

    def keep(name, predictions, **numbers):
        evaluations[name] = {"top1": float((predictions == test.y).float().mean()) * 100} | numbers
        arrays[f"{name}.predictions"] = predictions.cpu().numpy().astype(small)

    result = None
    if linear:
        result = probe(train, test, classes, seed=seed)
        told = {name: getattr(result, name) for name in ("top3", "top5", "train_top1", "weight_decay", "folds")}
        keep("linear", result.predictions, **told)
    possible = [(k, temperature) for temperature in temperatures for k in ks if k <= len(train.x)]
    if possible:
        for setting, predictions in zip(possible, knn.predict_many(train.x, train.y, test.x, possible, classes), strict=True):
            keep(knn.protocol_name(*setting), predictions)
    for k in ks:
        if k > len(train.x):
            for temperature in temperatures:
                evaluations[knn.protocol_name(k, temperature)] = {"skipped": f"k = {k} is more than the {len(train.x)} training images"}
    return Evaluation(evaluations, arrays, train, test, result)
