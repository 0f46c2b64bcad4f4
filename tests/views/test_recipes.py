import shutil
import sys
from collections import Counter

import pytest
import torch
from torch._dynamo.utils import counters
from torchvision.transforms.v2 import functional as reference

from helpers.core.errors import UserError
from helpers.views import RECIPES, Views, ViewSettings, colour, make_views, quarter_turns

EVERYTHING = dict(
    shift=0.1, crop_scale=(0.2, 1), flip=0.5, quarter_turns=True, rotation=30, jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.4,
    hue=0.1, grey=0.2, blur=0.5, solarize=0.2, sobel=0.3, noise=0.5, cutout=0.5,
)  # fmt: skip
PLAIN = dict(mean=(0, 0, 0), std=(1, 1, 1))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=10, height=32, width=32, seed=0):
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator(seed))


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("shape", [(32, 32), (48, 40)])
def test_every_recipe_gives_float_views_of_the_size(name, shape):
    views = make_views(name, 32)
    made = views(pictures(10, *shape), generator())
    assert len(made) == RECIPES[name].total
    for view, side in zip(made, views.sizes, strict=True):
        assert view.dtype == torch.float32 and view.shape == (10, 3, side, side) and view.isfinite().all()
        assert view.is_contiguous(memory_format=torch.channels_last)


def test_the_same_seed_gives_the_same_bits_and_another_seed_other_views():
    views, images = Views(ViewSettings(**EVERYTHING), 32), pictures(70)
    first, second, other = views(images, generator(4)), views(images, generator(4)), views(images, generator(5))
    assert all(map(torch.equal, first, second))
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(first[0], first[1])


def test_the_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    Views(ViewSettings(**EVERYTHING), 32)(pictures(), generator())
    assert torch.equal(before, torch.get_rng_state())


def test_views_stay_with_their_image_across_chunks():
    """Constant images keep their grey value through crop and flip, so a view in the wrong row would show."""
    levels = torch.arange(256, dtype=torch.uint8).repeat(3)
    images = levels.view(-1, 1, 1, 1).expand(-1, 3, 32, 32).contiguous()
    settings = ViewSettings(count=3, crop_scale=(0.2, 1), flip=0.5, jitter=1e-9, brightness=0.4, hue=0.1, **PLAIN)
    for view in Views(settings, 32)(images, generator()):
        torch.testing.assert_close(view, images / 255, atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [0, 1, 2, 3, 7])
def test_any_batch_size(count):
    views = make_views("contest", 16)(pictures(count), generator())
    assert [view.shape for view in views] == [(count, 3, 16, 16)] * 2


def test_every_image_has_its_own_parameters():
    image = pictures(1).expand(40, -1, -1, -1)
    views = torch.cat(make_views("contest", 32)(image, generator())).flatten(1)
    assert len(views.unique(dim=0)) > 75  # nothing but chance makes two of the 80 alike


def test_none_and_plain_only_normalise():
    images = pictures()
    mean, std = RECIPES["none"].mean, RECIPES["none"].std
    expected = reference.normalize(images / 255, mean, std)
    views = make_views("none", 32, count=2)
    for view in [*views(images, generator()), views.plain(images), make_views("simclr", 32).plain(images)]:
        torch.testing.assert_close(view, expected, atol=1e-5, rtol=0)


def test_plain_resizes_as_torchvision_does():
    images = pictures(4, 48, 40)
    ours = make_views("contest", 32, **PLAIN).plain(images)
    theirs = reference.resize(images / 255, [32, 32], antialias=True)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_hue_takes_every_place_among_the_steps_equally_often_for_every_image(monkeypatch):
    """All 24 orders, image by image. Each image is one flat grey, its number, so that the jitter can be asked whom it was given."""
    counts = Counter()

    def record(images, parameters):
        numbers = (images[:, 0, 0, 0] * 255).round().int().tolist()
        places = [place for place in range(4) for _ in range(len(images) // 4)]
        assert len(places) == len(images), "the batch is filled up to a multiple of the places"
        counts.update((number, place, *steps) for number, place, steps in zip(numbers, places, parameters.order.tolist(), strict=True))
        return images

    views, drawing = make_views("contest", 4, crop_scale=None, flip=0, grey=0), generator()
    monkeypatch.setattr(colour, "jitter", record)
    images = torch.arange(3, dtype=torch.uint8).view(3, 1, 1, 1).expand(-1, 3, 4, 4).contiguous()
    for _ in range(1200):
        views(images, drawing)
    for number in range(3):
        orders = torch.tensor([count for key, count in counts.items() if key[0] == number])
        expected = orders.sum() / 24
        assert len(orders) == 24 and expected > 90
        assert ((orders - expected) ** 2 / expected).sum() < 49.7  # chi-square, 23 degrees of freedom, 0.1 %


@pytest.mark.parametrize("unused", [dict(jitter=0), dict(brightness=0, contrast=0, saturation=0, hue=0), dict(grey=0)])
def test_what_a_recipe_does_not_use_does_not_run(monkeypatch, unused):
    def refuse(*_):
        raise AssertionError("ran")

    for name in ["greyscale"] if "grey" in unused else ["blend", "adjust_hue"]:
        monkeypatch.setattr(colour, name, refuse)
    make_views("contest", 32, **unused)(pictures(), generator())


def test_rates_of_what_happens():
    images = torch.full((4000, 3, 4, 4), 255, dtype=torch.uint8)
    holes = Views(ViewSettings(count=1, cutout=0.3, cutout_side=0.5, **PLAIN), 4)(images, generator())[0]
    hidden = (holes == 0.5).all(1).flatten(1).sum(1)
    assert set(hidden.unique().tolist()) == {0, 4} and abs((hidden > 0).float().mean() - 0.3) < 0.03
    dark = Views(ViewSettings(count=1, solarize=0.6, **PLAIN), 4)(images, generator())[0]
    assert abs((dark == 0).flatten(1).all(1).float().mean() - 0.6) < 0.03

    ramp = torch.arange(4, dtype=torch.uint8).expand(4000, 3, 4, 4).contiguous()
    flipped = Views(ViewSettings(count=1, flip=0.25, **PLAIN), 4)(ramp, generator())[0]
    assert abs((flipped[:, 0, 0, 0] > 0).float().mean() - 0.25) < 0.03
    turned = Views(ViewSettings(count=1, quarter_turns=True, **PLAIN), 4)(ramp, generator())[0]
    by_turn = [quarter_turns(ramp[:1], torch.tensor([k])) / 255 for k in range(4)]
    shares = [(turned == one).flatten(1).all(1).float().mean() for one in by_turn]
    assert all(abs(share - 0.25) < 0.03 for share in shares)
    moved = Views(ViewSettings(count=1, shift=0.5, **PLAIN), 4)(ramp, generator())[0]
    assert {round(v * 255) for v in moved[:, 0, 0, 0].tolist()} == {0, 1, 2}


def test_autocast_outside_changes_nothing():
    images, views = pictures(), make_views("simclr", 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = views(images, generator())
    assert all(map(torch.equal, inside, views(images, generator())))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (dict(flip=1.4), "flip = 1.4"),
        (dict(hue=0.7), "hue = 0.7"),
        (dict(crop_scale=(0.0, 1.0)), "crop_scale"),
        (dict(crop_scale=(0.9, 0.1)), "crop_scale = \\(0.9, 0.1\\)"),
        (dict(blur_sigma=(2.0, 0.1)), "blur_sigma"),
        (dict(std=(0.2, 0.0, 0.2)), "std.1 = 0.0"),
        (dict(count=0), "count = 0"),
        (dict(brightness=float("nan")), "brightness = nan"),
        (dict(brigthness=0.4), "'brigthness'.*brightness"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(overrides, words):
    with pytest.raises(UserError, match=words):
        make_views("contest", 32, **overrides)


def test_wrong_names_sizes_and_images_are_refused():
    with pytest.raises(UserError, match="'contset'.*'contest'"):
        make_views("contset", 32)
    with pytest.raises(UserError, match="size = 0"):
        make_views("contest", 0)
    with pytest.raises(UserError, match="uint8.*float32"):
        make_views("contest", 32)(torch.zeros(2, 3, 32, 32), generator())
    with pytest.raises(UserError, match="uint8"):
        make_views("contest", 32).plain(torch.zeros(2, 1, 32, 32, dtype=torch.uint8))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("c++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_views_are_the_same_views_and_compile_once():
    settings = dict(count=2, crop_scale=(0.2, 1), flip=0.5, jitter=0.8, saturation=0.4, hue=0.1, grey=0.2, noise=0.5)
    plain, images = Views(ViewSettings(**settings), 16), pictures(6, 20, 20)
    counters.clear()
    for seed in range(2):  # another object of the same recipe, as the next run of a sweep has it
        views = Views(ViewSettings(**settings), 16)
        views.compiled = True
        for ours, theirs in zip(views(images, generator(seed)), plain(images, generator(seed)), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)
        assert views.compiled, "it fell back"
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]


def test_views_that_cannot_be_compiled_are_made_without(monkeypatch):
    def refuse(*given):
        raise torch._dynamo.exc.Unsupported("no compiler")

    monkeypatch.setattr(sys.modules["helpers.views.views"], "compiled", lambda: refuse)
    views, images = make_views("contest", 16), pictures(6, 16, 16)
    expected = views(images, generator())
    views.compiled = True
    with pytest.warns(UserWarning, match="torch.compile failed"):
        made = views(images, generator())
    assert not views.compiled and all(map(torch.equal, made, expected))
