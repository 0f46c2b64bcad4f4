"""Each corruption beside a slow one, image by image, by the published recipe: with numpy, scipy, OpenCV and Pillow.

What draws nothing has to agree pixel by pixel. What draws has to agree so where it is told the draws, and over many images in how it
changes them; the same comparison has to tell a severity from its neighbours.
"""

import functools
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.core.errors import UserError
from helpers.data import load
from helpers.data.embedded import draw
from helpers.evaluation import corruptions, corruptions_blur, corruptions_weather
from helpers.evaluation.corruptions import CORRUPTIONS, FAMILIES, SEVERITIES, corrupted
from helpers.evaluation.corruptions_blur import dragged, moved
from helpers.evaluation.corruptions_digital import affine, wandering
from tests.published_corruptions import drag, plasma, pull, shuffle, theirs, wander

CALM = ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")
RANDOM = tuple(name for name in CORRUPTIONS if name not in CALM)
HERE = ["embedded"] + ["cifar10"] * (Path(os.environ.get("DATA_DIR", "data")) / "cifar10").is_dir()
COUNT = 50
REPEATS = {"glass_blur": 4, "elastic_transform": 40, "motion_blur": 10, "snow": 10, "fog": 10}  # draws an image, else 4
ALIKE = {("motion_blur", 3, 4)}  # they differ in taps of a weight of 1e-8


@functools.cache
def pictures(source: str, size: tuple[int, int] = (32, 32)) -> torch.Tensor:
    if source == "cifar10":
        return torch.from_numpy(np.array(load("cifar10").split("test").images[:COUNT]))
    images = draw(COUNT, size=max(size), background="own")[0]
    return torch.from_numpy(images[:, :, : size[0], : size[1]].copy())


def ours(images: torch.Tensor, name: str, severity: int, seed: int = 0) -> torch.Tensor:
    return corrupted(images, name, severity, torch.Generator().manual_seed(seed))


def change(images: torch.Tensor, result: torch.Tensor) -> float:
    return float((result.float() - images.float()).abs().mean())


@pytest.mark.parametrize("source", HERE)
@pytest.mark.parametrize("name", CALM)
def test_what_draws_nothing_agrees_pixel_by_pixel(name, source):
    images = pictures(source)
    for severity in SEVERITIES:
        expected = theirs(images, name, severity)
        assert change(expected, ours(images, name, severity)) < 0.15
        assert all(change(expected, ours(images, name, other)) > 0.5 for other in {severity - 1, severity + 1} & set(SEVERITIES))


@pytest.mark.parametrize("size", [(24, 24), (27, 35), (48, 64)], ids=str)
@pytest.mark.parametrize("name", ("zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"))
def test_what_knows_no_pixels_agrees_at_any_size(name, size):
    images = pictures("embedded", size)[:8]
    for severity in (1, 3, 5):
        assert change(theirs(images, name, severity), ours(images, name, severity)) < 0.15


def moments(images: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
    """How each image was changed: on average, in size, in spread, and how much neighbours then differ, along rows and columns."""
    images, result = images.float(), result.float()
    change = result - images
    rough = [result.diff(dim=axis).abs().mean((1, 2, 3)) for axis in (2, 3)]
    return torch.stack([change.mean((1, 2, 3)), change.abs().mean((1, 2, 3)), change.std((1, 2, 3)), *rough], 1)


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The largest difference of two means of moments, in standard errors of that; 0.1 of 255 is none."""
    difference = one - other
    error = difference.std(0) / math.sqrt(len(difference))
    return float(((difference.mean(0).abs() - 0.1).clamp(min=0) / error).max())


@pytest.mark.parametrize("source", HERE)
@pytest.mark.parametrize("name", [name for name in RANDOM if name != "frost"])
def test_what_draws_changes_images_as_published_and_not_as_its_neighbours_do(name, source):
    images = pictures(source)
    images = images.repeat(REPEATS.get(name, 4), 1, 1, 1)
    here = {severity: moments(images, ours(images, name, severity, severity)) for severity in SEVERITIES}
    there = {severity: moments(images, theirs(images, name, severity, severity)) for severity in SEVERITIES}
    for severity in SEVERITIES:
        found = {other: apart(here[other], there[severity]) for other in SEVERITIES if abs(other - severity) < 2}
        found = {other: value for other, value in found.items() if (name, *sorted((other, severity))) not in ALIKE}
        assert found.pop(severity) < 4, severity
        assert min(found.values()) > 4, (severity, found)


# Of crops of 32 pixels of the five published photographs, as they are drawn: red, green and blue on average, the deviations of a crop's
# average, the deviation within a crop, the difference of neighbours.
FROST, DRIFT, GRAIN, ROUGH = (144.1, 165.4, 177.3), (51.0, 35.8, 34.3), 22.5, 19.2


@pytest.mark.parametrize("grey", [0, 100])
def test_frost_is_like_the_photographs(grey):
    images = torch.full((2000, 3, 32, 32), grey, dtype=torch.uint8)
    for severity, (kept, added) in enumerate(((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)), 1):
        result = ours(images, "frost", severity).float()
        means = result.mean((2, 3))
        error = added * torch.tensor(DRIFT) / math.sqrt(len(images))
        expected = kept * grey + added * torch.tensor(FROST) - 0.5  # cut to whole numbers
        assert ((means.mean(0) - expected).abs() < 4 * error).all()
        assert ((means.std(0) / added / torch.tensor(DRIFT) - 1).abs() < 0.08).all()
        assert abs(result.std((2, 3)).mean() / added / GRAIN - 1) < 0.08
        assert abs(result.diff(dim=3).abs().mean() / added / ROUGH - 1) < 0.08


@pytest.mark.parametrize("radius, sigma", [(6, 1), (9, 2.5), (14, 12)])
def test_dragging_agrees_where_the_direction_is_told(radius, sigma):
    images, degrees = pictures("embedded").float()[:20], np.random.default_rng(0).uniform(-180, 180, 20)
    found = dragged(images, torch.from_numpy(degrees).float(), radius, sigma).permute(0, 2, 3, 1).numpy()
    expected = [drag(image.permute(1, 2, 0).numpy(), turn, radius, sigma) for image, turn in zip(images, degrees, strict=True)]
    assert np.abs(found - expected).mean() < 0.01


def test_moving_pixels_at_once_is_moving_one_after_another():
    images, steps = pictures("embedded").float()[:10], torch.randint(-1, 1, (2, 10, 32, 32))
    found = moved(images, steps[:, :, 2:, 2:], 1)
    for image, result, step in zip(images, found, steps.permute(1, 2, 3, 0), strict=True):
        expected = image.permute(1, 2, 0).clone()
        shuffle(expected, step.tolist())
        assert torch.equal(result.permute(1, 2, 0), expected)


@pytest.mark.parametrize("size", [(32, 32), (48, 64)], ids=str)
def test_bending_agrees_where_the_draws_are_told(size):
    images, rng = pictures("embedded", size).float()[:10], np.random.default_rng(0)
    pulled, steps = rng.uniform(-4, 4, (10, 3, 2)).astype(np.float32), rng.uniform(-6, 6, (10, 2, *size)).astype(np.float32)
    planes = images.permute(0, 2, 3, 1).numpy()
    found = affine(images, torch.from_numpy(pulled)).permute(0, 2, 3, 1).numpy()
    assert np.abs(found - [pull(*pair) for pair in zip(planes, pulled, strict=True)]).mean() < 0.6  # OpenCV may round to 1/32 pixel
    found = wandering(images, torch.from_numpy(steps)).permute(0, 2, 3, 1).numpy()
    assert np.abs(found - [wander(image, *step) for image, step in zip(planes, steps, strict=True)]).mean() < 0.01


@pytest.mark.parametrize("decay", [3, 2.5, 2, 1.75])
def test_clouds_are_as_rough_as_published_at_every_scale(decay):
    rng, count = np.random.default_rng(0), 300
    found = corruptions_weather.plasma(torch.zeros(count, 3, 32, 32), decay, torch.Generator().manual_seed(0))[:, 0]
    expected = torch.from_numpy(np.stack([plasma(32, decay, rng) for _ in range(count)]))
    for lag in (1, 2, 4, 8):
        rough = [(clouds[:, lag:] - clouds[:, :-lag]).abs().mean((1, 2)) for clouds in (found, expected)]
        assert abs(rough[0].mean() / rough[1].mean() - 1) < 0.06, lag
    assert found.amin((1, 2)).eq(0).all() and found.amax((1, 2)).eq(1).all()


def test_elastic_transform_wanders_as_far_as_published():
    """On a ramp a value tells the place it came from, and second differences leave of that what is not the pull of three points."""
    ramp = (torch.arange(32) * 8).to(torch.uint8).expand(400, 3, 32, 32)
    for severity in (3, 4, 5):
        bends = []
        for made in (ours, theirs):
            place = made(ramp, "elastic_transform", severity).float()[:, 0, 4:28, 4:28]
            bends += [float((one[:, 8:] - 2 * one[:, 4:-4] + one[:, :-8]).abs().mean()) for one in (place, place.mT)]
        assert all(abs(one / other - 1) < 0.06 for one, other in zip(bends[:2], bends[2:], strict=True)), (severity, bends)


def test_the_fifteen_lie_in_four_families():
    assert [len(names) for names in FAMILIES.values()] == [3, 4, 4, 4] and list(FAMILIES) == ["noise", "blur", "weather", "digital"]
    assert CORRUPTIONS == tuple(name for names in FAMILIES.values() for name in names) and len(set(CORRUPTIONS)) == 15


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_seed_alone_decides(name):
    images = pictures("embedded")
    before = images.clone()
    first, again, other = ours(images, name, 3), ours(images, name, 3), ours(images, name, 3, seed=1)
    assert torch.equal(first, again) and torch.equal(images, before)
    assert torch.equal(first, other) == (name in CALM)


UNEVEN = {"glass_blur", "motion_blur", "frost", "elastic_transform"}  # the published severities of these do not rise throughout either


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severities_rise(name):
    images = pictures("embedded").repeat(4, 1, 1, 1)
    changes = [change(images, ours(images, name, severity)) for severity in SEVERITIES]
    if name in UNEVEN:
        assert (changes[4] > changes[0]) == (name != "elastic_transform")
    else:
        assert sorted(changes) == changes and changes[0] > 0.5 and min(np.diff(changes)) > 0.2


@pytest.mark.parametrize("size", [(8, 8), (24, 24), (48, 64), (64, 48), (96, 96)], ids=str)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_other_sizes(name, size):
    images = pictures("embedded", size)[:6]
    for severity in (1, 5):
        result = ours(images, name, severity)
        assert result.shape == images.shape and result.dtype == torch.uint8
        assert change(images, result) > 0.5 or severity == 1 or size == (8, 8)


@pytest.mark.parametrize("name", ("defocus_blur", "glass_blur", "motion_blur", "snow"))
def test_lengths_grow_with_the_side(name, monkeypatch):
    """Seen from far enough away, a large image is changed more as the small one is than it would be had the lengths stayed."""
    large = pictures("embedded", (96, 96)).repeat(4, 1, 1, 1)
    large = torch.full_like(large, 60) if name == "snow" else large
    small = shrunk(large).round().to(torch.uint8)

    def of_small():
        seen, expected = shrunk(ours(large, name, 5)) - shrunk(large), ours(small, name, 5).float() - small
        return float(seen.std((1, 2, 3)).mean() / expected.std((1, 2, 3)).mean())

    grown = of_small()
    for module in (corruptions_blur, corruptions_weather):
        monkeypatch.setattr(module, "side_scale", lambda images: 1)
    stayed = of_small()
    assert abs(math.log(grown)) < abs(math.log(stayed)) - 0.1 and 0.4 < grown < 1.2, (grown, stayed)


def shrunk(images: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.interpolate(images.float(), size=(32, 32), mode="area")


@pytest.mark.parametrize("name", ("contrast", "jpeg_compression", "snow"))
def test_many_images_are_done_in_parts(name, monkeypatch):
    images, seen = pictures("embedded"), []
    whole = ours(images, name, 2)
    work, levels = corruptions.RECIPES[name]
    monkeypatch.setitem(corruptions.RECIPES, name, (lambda part, *rest: seen.append(len(part)) or work(part, *rest), levels))
    monkeypatch.setattr(corruptions, "CHUNK", {"cpu": 20 * 3 * 32 * 32})
    parts = ours(images, name, 2)
    assert seen == [20, 20, 10]
    assert torch.equal(parts, whole) if name in CALM else abs(change(images, parts) / change(images, whole) - 1) < 0.1


def test_black_white_and_no_images():
    flat = torch.stack([torch.zeros(3, 32, 32), torch.full((3, 32, 32), 255)]).to(torch.uint8)
    for name in ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "contrast", "elastic_transform", "pixelate"):
        for severity in SEVERITIES:
            assert torch.equal(ours(flat, name, severity), flat), (name, severity)
    for severity in SEVERITIES:
        assert torch.equal(ours(flat, "jpeg_compression", severity), theirs(flat, "jpeg_compression", severity))
    assert all(ours(flat[:0], name, 1).shape == (0, 3, 32, 32) for name in CORRUPTIONS)
    assert torch.equal(ours(flat, "brightness", 4)[:, :, 0, 0], torch.tensor([[51] * 3, [255] * 3], dtype=torch.uint8))


def test_strided_images_and_autocast_change_nothing():
    images = pictures("embedded")[:8]
    for name in CORRUPTIONS:
        with torch.autocast("cpu"):
            found = ours(images.contiguous(memory_format=torch.channels_last), name, 3)
        assert found.is_contiguous() and torch.equal(found, ours(images, name, 3))


def test_errors_say_what_is_allowed():
    images, generator = pictures("embedded")[:2], torch.Generator()
    with pytest.raises(UserError, match="'motion_blurr'.*'motion_blur'"):
        corrupted(images, "motion_blurr", 1, generator)
    for severity in (0, 6, 2.0, True, "3", None):
        with pytest.raises(UserError, match=f"fog is {severity!r}.*1 to 5"):
            corrupted(images, "fog", severity, generator)
    with pytest.raises(UserError, match="torch.float32.*uint8"):
        corrupted(images.float(), "fog", 1, generator)
    with pytest.raises(UserError, match="ndarray.*uint8"):
        corrupted(images.numpy(), "fog", 1, generator)
    for wrong in (images[0], images[:, :1], images[..., :7]):
        with pytest.raises(UserError, match="shape.*N, 3, H, W.*at least 8"):
            corrupted(wrong, "fog", 1, generator)
    with pytest.raises(UserError, match="generator draws on cpu.*meta"):
        corrupted(images.to("meta"), "fog", 1, generator)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_on_a_gpu(name):
    images, generator = pictures("embedded").cuda(), torch.Generator("cuda")
    first = corrupted(images, name, 3, generator.manual_seed(0))
    torch.cuda.set_sync_debug_mode("error")
    try:
        again = corrupted(images, name, 3, generator.manual_seed(0))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert first.is_cuda and torch.equal(first, again)
    expected = ours(pictures("embedded"), name, 3)
    if name in CALM:
        assert change(expected, first.cpu()) < 0.1
    else:
        assert abs(change(pictures("embedded"), first.cpu()) / change(pictures("embedded"), expected) - 1) < 0.1
