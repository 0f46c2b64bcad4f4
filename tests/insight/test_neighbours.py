import numpy as np
import pytest
import torch

from helpers.core.errors import UserError
from helpers.insight.neighbours import neighbours, precision_at


def features(count, width=7, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)) * torch.linspace(0.2, 4, width)


def slowly(train, query, k, metric):
    train, query = train.double().numpy(), query.double().numpy()
    if metric == "cosine":
        distance = [1 - row @ query / np.linalg.norm(row) / np.linalg.norm(query) for row in train]
    else:
        distance = [np.sqrt(sum((row - query) ** 2)) for row in train]
    order = sorted(range(len(train)), key=lambda i: (distance[i], i))[:k]
    return order, [distance[i] for i in order]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("at_once", [1, 130, 2**24])
def test_equals_the_naive_loop_in_any_chunks(metric, at_once, monkeypatch):
    monkeypatch.setattr("helpers.insight.neighbours.AT_ONCE", at_once)
    train, test, rows = features(60), features(30, seed=1), [3, 29, 0, 3, 11]
    index, distance = neighbours(train, test, rows, 4, metric)
    assert index.shape == distance.shape == (5, 4)
    for row, found, near in zip(rows, index, distance, strict=True):
        expected, how_far = slowly(train, test[row], 4, metric)
        assert found.tolist() == expected
        np.testing.assert_allclose(near, how_far, rtol=1e-4)


def test_metrics_differ_where_lengths_do():
    train, test = torch.tensor([[10.0, 0.1], [0.5, 1.0]]), torch.tensor([[1.0, 0.0]])
    assert neighbours(train, test, [0], 1, "euclidean")[0].tolist() == [[1]]
    assert neighbours(train, test, [0], 1, "cosine")[0].tolist() == [[0]]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_equal_images_come_in_their_order(metric):
    train = features(7, 100).repeat(40, 1)  # each seven rows later again
    index, distance = neighbours(train, train, [5, 2], 40, metric)
    assert index.tolist() == [list(range(5, 280, 7)), list(range(2, 280, 7))]
    assert not distance.any()


def test_precision_at_k_by_hand():
    index = np.array([[0, 1, 2], [2, 3, 0]])
    assert precision_at(index, np.array([4, 4, 5, 6]), np.array([4, 6])) == pytest.approx(50)
    assert precision_at(index[:, :1], [4, 4, 5, 6], [4, 5]) == 100


def test_wrong_requests_are_named():
    train, test = features(6), features(3)
    with pytest.raises(UserError, match="euclidean"):
        neighbours(train, test, [0], 2, "euclid")
    with pytest.raises(UserError, match="7 neighbours .* 6"):
        neighbours(train, test, [0], 7)
    with pytest.raises(UserError, match="0 to 2; asked for 1 to 3"):
        neighbours(train, test, [1, 3])
