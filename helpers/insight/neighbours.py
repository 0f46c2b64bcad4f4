"""The training images nearest to a test image, by Euclidean or cosine distance, to be looked at rather than voted with."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.core.errors import UserError, pick

AT_ONCE = 2**24  # distances of four bytes each
METRICS = {"euclidean": lambda x: x.float(), "cosine": lambda x: F.normalize(x.float(), dim=1)}


@torch.no_grad()
def neighbours(train_features: Tensor, test_features: Tensor, rows, k: int = 5, metric: str = "euclidean") -> tuple[np.ndarray, np.ndarray]:
    """Training rows int64 [len(rows), k], nearest first and of equals the first, and their distances float32 (cosine: 1 - cosine).

    Slower than kNN's product of matrices and exact: differences are squared, so that equal images tie and order by their row.
    """
    prepare = pick("metric", metric, METRICS)
    rows, count = torch.as_tensor(rows), len(train_features)
    if not 1 <= k <= count:
        raise UserError(f"{k} neighbours cannot be found among {count} training features. Choose k between 1 and {count}.")
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(test_features):
        raise UserError(
            f"Rows of the test features go from 0 to {len(test_features) - 1}; asked for {int(rows.min())} to {int(rows.max())}."
        )
    train, queries = prepare(train_features), prepare(test_features[rows.to(test_features.device)])
    found = [_nearest(train, part, k) for part in queries.split(max(1, AT_ONCE // count))]
    index, distance = (torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True))
    return index, distance**2 / 2 if metric == "cosine" else distance  # of unit vectors, 1 - cosine is half the squared distance


def _nearest(train: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    distance = torch.cdist(queries, train, compute_mode="donot_use_mm_for_euclid_dist")
    ordered, index = distance.sort(dim=1, stable=True)
    return index[:, :k], ordered[:, :k]


def precision_at(index, train_labels, query_labels) -> float:
    """Percent of the neighbours [n, k] that are of their query's class."""
    train_labels, query_labels = np.asarray(train_labels), np.asarray(query_labels)
    return float(100 * (train_labels[index] == query_labels[:, None]).mean())
