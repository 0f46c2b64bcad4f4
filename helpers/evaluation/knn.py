"""k nearest neighbours by cosine similarity. kNN is not one protocol: k and the weighting are named beside every number."""

import math
import re

import torch
import torch.nn.functional as F

from helpers.core.errors import UserError

CHUNK = {"cpu": 2**24, "cuda": 2**28}  # similarities held at once, of four bytes each


def protocol_name(k: int, temperature: float | None) -> str:
    """knn200 for the plain vote, knn200_t0.1 for votes weighted by exp(similarity / 0.1)."""
    return f"knn{k}" if temperature is None else f"knn{k}_t{temperature:g}"


def protocol_setting(name: str) -> tuple[int, float | None]:
    """k and temperature of a protocol's name; the inverse of protocol_name."""
    found = re.fullmatch(r"knn([1-9]\d*)(?:_t(\d*\.?\d+))?", str(name))
    if not found or (found[2] and not float(found[2]) > 0):
        raise UserError(f"{name!r} is no kNN protocol. Write knn10 for the plain vote of ten, knn200_t0.1 for votes weighted with 0.1.")
    return int(found[1]), float(found[2]) if found[2] else None


def rows_at_once(count: int, device: torch.device) -> int:
    """How many test rows are compared with `count` training rows at a time."""
    return max(1, CHUNK.get(device.type, CHUNK["cpu"]) // count)


@torch.no_grad()
def neighbours(train_features, test_features, k: int):
    """Similarities and train indices [n, k] of every test row's k most similar train rows, nearest first."""
    count = len(train_features)
    if not 1 <= k <= count:
        raise UserError(f"kNN with k = {k} needs at least k training features, and there are {count}. Choose k between 1 and {count}.")
    train = F.normalize(train_features.float(), dim=1).T
    similarity = torch.empty(len(test_features), k, device=train.device)
    index = torch.empty(len(test_features), k, dtype=torch.int64, device=train.device)
    rows = rows_at_once(count, train.device)
    for start in range(0, len(test_features), rows):
        part = slice(start, start + rows)
        similarity[part], index[part] = highest(F.normalize(test_features[part].float(), dim=1) @ train, k)
    return similarity, index


def highest(values, k: int):
    """What values.topk(k, dim=1) gives, ten times sooner where columns are many: the k best lie in the k blocks with the best heads.

    Block i holds the columns i, i + blocks, i + 2 * blocks, ..., so that the heads of all blocks are one sweep over whole rows.
    """
    rows, count = values.shape
    size = math.isqrt(count // k)  # looks at about as many heads as members
    if size < 4:
        return values.topk(k, dim=1)
    blocks = count // size
    heads = values[:, : blocks * size].unflatten(1, (size, blocks)).amax(1)
    best = heads.topk(k, dim=1, sorted=False).indices
    members = (best[:, None] + blocks * torch.arange(size, device=values.device)[:, None]).flatten(1)
    rest = torch.arange(blocks * size, count, device=values.device).expand(rows, -1)
    members = torch.cat([members, rest], 1)
    found, place = values.gather(1, members).topk(k, dim=1)
    return found, members.gather(1, place)


def vote(similarity, labels, classes: int, temperature: float | None = None) -> torch.Tensor:
    """The class with most votes among neighbours [n, k], nearest first; of tied classes, the one whose member is nearest."""
    if temperature is None:
        weights = torch.ones_like(similarity)
    else:  # only ratios of weights matter: relative to the nearest one, no temperature overflows
        weights = ((similarity - similarity[:, :1]) / temperature).exp()
    votes = similarity.new_zeros(len(labels), classes).scatter_add_(1, labels, weights)
    has_most = votes.gather(1, labels) == votes.amax(1, keepdim=True)
    first = has_most.int().argmax(1, keepdim=True)
    return labels.gather(1, first).squeeze(1)


def predict_many(train_features, train_labels, test_features, settings, classes: int | None = None) -> list[torch.Tensor]:
    """Predictions for each (k, temperature) of `settings`, from one search with the largest k."""
    for _, temperature in settings:
        if temperature is not None and not temperature > 0:
            raise UserError(f"kNN temperature {temperature} must be above 0, or None for the unweighted vote.")
    classes = classes or int(train_labels.max()) + 1
    similarity, index = neighbours(train_features, test_features, max(k for k, _ in settings))
    labels = train_labels[index]
    return [vote(similarity[:, :k], labels[:, :k], classes, temperature) for k, temperature in settings]


def predict(train_features, train_labels, test_features, k: int, temperature=None, classes: int | None = None) -> torch.Tensor:
    """The class of every test feature by its k nearest train features: plain majority, or weighted by exp(cosine / temperature)."""
    return predict_many(train_features, train_labels, test_features, [(k, temperature)], classes)[0]
