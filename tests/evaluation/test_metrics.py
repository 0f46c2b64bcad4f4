import numpy as np
import torch
from sklearn.metrics import confusion_matrix, top_k_accuracy_score

from helpers.evaluation import confusion, per_class, top_k
from helpers.evaluation.metrics import ranks


def test_top_k_agrees_with_scikit_learn():
    draw = torch.Generator().manual_seed(0)
    scores, labels = torch.randn(300, 7, generator=draw), torch.randint(7, (300,), generator=draw)
    for k, percent in top_k(scores, labels, (1, 3, 5)).items():
        expected = 100 * top_k_accuracy_score(labels.numpy(), scores.numpy(), k=k, labels=range(7))
        assert abs(percent - expected) < 1e-4


def test_ranks_say_what_top_k_says():
    draw = torch.Generator().manual_seed(0)
    scores, labels = torch.randn(300, 7, generator=draw), torch.randint(7, (300,), generator=draw)
    found = ranks(scores, labels)
    for k, percent in top_k(scores, labels, (1, 3, 7)).items():
        assert abs(100 * (found < k).float().mean() - percent) < 1e-4
    assert ranks(torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]]), torch.tensor([0, 1])).tolist() == [0, 1]


def test_top_k_is_complete_where_k_reaches_the_classes():
    assert top_k(torch.randn(20, 3), torch.randint(3, (20,)), (3, 5)) == {3: 100.0, 5: 100.0}


def test_confusion_of_record_arrays_agrees_with_scikit_learn():
    numbers = np.random.default_rng(0)
    labels, predictions = numbers.integers(0, 100, (2, 2000)).astype(np.uint8)
    assert np.array_equal(confusion(predictions, labels, 100), confusion_matrix(labels, predictions, labels=range(100)))


def test_per_class_is_nan_only_for_a_class_without_images():
    accuracy = per_class(torch.tensor([0, 0, 2, 2]), torch.tensor([0, 0, 2, 0]), 3)
    np.testing.assert_allclose(accuracy, [200 / 3, np.nan, 100])
