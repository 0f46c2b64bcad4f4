import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from helpers.core.errors import UserError
from helpers.views import geometry
from helpers.views.geometry import TRIES, Boxes, Draws


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(count=6, height=32, width=32, seed=0):
    return torch.rand(count, 3, height, width, generator=generator(seed))


def drawn(count, height, width, scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), seed=1):
    return geometry.draw_boxes(height, width, scale, ratio, Draws(torch.rand(2 * TRIES + 2, count, generator=generator(seed))))


@pytest.mark.parametrize("size", [32, 40])
def test_crop_and_flip_are_resized_crop_then_horizontal_flip(size):
    images, boxes = pictures(24), drawn(24, 32, 32)
    mirrored = torch.arange(24) % 2 == 1
    ours = geometry.crop_resize(images, boxes, size, mirrored)
    for n, (top, left, height, width) in enumerate(torch.stack(boxes, 1).int().tolist()):
        # Crops no larger than the output: with and without antialiasing are the same thing.
        for antialias in (False, True):
            theirs = reference.resized_crop(images[n : n + 1], top, left, height, width, [size, size], antialias=antialias)
            theirs = reference.horizontal_flip(theirs) if mirrored[n] else theirs
            torch.testing.assert_close(ours[n : n + 1], theirs, atol=1e-5, rtol=0)


def test_a_crop_larger_than_the_output_is_antialiased():
    images, boxes = pictures(12, 60, 80), drawn(12, 60, 80, scale=(0.2, 1.0))
    ours = geometry.crop_resize(images, boxes, 24)
    for n, (top, left, height, width) in enumerate(torch.stack(boxes, 1).int().tolist()):
        theirs = reference.resized_crop(images[n : n + 1], top, left, height, width, [24, 24], antialias=True)
        torch.testing.assert_close(ours[n : n + 1], theirs, atol=1e-5, rtol=0)


def test_boxes_are_whole_inside_and_spread_as_asked():
    boxes = drawn(20_000, 96, 96, scale=(0.2, 0.8), ratio=(0.5, 2.0))
    top, left, height, width = boxes
    for field in boxes:
        assert torch.equal(field, field.round())
    assert (top >= 0).all() and (left >= 0).all() and (height >= 1).all() and (width >= 1).all()
    assert (top + height <= 96).all() and (left + width <= 96).all()
    assert (top == 0).any() and (top + height == 96).any() and (left == 0).any() and (left + width == 96).any()
    share, ratio = height * width / 96**2, width / height
    assert 0.19 < share.min() < 0.22 and 0.75 < share.max() < 0.81
    assert 0.48 < ratio.min() < 0.55 and 1.85 < ratio.max() < 2.1
    assert abs(ratio.log().mean()) < 0.02, "the aspect ratio is symmetric on the log scale"


def test_boxes_follow_the_distribution_of_random_resized_crop():
    from torchvision.transforms.v2 import RandomResizedCrop

    torch.manual_seed(0)
    crop, image = RandomResizedCrop(32, scale=(0.08, 1.0)), torch.zeros(3, 32, 32)
    theirs = [crop.make_params([image]) for _ in range(3000)]
    theirs = torch.tensor([[p["top"], p["left"], p["height"], p["width"]] for p in theirs]).float()
    ours = torch.stack(drawn(20_000, 32, 32), 1)
    # Four standard errors of a mean over 3000 draws; deviations are below 8.
    assert (ours.mean(0) - theirs.mean(0)).abs().max() < 4 * 8 / 3000**0.5
    assert (ours.std(0) / theirs.std(0) - 1).abs().max() < 0.08


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(32, 32, [0, 0, 32, 32]), (20, 80, [0, 26, 20, 27]), (80, 20, [26, 0, 27, 20])],
)
def test_when_no_candidate_fits_the_centre_is_kept(height, width, expected):
    boxes = drawn(4, height, width, scale=(50.0, 60.0))
    assert torch.stack(boxes, 1).tolist() == [expected] * 4


def test_a_whole_box_at_the_same_size_changes_nothing():
    images, nought = pictures(), torch.zeros(6)
    assert torch.equal(geometry.crop_resize(images, Boxes(nought, nought, nought + 32, nought + 32), 32), images)


def test_flip():
    images, mirrored = pictures(), torch.tensor([True, False] * 3)
    ours = geometry.flip(images, mirrored)
    assert torch.equal(ours[mirrored], reference.horizontal_flip(images[mirrored]))
    assert torch.equal(ours[~mirrored], images[~mirrored])


def test_shift_is_a_crop_of_the_reflected_image():
    images = pictures(25, 16, 20)
    down, right = torch.arange(25) % 5 - 2, torch.arange(25) // 5 - 2
    ours = geometry.shift(images, down, right)
    padded = reference.pad(images, [2, 2, 2, 2], padding_mode="reflect")
    for n in range(25):
        assert torch.equal(ours[n], reference.crop(padded[n], 2 - int(down[n]), 2 - int(right[n]), 16, 20))


@pytest.mark.parametrize("shape", [(32, 32), (24, 40)])
def test_rotate(shape):
    images, degrees = pictures(8, *shape), torch.tensor([0.0, 7.5, -30.0, 45.0, 90.0, 133.0, 180.0, -171.0])
    ours = geometry.rotate(images, degrees)
    for n, angle in enumerate(degrees.tolist()):
        theirs = reference.rotate(images[n : n + 1], angle, interpolation=reference.InterpolationMode.BILINEAR)
        torch.testing.assert_close(ours[n : n + 1], theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_quarter_turns_move_pixels_exactly(dtype):
    images = (pictures(12, 8, 8) * 255).to(dtype)
    k = torch.arange(12) % 4
    ours = geometry.quarter_turns(images, k)
    for n in range(12):
        assert torch.equal(ours[n], torch.rot90(images[n], int(k[n]), (1, 2)))


def test_quarter_turns_of_an_oblong_are_refused():
    with pytest.raises(UserError, match="square.*8 x 12"):
        geometry.quarter_turns(torch.zeros(1, 3, 8, 12), torch.tensor([1]))


def test_cutout_is_erase():
    images = pictures(5)
    top, left, side = torch.tensor([0, 3, 20, 31, 4]), torch.tensor([0, 30, 7, 31, 4]), torch.tensor([32, 2, 8, 1, 0])
    ours = geometry.cutout(images.clone(), top, left, side)
    for n, (i, j, s) in enumerate(zip(top.tolist(), left.tolist(), side.tolist(), strict=True)):
        assert torch.equal(ours[n], reference.erase(images[n], i, j, s, s, torch.tensor(0.5)))
