"""Numbers from scores and predictions; accuracies are in percent."""

from dataclasses import dataclass, field

import numpy as np
import torch


@dataclass(frozen=True)
class Probe:
    """How a classifier did on the test features; `validation` is the held-out accuracy of each weight decay tried."""

    top1: float
    top3: float
    top5: float
    predictions: torch.Tensor
    per_class: np.ndarray
    weight_decay: float
    validation: dict[float, float] = field(default_factory=dict)
    classifier: tuple[torch.Tensor, torch.Tensor] | None = None  # of a linear probe: weights [D, C] and bias [C] on raw features
    train_top1: float | None = None  # on the images it was fitted on
    folds: int | None = None  # in which a linear probe chose its weight decay; 1: one held-out tenth
    ranks: torch.Tensor | None = None  # how many classes score higher than the true one: below k means right among the first k


def judged(scores, labels, weight_decay: float, validation: dict[float, float] | None = None) -> Probe:
    """The result of class scores [n, classes] against the labels."""
    accuracy = top_k(scores, labels, (1, 3, 5))
    predictions = scores.argmax(1)
    return Probe(
        top1=accuracy[1],
        top3=accuracy[3],
        top5=accuracy[5],
        predictions=predictions,
        per_class=per_class(predictions, labels, scores.shape[1]),
        weight_decay=weight_decay,
        validation=validation or {},
        ranks=ranks(scores, labels),
    )


def ranks(scores, labels) -> torch.Tensor:
    """The place of each label among the scores, 0 the highest; of equal scores the lower class comes first."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    return (order == labels[:, None]).int().argmax(1)


def top_k(scores, labels, ks=(1, 3, 5)) -> dict[int, float]:
    """Per k, how often the label is among the k highest scores; 100 where k reaches the number of classes."""
    best = scores.topk(min(max(ks), scores.shape[1]), dim=1).indices
    hits = (best == labels[:, None]).float().cumsum(1).mean(0) * 100
    return {k: float(hits[min(k, len(hits)) - 1]) for k in ks}


def confusion(predictions, labels, classes: int) -> np.ndarray:
    """Counts [classes, classes]: a row for each true class, a column for each predicted one."""
    cells = _long(labels) * classes + _long(predictions)
    return torch.bincount(cells, minlength=classes * classes).view(classes, classes).cpu().numpy()


def per_class(predictions, labels, classes: int) -> np.ndarray:
    """The accuracy of each class; NaN for a class without images."""
    counts = confusion(predictions, labels, classes)
    with np.errstate(invalid="ignore"):
        return 100 * counts.diagonal() / counts.sum(1)


def _long(values) -> torch.Tensor:
    # Records keep labels and predictions as uint8 arrays, in which label * classes would wrap around.
    return torch.as_tensor(values).long()
