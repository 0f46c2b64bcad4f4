import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from helpers.core.errors import UserError
from helpers.evaluation import knn


def clusters(count, classes=5, width=16, noise=1.5, seed=0):
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, width, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(classes, (count,), generator=draw)
    return centres[labels] + noise * torch.randn(count, width, generator=draw), labels


@pytest.fixture
def data():
    return *clusters(600), clusters(150, seed=1)[0]


def test_agrees_with_scikit_learn_weighted(data):
    train, labels, test = data

    def weights(distances):
        return np.exp((1 - distances) / 0.1)

    reference = KNeighborsClassifier(20, metric="cosine", weights=weights).fit(train.numpy(), labels.numpy()).predict(test.numpy())
    assert np.array_equal(knn.predict(train, labels, test, 20, 0.1).numpy(), reference)


def test_agrees_with_scikit_learn_unweighted_where_no_classes_tie(data):
    train, labels, test = data
    reference = KNeighborsClassifier(15, metric="cosine").fit(train.numpy(), labels.numpy())
    shares = np.sort(reference.predict_proba(test.numpy()), axis=1)
    clear = shares[:, -1] > shares[:, -2]
    assert clear.sum() > 100
    assert np.array_equal(knn.predict(train, labels, test, 15).numpy()[clear], reference.predict(test.numpy())[clear])


def test_of_tied_classes_the_nearest_wins():
    angles = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.9])
    train, test = torch.stack([angles.cos(), angles.sin()], 1), torch.tensor([[1.0, 0.0]])
    labels = torch.tensor([3, 1, 1, 3, 0])
    assert knn.predict(train, labels, test, 4).tolist() == [3]
    assert knn.predict(train, torch.tensor([1, 3, 3, 1, 0]), test, 4).tolist() == [1]
    assert knn.predict(train, labels, test, 3).tolist() == [1]


def test_many_settings_equal_single_ones_whatever_the_chunk(data, monkeypatch):
    train, labels, test = data
    settings = [(1, None), (10, 0.1), (50, None), (50, 0.02)]
    single = [knn.predict(train, labels, test, k, temperature) for k, temperature in settings]
    monkeypatch.setitem(knn.CHUNK, "cpu", 7 * len(train))
    for one, many in zip(single, knn.predict_many(train, labels, test, settings), strict=True):
        assert one.dtype == torch.int64
        assert torch.equal(one, many)


def test_length_of_features_says_nothing_and_no_temperature_overflows(data):
    train, labels, test = data
    scaled = train * torch.rand(len(train), 1).add(0.1)
    assert torch.equal(knn.predict(scaled, labels, test * 1000, 10), knn.predict(train, labels, test, 10))
    assert torch.equal(knn.predict(train, labels, test, 10, 1e-4), knn.predict(train, labels, test, 1))


def test_more_neighbours_than_there_are_is_an_error_naming_both(data):
    train, labels, test = data
    with pytest.raises(UserError, match=r"k = 601 .* 600"):
        knn.predict(train, labels, test, 601)
    with pytest.raises(UserError, match="temperature 0 "):
        knn.predict(train, labels, test, 5, 0)


@pytest.mark.parametrize("k", [1, 3, 10, 37, 999, 1000])
@pytest.mark.parametrize("count", [1000, 1003])
def test_search_equals_brute_force_on_more_chunks_than_one(k, count, monkeypatch):
    (train, _), (test, _) = clusters(count), clusters(40, seed=1)
    expected = (torch.nn.functional.normalize(test, dim=1) @ torch.nn.functional.normalize(train, dim=1).T).sort(1, descending=True)
    monkeypatch.setitem(knn.CHUNK, "cpu", 7 * count)
    similarity, index = knn.neighbours(train, test, k)
    torch.testing.assert_close(similarity, expected.values[:, :k])
    assert torch.equal(index, expected.indices[:, :k])


@pytest.mark.parametrize("k", [1, 8, 60, 500])
def test_ties_are_found_once_each(k):
    draw = torch.Generator().manual_seed(0)
    values = torch.randint(4, (20, 1037), generator=draw).float()  # nothing but ties
    values[0] = 1.0
    values[1, -1], values[2, 0] = 9.0, 9.0  # the best one at either end
    best, index = knn.highest(values, k)
    assert torch.equal(best, values.sort(1, descending=True).values[:, :k])
    assert torch.equal(values.gather(1, index), best)
    assert all(len(row.unique()) == k for row in index)
    assert index[1, 0] == 1036 and index[2, 0] == 0


def test_one_class_and_one_neighbour_of_one():
    train, test = torch.randn(300, 8), torch.randn(5, 8)
    assert knn.predict(train, torch.zeros(300, dtype=torch.int64), test, 10).tolist() == [0] * 5
    assert knn.predict(train[:1], torch.tensor([3]), test, 1).tolist() == [3] * 5


def test_protocol_names():
    assert [knn.protocol_name(10, None), knn.protocol_name(200, 0.1), knn.protocol_name(20, 0.07)] == [
        "knn10",
        "knn200_t0.1",
        "knn20_t0.07",
    ]
