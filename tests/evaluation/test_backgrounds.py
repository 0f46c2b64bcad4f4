import pytest
import torch

from helpers.core.errors import UserError
from helpers.data.embedded import draw
from helpers.evaluation.backgrounds import KINDS, filled, recomposed, swappable


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(count=200, **options):
    images, labels, masks = draw(count, background="own", **options)
    return torch.from_numpy(images), torch.from_numpy(labels), torch.from_numpy(masks)[:, None].float() / 255


@pytest.fixture(scope="module")
def whole():
    images, labels, masks = drawn()
    return images, labels, masks, recomposed(images, labels, masks, generator())


def donors_of(made, fills, masks):
    """For each image the one fill that its background pixels are, by exact comparison."""
    donors = []
    for image, mask in zip(made, masks, strict=True):
        same = ((fills == image) | (mask > 0)).flatten(1).all(1).nonzero()[:, 0]
        assert len(same) == 1
        donors.append(same)
    return torch.cat(donors)


def test_all_kinds_come_and_foregrounds_are_untouched(whole):
    images, _, masks, made = whole
    assert tuple(made) == KINDS and torch.equal(made["original"], images)
    inside, outside = (masks == 1).expand_as(images), (masks == 0).expand_as(images)
    for kind in KINDS:
        assert made[kind].shape == images.shape and made[kind].dtype == torch.uint8
        assert torch.equal(made[kind][inside], images[inside]) == (kind != "background alone"), kind
    mean = images.float().mean((0, 2, 3)).round().byte()[None, :, None, None].expand_as(images)
    assert torch.equal(made["foreground alone"][outside], mean[outside])
    between = (masks > 0.3) & (masks < 0.7)
    soft = masks * images + (1 - masks) * mean
    assert (made["foreground alone"] - soft).abs()[between.expand_as(images)].max() <= 0.51


def test_mixed_same_takes_each_background_of_the_class_once_and_never_its_own(whole):
    images, labels, masks, made = whole
    donors = donors_of(made["mixed same"], made["background alone"], masks)
    assert (labels[donors] == labels).all() and (donors != torch.arange(200)).all()
    assert donors.sort().values.tolist() == list(range(200))


def test_mixed_random_takes_each_background_once_and_never_of_the_class(whole):
    images, labels, masks, made = whole
    donors = donors_of(made["mixed random"], made["background alone"], masks)
    assert (labels[donors] != labels).all()
    assert donors.sort().values.tolist() == list(range(200))
    pairs = torch.zeros(10, 10).index_put_((labels, labels[donors]), torch.ones(200), accumulate=True)
    assert (pairs > 0).sum() > 60, "the background's class must not follow from the image's"


@pytest.mark.parametrize(("sizes", "most"), [((30, 30), 1), ((31, 30), 3), ((50, 10), 20), ((40, 10, 9, 1), 8), ((20, 20, 20), 1)])
def test_classes_of_any_size_get_other_backgrounds_about_equally(sizes, most):
    count = sum(sizes)
    images, _, masks = drawn(count)
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))[torch.randperm(count, generator=generator(2))]
    made = recomposed(images, labels, masks, generator(1))
    donors = donors_of(made["mixed random"], made["background alone"], masks)
    assert (labels[donors] != labels).all() and donors.bincount().max() <= most
    same = donors_of(made["mixed same"], made["background alone"], masks)
    assert (labels[same] == labels).all()


def test_a_class_of_one_keeps_its_own_background():
    images, _, masks = drawn(9)
    labels = torch.tensor([0, 0, 0, 0, 1, 2, 2, 2, 2])
    made = recomposed(images, labels, masks, generator())
    assert donors_of(made["mixed same"], made["background alone"], masks)[4] == 4
    assert donors_of(made["mixed random"], made["background alone"], masks)[4] != 4


@pytest.mark.parametrize("size", [32, 64])
def test_nothing_of_the_object_remains_in_the_background(size):
    images = torch.randint(0, 256, (12, 3, size, size), dtype=torch.uint8, generator=generator())
    images[:, 1] = 0  # red and blue noise
    masks = torch.zeros(12, 1, size, size)
    for n in range(12):  # from small to nearly everything, some over the border
        reach = size * (n + 3) // 16
        masks[n, :, n : n + reach, 4 : 4 + reach] = 1
    image_of = torch.zeros_like(images)
    image_of[:, 1] = 255
    soft = torch.nn.functional.avg_pool2d(masks, 3, 1, 1, count_include_pad=False)  # edges carry some of the object
    images = images.float().lerp(image_of.float(), soft).round().byte()
    assert (images[:, 1][masks[:, 0] == 1].float()).mean() > 200
    fills = filled(images, soft)
    assert (fills[:, 1] == 0).all()
    core = (masks == 1).expand_as(fills)
    assert 90 < fills[:, 0][core[:, 0]].float().mean() < 165, "filled with the noise's mean"
    far = torch.nn.functional.max_pool2d(soft, 5 if size == 64 else 3, 1, 2 if size == 64 else 1) == 0
    assert torch.equal(fills[far.expand_as(fills)], images[far.expand_as(images)]), "the rest stays"


def test_a_fill_goes_on_as_its_surroundings_do():
    ramp = torch.linspace(20, 230, 32).expand(1, 3, 32, 32)
    masks = torch.zeros(1, 1, 32, 32)
    masks[:, :, 8:24, 10:22] = 1
    images = torch.where(masks == 1, torch.tensor(0.0), ramp).byte()
    fill = filled(images, masks).float()
    assert (fill - ramp).abs().max() < 30 and (fill - ramp).abs().mean() < 5  # the mean of all would be off by 105 at most


def test_a_blurred_background_has_its_colour_and_none_of_its_texture(whole):
    images, _, masks, made = whole
    outside = torch.nn.functional.max_pool2d(masks, 5, 1, 2) == 0
    pair = (outside[..., 1:] & outside[..., :-1]).expand(-1, 3, -1, -1)
    texture = [made[kind].float().diff(dim=3).abs()[pair].mean() for kind in ("original", "background blurred")]
    assert texture[1] < 0.2 * texture[0]
    colour = [(made[kind] * outside).sum((2, 3)) / outside.sum((2, 3)) for kind in ("original", "background blurred")]
    assert (colour[0] - colour[1]).abs().mean() < 8


def test_what_cannot_be_swapped_stays_as_it_is_and_gives_no_background():
    images, labels, masks = drawn(60)
    masks[:5] = 1
    masks[5:10] = 0
    there = swappable(masks)
    assert there.tolist() == [False] * 10 + [True] * 50
    made = recomposed(images, labels, masks, generator())
    for kind in KINDS:
        assert torch.equal(made[kind][:10], images[:10]), kind
    for kind in ("mixed same", "mixed random"):
        assert (donors_of(made[kind][10:], made["background alone"], masks[10:]) >= 10).all()
    whole = recomposed(images, labels, torch.ones_like(masks), generator())
    assert all(torch.equal(whole[kind], images) for kind in KINDS)


def test_the_shares_between_which_an_image_is_swappable():
    masks = torch.zeros(4, 1, 10, 10)
    for n, share in enumerate((0.01, 0.03, 0.94, 0.96)):
        masks[n].view(-1)[: round(share * 100)] = 1
    assert swappable(masks).tolist() == [False, True, True, False]


def test_masks_without_any_clean_background_still_give_a_fill():
    images, labels, _ = drawn(4)
    made = recomposed(images, torch.arange(4), torch.full((4, 1, 32, 32), 0.5), generator())
    mean = images.float().mean((2, 3))
    assert (made["background alone"].float().mean((2, 3)) - mean).abs().max() < 15


def test_the_generator_alone_decides(whole):
    images, labels, masks, made = whole
    before = torch.get_rng_state()
    again, other = (recomposed(images, labels, masks, generator(seed)) for seed in (0, 1))
    assert torch.equal(before, torch.get_rng_state())
    for kind in KINDS:
        assert torch.equal(made[kind], again[kind])
        assert torch.equal(made[kind], other[kind]) == (not kind.startswith("mixed")), kind


def test_no_images_and_more_images_than_fit_at_a_time():
    images, labels, masks = drawn(8)
    assert recomposed(images[:0], labels[:0], masks[:0], generator())["mixed same"].shape == (0, 3, 32, 32)
    fills = filled(images, masks)
    assert torch.equal(filled(images.repeat(60, 1, 1, 1), masks.repeat(60, 1, 1, 1)), fills.repeat(60, 1, 1, 1))


def test_what_is_wrong_is_named():
    images, labels, masks = drawn(6)
    for given, told in [
        ((images.float(), labels, masks), "uint8"),
        ((images, labels[:4], masks), "6 images need as many labels"),
        ((images, labels, masks[:, 0]), r"float \[6, 1, 32, 32\]"),
        ((images, labels, (masks * 255).byte()), "float .*got torch.uint8"),
        ((images, torch.full((6,), 3), masks), "class 3.*two classes"),
    ]:
        with pytest.raises(UserError, match=told):
            recomposed(*given, generator())
