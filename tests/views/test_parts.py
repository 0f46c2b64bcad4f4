import pytest
import torch

from helpers.core.errors import UserError
from helpers.views import RECIPES, Views, ViewSettings, make_views
from helpers.views.settings import SHARED

PLAIN = dict(mean=(0, 0, 0), std=(1, 1, 1))
METHODS_OWN = {
    "moco_v2": [32, 32],
    "byol": [32, 32],
    "byol_small": [32, 32],
    "swav": [32, 32] + [12] * 6,
    "swav_small": [32, 32, 16, 16],
    "relic": [32, 32],
    "relic_v2": [32] * 4 + [12] * 2,
    "relic_v2_small": [32] * 3 + [16],
    "rotnet": [32],
    "split_brain": [32],
    "masked": [32],
}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def white(count=500, size=8):
    return torch.full((count, 3, size, size), 255, dtype=torch.uint8)


def dark(views):
    """The share of white images that were solarized, view by view."""
    return [(view == 0).flatten(1).all(1).float().mean().item() for view in views]


@pytest.mark.parametrize("name", METHODS_OWN)
def test_the_methods_own_recipes(name):
    images = torch.randint(0, 256, (6, 3, 40, 36), dtype=torch.uint8, generator=generator())
    for size, sizes in ((32, METHODS_OWN[name]), (64, [2 * side if side != 12 else 28 for side in METHODS_OWN[name]])):
        views = make_views(name, size)
        made = views(images, generator(1))
        assert [view.shape[-1] for view in made] == sizes == views.sizes and len(made) == views.total
        assert views.total == views.settings.count + views.settings.small
        assert all(map(torch.equal, made, views(images, generator(1))))
        flat = torch.cat([view.flatten(1).mean(1) for view in made])
        assert len(flat.unique()) == len(flat), "each view is drawn for itself"


def test_every_second_large_view_has_its_own_settings():
    views = Views(ViewSettings(count=5, small=2, small_scale=(0.5, 1), alternate=dict(solarize=1), **PLAIN), 8)
    assert dark(views(white(), generator())) == [0, 1, 0, 1, 0, 0, 0]
    both = Views(ViewSettings(solarize=0.7, alternate=dict(solarize=0.2), **PLAIN), 8)
    assert dark(both(white(), generator())) == pytest.approx([0.7, 0.2], abs=0.07)


def test_byol_solarizes_second_views_and_blurs_first_ones():
    """White stays white but where it is solarized; a checkerboard is grey where it is blurred enough."""
    still = dict(jitter=0, grey=0, crop_scale=None, flip=0, **PLAIN)
    for name in ("byol", "byol_small", "relic"):
        first, second = dark(make_views(name, 8, **still)(white(), generator()))
        assert first == 0 and second == pytest.approx(0.2, abs=0.06)
    board = ((torch.arange(32)[:, None] + torch.arange(32)) % 2 * 120).to(torch.uint8).expand(500, 3, 32, 32).contiguous()
    sharp = [
        (view.amax((1, 2, 3)) > 0.47).float().mean().item()
        for view in make_views("byol", 32, **still, blur_sigma=(1.0, 2.0))(board, generator())
    ]
    assert sharp == pytest.approx([0, 0.9], abs=0.05)
    never = make_views("byol_small", 32, **still)(board, generator())
    assert all((view == board / 255).all() for view in never)


def test_views_of_one_image_stay_together_and_keep_their_order():
    levels = torch.arange(1, 201, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 32, 32).contiguous()
    settings = ViewSettings(count=3, small=2, small_side=0.5, crop_scale=(0.2, 1), flip=0.5, alternate=dict(crop_scale=(0.5, 0.6)), **PLAIN)
    made = Views(settings, 32)(levels, generator())
    assert [view.shape[-1] for view in made] == [32, 32, 32, 16, 16]
    for view in made:
        torch.testing.assert_close(view.mean((1, 2, 3)), levels[:, 0, 0, 0] / 255, atol=1e-5, rtol=0)
        assert view.is_contiguous(memory_format=torch.channels_last)


def test_small_views_see_small_crops():
    """On a ramp from left to right the width of a crop is the spread of its values."""
    ramp = torch.linspace(0, 255, 64).round().to(torch.uint8).expand(400, 3, 64, 64).contiguous()
    settings = ViewSettings(
        count=1, small=1, crop_scale=(0.5, 1), crop_ratio=(1, 1), small_side=0.5, small_scale=(0.05, 0.15), flip=0.5, **PLAIN
    )
    large, small = ((view.amax((1, 2, 3)) - view.amin((1, 2, 3))) for view in Views(settings, 64)(ramp, generator()))
    assert large.min() > 0.6 and small.max() < 0.15**0.5 + 0.02 and small.min() > 0.05**0.5 - 0.05


@pytest.mark.parametrize(
    ("size", "share", "side"), [(224, 96 / 224, 96), (96, 96 / 224, 40), (64, 0.5, 32), (32, 96 / 224, 12), (32, 0.1, 12), (8, 0.5, 8)]
)
def test_the_side_of_small_views(size, share, side):
    assert Views(ViewSettings(small=1, small_side=share), size).sizes == [size, size, side]


def test_one_view_alternates_with_none():
    views = make_views("byol_small", 8, count=1, **PLAIN)
    assert views.sizes == [8] and len(views(white(4), generator())) == 1


def test_alternating_the_same_settings_changes_only_the_draws():
    same = Views(ViewSettings(flip=1, alternate=dict(flip=1)), 16)
    images = torch.randint(0, 256, (9, 3, 16, 16), dtype=torch.uint8, generator=generator())
    expected = same.plain(images).flip(3)
    for view in same(images, generator()):
        torch.testing.assert_close(view, expected)


def test_no_images_make_no_views():
    for name in ("byol", "relic_v2_small"):
        assert [len(view) for view in make_views(name, 32)(white(0, 32), generator())] == [0] * make_views(name, 32).total


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (dict(alternate=dict(solarise=0.2)), "alternate.*'solarise'.*'solarize'"),
        (dict(alternate=dict(blur=1.2)), "In alternate: blur = 1.2"),
        (dict(alternate=dict(crop_scale=(0.9, 0.2))), "In alternate: crop_scale = \\(0.9, 0.2\\)"),
        (dict(alternate=0.3), "alternate = 0.3"),
        (dict(small=-1), "small = -1"),
        (dict(small_side=0), "small_side = 0"),
        (dict(small_scale=(0.0, 0.1)), "small_scale"),
        (dict(small_scale=(0.2, 0.1)), "small_scale = \\(0.2, 0.1\\)"),
        (dict(mask=1.5), "mask = 1.5"),
        *((dict(alternate={name: 1}), f"alternate cannot change '{name}'") for name in SHARED),
    ],
)
def test_a_wrong_setting_of_parts_is_named(overrides, words):
    with pytest.raises(UserError, match=words):
        make_views("byol", 32, **overrides)


def test_what_is_shared_cannot_alternate_and_the_rest_can():
    fields = ViewSettings.model_fields.keys()
    assert {"count", "small", "alternate", "mean", "std"} <= set(SHARED) <= fields
    for name in fields - set(SHARED):
        ViewSettings(alternate={name: getattr(RECIPES["simclr"], name)})


def test_settings_from_json_are_the_same_settings():
    for settings in RECIPES.values():
        assert ViewSettings(**settings.model_dump(mode="json")) == settings
