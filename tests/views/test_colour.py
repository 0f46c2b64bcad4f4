import itertools

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from helpers.views import colour
from helpers.views.colour import KINDS, Jitter
from helpers.views.geometry import Draws

ADJUST = {"brightness": reference.adjust_brightness, "contrast": reference.adjust_contrast, "saturation": reference.adjust_saturation}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draws(count, seed=0):
    return Draws(torch.rand(8, count, generator=generator(seed)))


def pictures(count=8, seed=0):
    """Random pixels, with saturated, equal and grey ones among them."""
    images = torch.rand(count, 3, 16, 16, generator=generator(seed))
    images[:, :, 0] = images[:, :, 0].round()
    images[:, 1, 1] = images[:, 0, 1]
    images[:, :, 2] = images[:, :1, 2]
    return images


def test_grey():
    images = pictures()
    torch.testing.assert_close(colour.grey(images), reference.rgb_to_grayscale(images), atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_each_linear_step(kind):
    images, values = pictures(), torch.tensor([0.0, 0.2, 0.6, 0.95, 1.0, 1.1, 1.4, 1.8])
    factors = torch.ones(8, 3)
    factors[:, KINDS.index(kind)] = values
    order = torch.tensor([[KINDS.index(kind)]]).expand(8, 1)
    ours = colour.jitter(images.clone(), Jitter(order, factors, None))
    for n, factor in enumerate(values.tolist()):
        torch.testing.assert_close(ours[n], ADJUST[kind](images[n], factor), atol=1e-5, rtol=0)


def test_hue():
    images, turns = pictures(9), torch.tensor([-0.5, -0.3, -0.1, -1 / 6, 0.0, 0.05, 1 / 3, 0.2, 0.5])
    ours = colour.adjust_hue(images.clone(), turns)
    for n, shift in enumerate(turns.tolist()):
        torch.testing.assert_close(ours[n], reference.adjust_hue(images[n], shift), atol=1e-5, rtol=0)


def places(count, steps=3):
    """The place of the hue for each image of a batch, from what the jitter says of its slices."""
    bounds = [count * step // (steps + 1) for step in range(steps + 2)]
    return [place for place in range(steps + 1) for _ in range(bounds[place], bounds[place + 1])]


def test_the_whole_jitter_is_torchvision_in_each_images_own_order():
    count = 96
    images = pictures(count)
    parameters = colour.draw_jitter((0.8, 0.8, 0.8), 0.2, 0.9, draws(count, 3))
    ours = colour.jitter(images.clone(), parameters)
    seen = set()
    for n, place in enumerate(places(count)):
        steps = [KINDS[kind] for kind in parameters.order[n].tolist()]
        steps.insert(place, "hue")
        seen.add(tuple(steps))
        theirs = images[n]
        for step in steps:
            if step == "hue":
                theirs = reference.adjust_hue(theirs, float(parameters.hue[n]))
            else:
                theirs = ADJUST[step](theirs, float(parameters.factors[n, KINDS.index(step)]))
        # Four operations deep, each amplifying the rounding of the ones before.
        torch.testing.assert_close(ours[n], theirs, atol=1e-4, rtol=0)
    assert len(seen) > 18, "most of the 24 orders should occur among 96 images"


def test_the_linear_steps_come_in_every_order_equally_often():
    order = colour.draw_jitter((0.4, 0.4, 0.4), 0.1, 0.8, draws(12_000)).order
    counts = torch.tensor([(order == torch.tensor(steps)).all(1).sum() for steps in itertools.permutations(range(3))])
    assert counts.sum() == 12_000
    assert ((counts - 2000) ** 2 / 2000).sum() < 20.5  # chi-square, 5 degrees of freedom, 0.1 %


def test_factors_are_uniform_and_an_image_not_jittered_is_untouched():
    parameters = colour.draw_jitter((0.4, 1.5, 0.2), 0.1, 0.8, draws(20_000))
    on = (parameters.factors != 1).any(1)
    assert abs(on.float().mean() - 0.8) < 0.012
    assert (parameters.hue[~on] == 0).all()
    for kind, (low, high) in enumerate([(0.6, 1.4), (0.0, 2.5), (0.8, 1.2)]):
        values = parameters.factors[on, kind]
        assert low <= values.min() < low + 0.01 and high - 0.01 < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 0.02
    assert -0.1 <= parameters.hue.min() < -0.099 and 0.099 < parameters.hue.max() <= 0.1

    images = pictures(16)
    idle = colour.jitter(images.clone(), colour.draw_jitter((0.4, 0.4, 0.4), 0.1, 0.0, draws(16)))
    torch.testing.assert_close(idle, images, atol=1e-6, rtol=0)


def test_what_has_no_strength_is_not_even_drawn():
    parameters = colour.draw_jitter((0.0, 0.4, 0.0), 0.0, 1.0, draws(50))
    assert parameters.hue is None and parameters.order.shape == (50, 1)
    assert (parameters.factors[:, [0, 2]] == 1).all()
    assert colour.draw_jitter((0.0, 0.0, 0.0), 0.1, 1.0, draws(5)).order is None
    assert [colour.hue_places(s, h) for s, h in [((0, 0, 0), 0.1), ((0.4, 0, 0.1), 0.1), ((1, 1, 1), 0.1), ((1, 1, 1), 0)]] == [1, 3, 4, 1]


def test_greyscale_and_solarize_only_where_asked():
    images, on = pictures(), torch.arange(8) % 2 == 0
    grey = colour.greyscale(images.clone(), on)
    torch.testing.assert_close(grey[on], reference.rgb_to_grayscale(images[on], num_output_channels=3), atol=1e-6, rtol=0)
    assert torch.equal(grey[~on], images[~on])
    solarized = colour.solarize(images.clone(), on, 0.4)
    torch.testing.assert_close(solarized[on], reference.solarize(images[on], 0.4), atol=1e-6, rtol=0)
    assert torch.equal(solarized[~on], images[~on])
