"""Steps in an order that a study names: each alone and every two in both orders, against torchvision image by image."""

import itertools

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from helpers.core.errors import UserError
from helpers.views import ViewSettings, colour, filters, geometry, make_views
from helpers.views.colour import KINDS
from helpers.views.geometry import Draws
from helpers.views.render import altered, numbers_needed
from helpers.views.settings import STEPS

COUNT, SIDE = 12, 32
NAMES = ("crop", "cutout", "colour", "sobel", "noise", "blur", "turn")  # of the grid of augmentations
ADJUST = {"brightness": reference.adjust_brightness, "contrast": reference.adjust_contrast, "saturation": reference.adjust_saturation}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=COUNT, side=SIDE, seed=0):
    """Soft pictures: in noise alone a resampling could be wrong and look alike."""
    coarse = torch.rand(count, 3, 8, 8, generator=generator(seed))
    return (255 * torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(0, 1)).byte()


def settings_of(*order, **changes):
    return make_views("composition", SIDE, order=order, **changes).settings


def crop(images, s, draws, noise):
    mirrored = draws.happens(s.flip)
    boxes = geometry.draw_boxes(SIDE, SIDE, s.crop_scale, s.crop_ratio, draws)
    made = []
    for image, flipped, *box in zip(images, mirrored, *(part.int().tolist() for part in boxes), strict=True):
        view = reference.resized_crop(image, *box, [SIDE, SIDE], antialias=True)
        made.append(reference.hflip(view) if flipped else view)
    return torch.stack(made)


def cutout(images, s, draws, noise):
    side = round(s.cutout_side * SIDE)
    tops, lefts = (draws.uniform(0, SIDE - side + 1).floor().int().tolist() for _ in range(2))
    assert draws.happens(s.cutout).all()
    grey = torch.full((3, 1, 1), 0.5)
    return torch.stack([reference.erase(image, i, j, side, side, grey) for image, i, j in zip(images, tops, lefts, strict=True)])


def recolour(images, s, draws, noise):
    drawn = colour.draw_jitter((s.brightness, s.contrast, s.saturation), s.hue, s.jitter, draws)
    grey, made = draws.happens(s.grey), []
    for n, image in enumerate(images):
        steps = [KINDS[kind] for kind in drawn.order[n].tolist()]
        steps.insert(4 * n // COUNT, "hue")  # a quarter of the batch each
        for step in steps:
            if step == "hue":
                image = reference.adjust_hue(image, float(drawn.hue[n]))
            else:
                image = ADJUST[step](image, float(drawn.factors[n, KINDS.index(step)]))
        made.append(reference.rgb_to_grayscale(image, 3) if grey[n] else image)
    return torch.stack(made)


def sobel(images, s, draws, noise):
    assert draws.happens(s.sobel).all()
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    luma = torch.nn.functional.pad(reference.rgb_to_grayscale(images), (1, 1, 1, 1), mode="replicate")
    edges = [torch.nn.functional.conv2d(luma, kernel[None, None]) for kernel in (across, across.T)]
    return (torch.hypot(*edges) / filters.STEEPEST).expand(-1, 3, -1, -1)


def disturbed(images, s, draws, noise):
    assert draws.happens(s.noise).all()
    return (images + s.noise_sigma * noise).clamp(0, 1)


def blurred(images, s, draws, noise):
    sigmas = draws.uniform(*s.blur_sigma).tolist()
    assert draws.happens(s.blur).all()
    taps = filters.kernel_size(s.blur_kernel, SIDE)
    return torch.stack([reference.gaussian_blur(image, [taps, taps], [sigma, sigma]) for image, sigma in zip(images, sigmas, strict=True)])


def turned(images, s, draws, noise):
    turns = draws.uniform(0, 4).floor().int().tolist()
    return torch.stack([torch.rot90(image, k, (1, 2)) for image, k in zip(images, turns, strict=True)])


REFERENCE = dict(crop=crop, cutout=cutout, colour=recolour, sobel=sobel, noise=disturbed, blur=blurred, turn=turned)


@pytest.mark.parametrize("order", [(), *((name,) for name in NAMES), *itertools.permutations(NAMES, 2)], ids=" ".join)
def test_steps_are_what_they_are_called_in_the_order_they_are_named(order):
    s, images = settings_of(*order), pictures()
    numbers = torch.rand(numbers_needed(s, SIDE), COUNT, generator=generator(3))
    noise = torch.randn(COUNT, 3, SIDE, SIDE, generator=generator(4))
    draws, again, theirs = Draws(numbers), Draws(numbers), images / 255
    ours, mask = altered(images, noise, s, SIDE, draws)
    for name in order:
        theirs = REFERENCE[name](theirs, s, again, noise)
    assert mask is None and draws.used == again.used == len(numbers)
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=0)  # rounding that colours amplify
    if order:
        assert (ours - images / 255).abs().mean() > 0.01


def test_the_two_orders_of_a_pair_differ():
    images, draw = pictures(), lambda: torch.rand(64, COUNT, generator=generator(3))
    for first, second in [("crop", "cutout"), ("sobel", "noise"), ("colour", "sobel"), ("blur", "noise")]:
        noise = torch.randn(COUNT, 3, SIDE, SIDE, generator=generator(4))
        one, other = (altered(images, noise, settings_of(*order), SIDE, Draws(draw()))[0] for order in ((first, second), (second, first)))
        assert (one - other).abs().mean() > 0.01, (first, second)


def test_the_second_branch_stays_as_it_is():
    views = make_views("composition", SIDE, order=("turn", "noise"))
    made, other = views(pictures(), generator())
    assert torch.equal(other, views.plain(pictures())) and not torch.allclose(made, other, atol=0.1)
    larger = views(pictures(side=48), generator())[1]  # also where images come larger than the views
    assert torch.equal(larger, views.plain(pictures(side=48)))


def test_the_usual_order_named_is_the_usual_order():
    given = dict(crop_scale=(0.2, 1), flip=0.5, jitter=0.8, brightness=0.4, hue=0.1, grey=0.2, blur=0.5, solarize=0.2, cutout=0.5)
    usual, named = ViewSettings(**given), ViewSettings(**given, order=("crop", "colour", "blur", "solarize", "cutout"))
    numbers = torch.rand(64, COUNT, generator=generator(3))
    made = [altered(pictures(), None, s, SIDE, Draws(numbers))[0] for s in (usual, named)]
    assert torch.equal(*made)


def test_every_step_has_its_settings():
    assert set(STEPS) >= set(NAMES) and {name for groups in STEPS.values() for group in groups for name in group} <= set(
        ViewSettings.model_fields
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (dict(order=("crop", "sobol")), "Unknown step of order 'sobol'. Did you mean 'sobel'"),
        (dict(order=("blur",), blur=0), "order names 'blur', which does nothing as it is set: it needs blur"),
        (dict(order=("turn",), quarter_turns=False), "needs quarter_turns, or rotation"),
        (dict(order=("noise",), noise_sigma=0), "needs noise and noise_sigma"),
        (dict(order=("cutout",), cutout_side=0), "needs cutout and cutout_side"),
        (dict(order=("colour",), grey=0, brightness=0, contrast=0, saturation=0, hue=0), "jitter and hue, or grey"),
        (dict(order=("crop",), shift=0.1), "mask, shift and small views are not possible"),
    ],
)
def test_orders_that_cannot_be_are_named(changes, said):
    with pytest.raises(UserError, match=said):
        make_views("composition", SIDE, **changes)
