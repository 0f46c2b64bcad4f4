"""The lightweight study's figures: on whole, partial and empty cells each draws, says its scope, and marks what is missing."""

import warnings

import numpy as np
import pytest
from matplotlib.figure import Figure

from helpers.report import pictures as shared
from helpers.studies.lightweight_architectures import costs, figures, pictures

SCOPE = "reduced, STL-10"


@pytest.fixture(scope="module")
def cells(lightweight):
    return lightweight(seeds=2, collapsed={("MoCo v2", "SqueezeNet", 0), ("MoCo v2", "SqueezeNet", 1), ("BYOL", "ShuffleNetV2", 1)})


def drawn(cells) -> dict[str, Figure]:
    record = pictures.pictured(cells, "BYOL", "ResNet-18")
    made = {name: getattr(figures, name)(cells, "linear", SCOPE) for name in ("accuracy_curves", "grid_heatmaps", "cost_fronts")}
    made["curves_by_net"] = figures.accuracy_curves(cells, "linear", SCOPE, "net")
    made |= {name: getattr(figures, name)(cells, SCOPE) for name in ("frozen_against_tuned", "collapse_curves")}
    made["saliency_figure"] = pictures.saliency_figure(record, "BYOL on ResNet-18", SCOPE)
    made |= {name: getattr(shared, name)(record, "BYOL on ResNet-18", SCOPE) for name in ("neighbour_figure", "map_figure")}
    return made | {"confusion": pictures.confusion_figure(cells, "BYOL", "linear", SCOPE), "tints": pictures.tint_figure(cells, SCOPE)}


@pytest.fixture(scope="module")
def whole(cells) -> dict[str, Figure]:
    return drawn(cells)


def texts(figure: Figure) -> list:
    return [each for each in figure.findobj(lambda part: hasattr(part, "get_fontsize")) if each.get_text() and each.get_visible()]


def words(figure: Figure) -> str:
    return " ".join(each.get_text() for each in texts(figure))


def drawn_without_a_word(figure: Figure) -> None:
    with warnings.catch_warnings(action="error"):
        figure.draw_without_rendering()


def test_every_figure_says_its_scope_and_is_legible(whole):
    for name, figure in whole.items():
        drawn_without_a_word(figure)
        assert f"[{SCOPE}]" in words(figure), name
        assert "missing" not in words(figure), name
        assert min(each.get_fontsize() for each in texts(figure)) >= 8, name
        assert name in ("saliency_figure", "neighbour_figure", "map_figure") or "n = " in words(figure) or "runs" in words(figure), name


@pytest.mark.parametrize("emptied", [False, True])
def test_every_figure_survives_missing_runs_and_says_so(cells, emptied):
    gone = (cells["backbone"] == "ResNet-18") | (cells["part"] == "plain") | (cells["seed"] == 1) | emptied
    found = drawn(cells.assign(record=cells["record"].where(~gone, None)))
    unsaid = {"cost_fronts", "frozen_against_tuned", "collapse_curves", "confusion", "tints", "accuracy_curves"}
    for name, figure in found.items():
        drawn_without_a_word(figure)
        assert "missing" in words(figure) or (name in unsaid and not emptied), name


def test_collapsed_runs_are_drawn_apart(whole):
    panel = next(ax for ax in whole["accuracy_curves"].axes if ax.get_title() == "MoCo v2")
    assert sum(line.get_linestyle() == "--" for line in panel.lines) == 2
    heat = words(whole["grid_heatmaps"])
    assert "10.0†" in heat and heat.count("†") == 3  # two cells and their explanation
    assert "3 collapsed" in words(whole["collapse_curves"]) and "1 collapsed" in words(whole["confusion"])


def test_the_front_is_what_nothing_cheaper_beats():
    cost, gain = np.array([3.0, 1.0, 2.0, 2.0, 4.0]), np.array([70.0, 50.0, 49.0, 60.0, 70.0])
    assert costs.pareto(cost, gain) == [1, 3, 0]


def test_a_figure_shows_the_numbers_it_is_given(whole):
    bars = whole["tints"].axes[0].patches
    assert max(bars, key=lambda bar: bar.get_height()).get_hatch() and sum(bool(bar.get_hatch()) for bar in bars) == 1
    panel = whole["cost_fronts"].axes[3]
    assert "estimated" in panel.get_xlabel() and len(panel.lines) == 31  # 25 cells, 5 of the plain net, the front
