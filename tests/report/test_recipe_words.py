"""Recipes in words: everything that a recipe does is told, and nothing else."""

import pytest

from helpers.report.recipe_words import DETAILS, LAST, PHRASES, in_words
from helpers.views import RECIPES, ViewSettings


def test_a_recipe_is_told_in_order():
    settings = ViewSettings(count=3, small=1, small_side=0.5, small_scale=(0.1, 0.3), crop_scale=(0.2, 1), flip=1.0, grey=0.25)
    assert in_words(settings) == (
        "3 large views; cropped to 20 to 100 % of the area; mirrored; made grey with probability 0.25; "
        "besides them 1 small view of 50 % of the side, cropped to 10 to 30 % of the area"
    )
    assert in_words(ViewSettings(count=1)) == "1 view"


def test_second_views_are_told_by_what_differs():
    settings = ViewSettings(blur=1.0, alternate={"blur": 0.1, "solarize": 0.2})
    assert in_words(settings) == "2 views; blurred; but every second view blurred with probability 0.1, solarized with probability 0.2"


def test_a_setting_without_words_is_told_by_its_name():
    assert in_words(ViewSettings(mean=(0.5, 0.5, 0.25))) == "2 views; mean 0.5, 0.5, 0.25"
    assert in_words(ViewSettings(hue=0.1)) == "2 views; hue 0.1", "a detail of something that is off"


@pytest.mark.parametrize("name", RECIPES)
def test_nothing_is_left_out_of_a_recipe(name):
    """Turning any setting off, or making it its default, changes what is told."""
    settings, told = RECIPES[name], in_words(RECIPES[name])
    for field, info in ViewSettings.model_fields.items():
        value = getattr(settings, field)
        if value != info.default and field not in ("small_side", "small_scale", "crop_ratio", "blur_sigma", "blur_kernel"):
            assert in_words(settings.model_copy(update={field: info.default})) != told, field


def test_words_are_of_settings_that_exist():
    assert {*PHRASES, *DETAILS, *DETAILS.values(), *LAST} <= set(ViewSettings.model_fields)
