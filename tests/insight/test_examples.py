import numpy as np
import pytest

from helpers.core.errors import UserError
from helpers.evaluation import confusion
from helpers.insight import best_and_worst, by_accuracy, most_confused

PROBABILITIES = np.array(
    [
        [0.90, 0.05, 0.05],  # right, class 0
        [0.95, 0.03, 0.02],  # right, class 0, surer
        [0.20, 0.70, 0.10],  # right, class 1
        [0.60, 0.30, 0.10],  # class 1 called 0
        [0.98, 0.01, 0.01],  # class 2 called 0
        [0.10, 0.10, 0.80],  # right, class 2
        [0.90, 0.05, 0.05],  # right, class 0, as sure as the first
        [0.01, 0.98, 0.01],  # class 2 called 1, as wrong as row 4
    ]
)
LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 2], dtype=np.uint8)


def test_best_takes_every_class_once_before_any_twice_and_worst_is_worst():
    found = best_and_worst(PROBABILITIES, LABELS, 5)
    best, worst = found["best"], found["worst"]
    assert best["rows"].tolist() == [1, 5, 2, 0, 6]
    assert best["true"].tolist() == best["predicted"].tolist() == [0, 2, 1, 0, 0]
    np.testing.assert_allclose(best["probability"], [0.95, 0.8, 0.7, 0.9, 0.9])
    assert worst["rows"].tolist() == [4, 7, 3]
    assert worst["true"].tolist() == [2, 2, 1] and worst["predicted"].tolist() == [0, 1, 0]
    assert best_and_worst(PROBABILITIES, LABELS, 2)["best"]["rows"].tolist() == [1, 5]


def test_without_mistakes_there_is_no_worst():
    found = best_and_worst(np.eye(3), np.arange(3), 2)
    assert found["best"]["rows"].tolist() == [0, 1] and len(found["worst"]["rows"]) == 0


def test_scores_are_not_probabilities():
    with pytest.raises(UserError, match="softmax"):
        best_and_worst(3 * PROBABILITIES, LABELS, 2)
    with pytest.raises(UserError, match="7 labels"):
        best_and_worst(PROBABILITIES, LABELS[:7], 2)


def test_most_confused_pairs_and_order_of_classes():
    names = ("plane", "bird", "ship", "horse")
    matrix = np.array([[6, 1, 3, 0], [2, 18, 0, 0], [10, 0, 90, 0], [0, 0, 0, 0]])
    (first, second, *rest) = most_confused(matrix, names, 6)
    assert first == ("plane", "ship", 30, 10)
    assert second == ("plane", "bird", 10, 10)
    assert len(rest) == 4 and all(pair[2] == pair[3] == 0 for pair in rest)
    assert by_accuracy(matrix, names) == [("bird", 90), ("ship", 90), ("plane", 60)]


def test_confusion_of_evaluation_is_what_is_expected():
    pairs = most_confused(confusion(PROBABILITIES.argmax(1), LABELS, 3), ("a", "b", "c"), 1)
    assert pairs == [("a", "b", 0, 50)]
    with pytest.raises(UserError, match="3 x 3"):
        most_confused(np.zeros((2, 2)), ("a", "b", "c"), 1)
