import sys

import pytest
import torch

from helpers.core.errors import UserError
from helpers.data.embedded import draw
from helpers.views import RECIPES, Views, ViewSettings, make_views, saliency

PLAIN = dict(mean=(0, 0, 0), std=(1, 1, 1))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def one_square(count=4, size=32, top=4, left=2, side=12):
    """A light square, left of the middle, on dark ground; uint8."""
    images = torch.full((count, 3, size, size), 40, dtype=torch.uint8)
    images[:, :, top : top + side, left : left + side] = 220
    return images


def overlap(masks, truth):
    """Intersection over union, image by image."""
    found, truth = masks[:, 0] > 0.5, truth > 127
    return (found & truth).flatten(1).sum(1) / (found | truth).flatten(1).sum(1)


@pytest.mark.parametrize(
    ("background", "upright", "size", "least"),
    # Measured on these 300 images: 0.935, 0.894, 0.894, 0.913, 0.880. The whole image taken for the foreground gets 0.15.
    [("plain", True, 32, 0.85), ("own", True, 32, 0.8), ("own", False, 32, 0.8), ("plain", True, 64, 0.85), ("own", True, 64, 0.8)],
)
def test_masks_are_the_drawn_shapes(background, upright, size, least):
    images, _, truth = draw(300, size=size, background=background, upright=upright, seed=5)
    each = overlap(saliency(torch.from_numpy(images).float() / 255), torch.from_numpy(truth))
    assert each.mean() > least, f"{background} at {size} px, upright {upright}: {each.mean():.3f}"


def test_a_mask_is_soft_between_0_and_1_and_an_image_at_a_time():
    images = torch.from_numpy(draw(12, background="own")[0]).float() / 255
    masks = saliency(images)
    assert masks.shape == (12, 1, 32, 32) and masks.dtype == torch.float32
    assert masks.min() == 0 and masks.max() == 1 and ((masks > 0) & (masks < 1)).any()
    for n in (0, 7):
        torch.testing.assert_close(saliency(images[n : n + 1]), masks[n : n + 1], atol=1e-3, rtol=0)


def test_oblong_images_and_no_images():
    images = torch.full((2, 3, 24, 48), 0.2)
    images[:, :, 8:16, 12:30] = 0.8
    mask = saliency(images)
    assert (mask[:, :, 10:14, 14:28] == 1).all() and (mask[..., 36:] == 0).all()
    assert saliency(images[:0]).shape == (0, 1, 24, 48)


def test_where_nothing_stands_out_nothing_is_hidden():
    flat = torch.full((1, 3, 32, 32), 0.3)
    speck = flat.clone()
    speck[:, :, 15, 15] = 1
    assert (saliency(torch.cat([flat, speck])) == 1).all()


def test_what_is_not_an_image_is_refused():
    for images in (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2, 1, 8, 8), torch.zeros(3, 8, 8)):
        with pytest.raises(UserError, match="float images"):
            saliency(images)


def test_the_global_random_state_is_not_asked():
    before, images = torch.get_rng_state(), one_square().float() / 255
    assert torch.equal(saliency(images), saliency(images)) and torch.equal(before, torch.get_rng_state())


def test_a_masked_view_is_the_foreground_and_the_mean_colour_around_it():
    images = one_square()
    settings = ViewSettings(count=1, mask=1)
    masked, plain = Views(settings, 32)(images, generator())[0], Views(settings, 32).plain(images)
    torch.testing.assert_close(masked[:, :, 6:14, 4:12], plain[:, :, 6:14, 4:12])
    assert (masked[:, :, :, 18:] == 0).all() and (plain[:, :, :, 18:] != 0).all()


def test_the_mask_is_flipped_cropped_and_turned_with_its_image():
    images = one_square()
    straight = Views(ViewSettings(count=1, mask=1, **PLAIN), 32)(images, generator())[0]
    flipped = Views(ViewSettings(count=1, mask=1, flip=1, **PLAIN), 32)(images, generator())[0]
    torch.testing.assert_close(flipped, straight.flip(3))
    assert flipped[:, :, 6:14, 20:28].min() > 0.8 and (flipped[..., :14] == 0).all()

    turned = Views(ViewSettings(count=1, mask=1, quarter_turns=True, **PLAIN), 32)(images.repeat(8, 1, 1, 1), generator())[0]
    possible = torch.stack([straight[0].rot90(k, (1, 2)) for k in range(4)])
    assert ((turned[:, None] - possible).abs().amax((2, 3, 4)) < 1e-5).any(1).all()

    # A mask that is drawn and never used takes the same random numbers: the same crops, shifts, flips and turns.
    moving = dict(count=1, shift=0.2, crop_scale=(0.3, 1), flip=0.5, rotation=30, **PLAIN)
    whole, masked = (Views(ViewSettings(**moving, mask=p), 32)(images.repeat(50, 1, 1, 1), generator(3))[0] for p in (1e-9, 1))
    square, ground = whole > 0.85, whole < 0.16
    assert square.any() and ground.any()
    assert ((masked - whole).abs() < 0.02)[square].float().mean() > 0.99
    assert (masked < 0.02)[ground].float().mean() > 0.99  # the rest is at the soft edge


def test_only_some_large_views_are_masked_never_small_ones_and_never_the_plain_view():
    images = one_square(600)
    views = Views(ViewSettings(count=2, small=1, small_side=0.5, small_scale=(0.9, 1), mask=0.3), 32)
    *large, small = views(images, generator())
    hidden = torch.stack([(view[:, :, :, 20:] == 0).flatten(1).all(1) for view in large])
    assert abs(hidden.float().mean() - 0.3) < 0.05
    assert abs((hidden[0] & hidden[1]).float().mean() - 0.09) < 0.04, "each view is masked for itself"
    assert (small != 0).all()
    assert torch.equal(views.plain(images), make_views("none", 32).plain(images))
    assert (views.plain(images) != 0).all()


def test_only_recipes_that_ask_for_masks_pay_for_them(monkeypatch):
    def refuse(_):
        raise AssertionError("ran")

    monkeypatch.setattr(sys.modules["helpers.views.views"], "saliency", refuse)
    asking = {name for name, settings in RECIPES.items() if settings.mask}
    assert asking == {"relic_v2", "relic_v2_small"}
    for name in RECIPES.keys() - asking:
        make_views(name, 32)(one_square(), generator())
    with pytest.raises(AssertionError, match="ran"):
        make_views("relic_v2_small", 32)(one_square(), generator())
    make_views("relic_v2_small", 32).plain(one_square())  # evaluation never masks


@pytest.mark.parametrize("first", [False, True])
def test_masked_first_the_background_is_recoloured_like_the_rest(first):
    """Without colours the order makes no difference; with them, masked first, what is around the foreground changes too."""
    settings = dict(count=2, mask=1.0, mask_first=first, mean=(0.5, 0.4, 0.3), std=(1, 1, 1))
    plain = Views(ViewSettings(**settings), 32)(one_square(), generator())
    assert plain[0][:, :, 0, -1].abs().max() < 3e-3, "the mean colour, which is 0 once normalised"
    torch.testing.assert_close(plain[0][:, :, 8, 8], (torch.tensor([220.0] * 3) / 255 - torch.tensor(settings["mean"])).expand(4, 3))
    brighter = Views(ViewSettings(**settings, jitter=1.0, brightness=0.8), 32)(one_square(), generator())
    corner = torch.cat([view[:, :, 0, -1] for view in brighter]).abs().max()
    assert corner > 0.02 if first else corner < 3e-3


def test_masked_first_or_last_as_many_views_lose_their_background():
    shares = []
    for first in (False, True):
        views = Views(ViewSettings(count=1, mask=0.3, mask_first=first, **PLAIN), 32)(one_square(count=400), generator())[0]
        shares.append((views[:, :, 0, -1].amax(1) < 3e-3).float().mean().item())
    assert all(0.22 < share < 0.38 for share in shares), shares


def test_masked_first_a_view_that_keeps_its_background_is_the_image():
    images = one_square(count=16)
    made = Views(ViewSettings(count=1, mask=1e-9, mask_first=True, **PLAIN), 32)(images, generator())[0]
    torch.testing.assert_close(made, images.float() / 255)
