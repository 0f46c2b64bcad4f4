import pytest
import torch
import torch.nn.functional as F

from helpers.core.errors import UserError
from helpers.data.embedded import draw
from helpers.evaluation.shifts import HIDDEN, SHIFTS, shifted
from helpers.views.colour import adjust_hue

STYLES = SHIFTS["style"]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=20, size=32):
    return torch.from_numpy(draw(count, size=size, background="own")[0])


def noise(count=6, size=32):
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator(1))


@pytest.mark.parametrize("group", SHIFTS)
@pytest.mark.parametrize("size", [32, 45])
def test_every_level_keeps_shape_and_type_and_the_generator_alone_decides(group, size):
    images, before = pictures(9, size), torch.get_rng_state()
    for level in SHIFTS[group]:
        given = images.clone()
        once, again = (shifted(given, group, level, generator(3)) for _ in range(2))
        assert once.shape == images.shape and once.dtype == torch.uint8
        assert torch.equal(once, again) and not torch.equal(once, images), level
        assert torch.equal(given, images), f"{level} wrote into its images"
        assert shifted(images[:0], group, level, generator()).shape == (0, 3, size, size)
    assert torch.equal(before, torch.get_rng_state())


def test_many_images_are_changed_as_few_are():
    # More than are worked on at a time.
    images = noise(4, 64).repeat(40, 1, 1, 1)
    for group, level in [("scale", "x0.75"), ("style", "grey"), ("style", "four levels")]:
        few = shifted(images[:4], group, level, generator())
        assert torch.equal(shifted(images, group, level, generator()), few.repeat(40, 1, 1, 1)), level


@pytest.mark.parametrize("level", SHIFTS["occlusion"])
def test_an_occlusion_hides_one_square_of_its_share_in_the_mean_colour(level):
    images = noise(300)
    hidden = shifted(images, "occlusion", level, generator())
    tops, lefts = set(), set()
    for image, after in zip(images, hidden, strict=True):
        mean = image.float().mean((1, 2)).round().byte()
        changed = (image != after).any(0)
        rows, columns = changed.any(1).nonzero()[:, 0], changed.any(0).nonzero()[:, 0]
        square = after[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert square.shape[1] == square.shape[2] and abs(square.shape[1] - (HIDDEN[level] * 32 * 32) ** 0.5) <= 0.5
        assert (square == mean[:, None, None]).all()
        outside = torch.ones(32, 32, dtype=torch.bool)
        outside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = False
        assert torch.equal(image[:, outside], after[:, outside])
        tops.add(int(rows[0]))
        lefts.add(int(columns[0]))
    everywhere = set(range(32 - round((HIDDEN[level] * 32 * 32) ** 0.5) + 1))
    assert tops == lefts == everywhere


@pytest.mark.parametrize(("level", "share"), [("x0.5", 0.5), ("x0.75", 0.75)])
def test_in_the_middle_of_a_smaller_image_is_the_whole_image_and_around_it_its_reflection(level, share):
    images = pictures()
    small, inner = shifted(images, "scale", level, generator()), round(32 * share)
    edge = (32 - inner) // 2
    expected = F.interpolate(images.float(), (inner, inner), mode="bilinear", antialias=True)
    middle = small[:, :, edge : edge + inner, edge : edge + inner]
    assert (middle.float() - expected).abs().max() <= 2
    assert torch.equal(small, F.pad(middle.float(), (edge,) * 4, mode="reflect").byte())


@pytest.mark.parametrize(("level", "share"), [("x2", 0.5), ("x1.33", 0.75)])
def test_a_larger_image_is_its_middle_enlarged(level, share):
    images, box = pictures(), round(32 * share)
    edge = (32 - box) // 2
    middle = images[:, :, edge : edge + box, edge : edge + box].float()
    expected = F.interpolate(middle, (32, 32), mode="bilinear", antialias=True)
    assert (shifted(images, "scale", level, generator()).float() - expected).abs().max() <= 2


def test_oblong_images_are_scaled_in_both_axes_and_refuse_a_square_that_does_not_fit():
    images = torch.zeros(1, 3, 24, 48, dtype=torch.uint8)
    images[:, :, 6:18, 12:36] = 200
    assert (shifted(images, "scale", "x2", generator()) > 90).all()
    small = shifted(images, "scale", "x0.5", generator())[0, 0, 6:18, 12:36] > 100
    assert small[3:9, 6:18].all() and small.sum() == 6 * 12
    shifted(images, "occlusion", "40 %", generator())
    with pytest.raises(UserError, match="60% of the area.*24 x 48"):
        shifted(images, "occlusion", "60 %", generator())


def test_grey_is_the_luma_in_all_channels():
    images = noise()
    after = shifted(images, "style", "grey", generator()).float()
    luma = torch.einsum("nchw,c->nhw", images.float(), torch.tensor([0.2989, 0.587, 0.114]))
    for channel in after.unbind(1):
        assert (channel - luma).abs().max() <= 0.51


@pytest.mark.parametrize(("level", "turns"), [("hue turned by 120°", 1 / 3), ("hue turned by 240°", -1 / 3)])
def test_a_third_of_the_hue_circle_three_times_is_the_identity(level, turns):
    images = noise()
    once = shifted(images, "style", level, generator())
    expected = adjust_hue(images.float() / 255, torch.full((len(images),), turns)) * 255
    assert (once.float() - expected).abs().max() < 0.5
    thrice = shifted(shifted(once, "style", level, generator()), "style", level, generator())
    assert torch.equal(thrice, images) and not torch.equal(once, images)


def test_a_negative_of_a_negative_is_the_image():
    images = noise()
    once = shifted(images, "style", "negative", generator())
    assert torch.equal(once.int() + images, torch.full_like(images, 255).int())
    assert torch.equal(shifted(once, "style", "negative", generator()), images)


def test_four_levels_are_the_nearest_of_four():
    ramp = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    after = shifted(ramp, "style", "four levels", generator())
    assert after.unique().tolist() == [0, 85, 170, 255]
    assert (after.int() - ramp).abs().max() == 42


def test_another_images_colours_are_those_of_one_other_image_each_of_them_once():
    spread = 6 + 8 * torch.rand(40, 3, 1, 1, generator=generator(5))
    centre = 70 + 110 * torch.rand(40, 3, 1, 1, generator=generator(6))
    images = (centre + spread * (torch.rand(40, 3, 32, 32, generator=generator(7)) - 0.5) * 3).round().byte()  # nothing will be clipped
    after = shifted(images, "style", "another image's colours", generator()).float()
    was, became = (
        torch.cat([x.float().mean((2, 3)), x.float().std((2, 3), correction=0)], dim=1) for x in (images, after)
    )  # [40, 6]: mean and deviation of each channel
    away, other = torch.cdist(became, was).min(1)
    assert away.max() < 0.5 and torch.cdist(became, was).kthvalue(2).values.min() > 4, "rounding alone"
    assert other.sort().values.tolist() == list(range(40)) and (other != torch.arange(40)).all()
    for before, now in zip(images.float().flatten(2), after.flatten(2), strict=True):
        assert all(torch.corrcoef(torch.stack([before[c], now[c]]))[0, 1] > 0.99 for c in range(3)), "content is kept"


def test_flat_channels_take_a_colour_without_noise_and_a_single_image_keeps_its_own():
    images = torch.cat([torch.full((1, 3, 32, 32), 37, dtype=torch.uint8), noise(1)])
    after = shifted(images, "style", "another image's colours", generator())
    assert torch.equal(after[0], noise(1)[0].float().mean((1, 2)).round().byte()[:, None, None].expand(3, 32, 32))
    assert (after[1] == 37).all()
    assert (shifted(noise(1), "style", "another image's colours", generator()).int() - noise(1)).abs().max() <= 1


@pytest.mark.parametrize("level", STYLES)
def test_edges_stay_where_they_were(level):
    images = torch.full((4, 3, 32, 32), 40, dtype=torch.uint8)
    images[:, 0, :, 16:], images[:, 1, :, 16:], images[:, 2, :, 16:] = 220, 180, 150
    images[2:, :, :, :16] += 30
    step = shifted(images, "style", level, generator()).int().diff(dim=3).abs().sum(1)
    assert (step[..., 15] > 100).all() and (step[..., :15] == 0).all() and (step[..., 16:] == 0).all()


def test_the_mildest_level_comes_first():
    images = pictures(100)
    for group in ("occlusion", "scale"):
        away = [(shifted(images, group, level, generator()).float() - images).abs().mean() for level in SHIFTS[group]]
        assert away[0] == min(away) and away[0] < away[-1] and away[1] < away[2], f"{group}: {away}"


def test_what_is_wrong_is_named_with_what_is_allowed():
    images = noise(2)
    for wrong, told in [
        (("oclusion", "10 %"), "Unknown group of shifts 'oclusion'.*occlusion"),
        (("occlusion", "10%"), "Unknown level of occlusion '10%'.*'10 %'"),
        (("style", "x2"), "Unknown level of style 'x2'.*negative"),
    ]:
        with pytest.raises(UserError, match=told):
            shifted(images, *wrong, generator())
    for other in (images.float(), images[0], images[:, :1], images.numpy()):
        with pytest.raises(UserError, match="uint8 tensor"):
            shifted(other, "style", "grey", generator())
