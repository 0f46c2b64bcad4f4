import numpy as np
import pytest
import torch

from helpers.core.errors import UserError
from helpers.evaluation import knn
from helpers.insight import cka_features, linear_cka, sample, silhouette, tsne


def clusters(per_class, width=64, classes=3, noise=0.5):
    numbers = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), per_class)
    return torch.tensor(
        3 * numbers.normal(size=(classes, width))[labels] + noise * numbers.normal(size=(len(labels), width))
    ).float(), labels


def test_sample_is_fixed_sorted_and_whole_where_there_are_few():
    rows = sample(5000, 100)
    assert len(np.unique(rows)) == 100 and (np.diff(rows) > 0).all()
    assert np.array_equal(rows, sample(5000, 100))
    assert rows.max() > 4000, "a test set sorted by class must be sampled from everywhere"
    assert np.array_equal(sample(50, 100), np.arange(50))


def test_tsne_keeps_clusters_apart_and_is_seeded():
    x, labels = clusters(40)
    points = tsne(x, n=90, seed=3)
    assert points.shape == (90, 2) and points.dtype == np.float16
    assert np.array_equal(points, tsne(x, n=90, seed=3))
    labels = torch.from_numpy(labels[sample(len(x), 90)])
    centred = torch.from_numpy(points).float()
    nearest = torch.cdist(centred, centred).topk(4, largest=False).indices[:, 1:]
    assert (labels[nearest] == labels[:, None]).float().mean() > 0.98


def test_tsne_of_few_or_collapsed_images():
    x, _ = clusters(4)
    assert np.isfinite(tsne(x)).all()
    assert np.isfinite(tsne(torch.ones(40, 8))).all()
    with pytest.raises(UserError, match="at least 5"):
        tsne(x[:3])


def test_silhouette_is_per_image_and_by_cosine():
    x, labels = clusters(20)
    values = silhouette(x, labels)
    assert values.shape == (60,) and values.min() > 0.5
    np.testing.assert_allclose(silhouette(x * torch.rand(60, 1).add(0.1), labels), values, atol=1e-5)
    swapped = labels.copy()
    swapped[0] = 2
    assert silhouette(x, swapped)[0] < -0.5
    assert np.isnan(silhouette(x, np.zeros(60))).all()


def test_cka_features_are_enough_for_cka():
    x, _ = clusters(100, noise=2.0)
    y = torch.relu(x @ torch.randn(64, 200, generator=torch.Generator().manual_seed(1)))
    rows = sample(300, 200)
    small, other = cka_features(x, m=200, d=96), cka_features(y * 1e6, m=200, d=96)
    assert small.shape == (200, 64) and other.shape == (200, 96) and small.dtype == other.dtype == np.float16
    assert np.isfinite(other).all()
    np.testing.assert_allclose(small.astype(float).mean(0), 0, atol=1e-2)
    assert linear_cka(small, other) == pytest.approx(linear_cka(x[rows], y[rows]), abs=0.01)


def test_cka_features_of_a_collapsed_encoder_are_zero():
    assert not cka_features(torch.ones(50, 6)).any()


def test_neighbours_of_train_images_are_themselves():
    x, _ = clusters(20)
    similarity, index = knn.neighbours(x, x[:7], 3)
    assert index[:, 0].tolist() == list(range(7))
    torch.testing.assert_close(similarity[:, 0], torch.ones(7))
