"""The first cell of a study fails before any work when a parameter is wrong, and says what is near."""

import pytest

from helpers.core.errors import UserError
from helpers.studies.backbone_contest.settings import READINGS
from helpers.studies.open import open_study, seconds_of
from helpers.studies.variants import PRESETS


def opened(injected="", **namespace):
    return open_study("backbone_contest", {"In": ["# Parameters\n" + injected]} | namespace)


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_and_reading_is_valid(preset, reading):
    study = opened(preset=preset, reading=reading)
    assert set(study.settings.encoders) == set(study.settings.heads) == {"ResNet", "ConvNeXt", "ViT"}
    assert study.variant == (preset if reading == "as_written" else f"{preset}-{reading}")
    assert study.settings.readout == ("knn200_t0.1" if reading == "as_run" else "linear")


def test_a_mistyped_parameter_fails_before_any_work():
    with pytest.raises(UserError, match="'epcohs'.*epochs"):
        opened("epcohs = 3")


@pytest.mark.parametrize(
    ("namespace", "says"),
    [
        ({"preset": "dmeo"}, "'dmeo'.*'demo'"),
        ({"reading": "as_writen"}, "'as_writen'.*'as_written'"),
        ({"backbones": ["ResNt"]}, "'ResNt'.*'ResNet'"),
        ({"seeds": "many"}, "seeds = 'many'"),
        ({"epochs": 0}, "epochs = 0"),
        ({"device": "cuda:99"}, "does not exist"),
        ({"time_budget": "soon"}, "time_budget = 'soon'"),
        ({"train": "perhaps"}, "train = 'perhaps'"),
    ],
)
def test_a_wrong_value_names_the_field_and_what_is_near(namespace, says):
    with pytest.raises(UserError, match=says):
        opened(**namespace)


def test_parameters_win_over_the_preset_and_none_leaves_it():
    study = opened(epochs=3, seeds=None, train="false")
    assert study.settings.epochs == 3 and study.settings.seeds == 1 and study.train is False


def test_time_budgets_in_words():
    assert [seconds_of(x) for x in (None, 90, "90", "90s", "15m", "2h")] == [None, 90, 90, 90, 900, 7200]


def test_a_variant_that_was_changed_is_the_users_own_and_never_of_the_papers_scope():
    assert opened(preset="paper").scope == "paper" and opened(preset="paper", seeds=5).variant == "paper"
    changed = opened(preset="paper", epochs=3)
    assert (changed.variant, changed.scope) == ("paper-custom", "reduced")
    assert opened(preset="quick", dataset="embedded").scope == "embedded"
    assert opened(preset="quick", reading="fair", epochs=2).report.folder.name == "quick-fair-custom"
