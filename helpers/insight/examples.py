"""Which test images to look at, chosen by rule and not by eye; and which classes a confusion matrix says are mixed up."""

import numpy as np

from helpers.core.errors import UserError


def best_and_worst(probabilities, labels, count: int) -> dict[str, dict[str, np.ndarray]]:
    """The surest right answers ("best") and the mistakes that saw least of the true class ("worst"), at most `count` of each.

    Of each: rows of the test set, true and predicted class, probability of the true class. The best take one image of every
    class before a second of any; the worst are simply the worst. Of equals the first row comes first.
    """
    probabilities, labels = np.asarray(probabilities, dtype=np.float64), np.asarray(labels).astype(np.int64)
    if probabilities.ndim != 2 or len(probabilities) != len(labels):
        raise UserError(f"One row of probabilities a label is needed: they are {probabilities.shape} for {len(labels)} labels.")
    if not np.allclose(probabilities.sum(1), 1, atol=1e-3) or probabilities.min(initial=0) < 0:
        raise UserError(
            "Rows of probabilities must be at least 0 and sum to 1; these do not. If they are scores, take their softmax first."
        )
    predicted = probabilities.argmax(1)
    own = probabilities[np.arange(len(labels)), labels]

    right = np.flatnonzero(predicted == labels)
    by_class = right[np.lexsort((right, -own[right], labels[right]))]
    starts = np.searchsorted(labels[by_class], labels[by_class])
    place = np.arange(len(by_class)) - starts  # 0 for the best of its class
    best = by_class[np.lexsort((by_class, -own[by_class], place))][:count]

    wrong = np.flatnonzero(predicted != labels)
    worst = wrong[np.lexsort((wrong, own[wrong]))][:count]
    return {
        name: {"rows": rows, "true": labels[rows], "predicted": predicted[rows], "probability": own[rows].astype(np.float32)}
        for name, rows in (("best", best), ("worst", worst))
    }


def most_confused(matrix, names, count: int) -> list[tuple[str, str, float, float]]:
    """(a, b, % of a called b, % of b called a) of the pairs of classes with the largest sum of the two, largest first.

    `matrix` holds counts, a row for each true class, as evaluation's `confusion` gives it; an empty row counts as never mistaken.
    """
    shares = _shares(matrix, names)
    first, second = np.triu_indices(len(names), 1)
    order = np.argsort(-(shares[first, second] + shares[second, first]), kind="stable")[:count]
    pairs = zip(first[order], second[order], strict=True)
    return [(names[a], names[b], float(shares[a, b]), float(shares[b, a])) for a, b in pairs]


def by_accuracy(matrix, names) -> list[tuple[str, float]]:
    """(class, accuracy in %), the most accurate first; classes without images are left out."""
    shares, counted = _shares(matrix, names), np.flatnonzero(np.asarray(matrix).sum(1))
    order = counted[np.argsort(-shares.diagonal()[counted], kind="stable")]
    return [(names[index], float(shares[index, index])) for index in order]


def _shares(matrix, names) -> np.ndarray:
    """Percent of each true class by predicted class."""
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.shape != (len(names), len(names)):
        raise UserError(f"A confusion matrix of {len(names)} classes is {len(names)} x {len(names)}; this one is {matrix.shape}.")
    return 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
