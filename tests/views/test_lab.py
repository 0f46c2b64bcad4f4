import colorsys

import pytest
import torch

from helpers.views import Views, ViewSettings, rgb_to_lab, unnormalised

KNOWN = {  # published values for sRGB under D65
    (255, 255, 255): (100, 0, 0),
    (0, 0, 0): (0, 0, 0),
    (255, 0, 0): (53.24, 80.09, 67.20),
    (0, 255, 0): (87.73, -86.18, 83.18),
    (0, 0, 255): (32.30, 79.19, -107.86),
    (128, 128, 128): (53.59, 0, 0),
    (255, 255, 0): (97.14, -21.55, 94.48),
    (0, 255, 255): (91.11, -48.09, -14.13),
    (255, 0, 255): (60.32, 98.23, -60.82),
}


def slowly(red, green, blue):
    """The textbook's formula for one colour in plain numbers, white's coordinates divided out after the matrix."""
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in (red, green, blue)]
    matrix = [(0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505)]
    shares = [sum(m * v for m, v in zip(row, linear, strict=True)) / white for row, white in zip(matrix, (0.9505, 1, 1.089), strict=True)]
    x, y, z = (v ** (1 / 3) if v > 216 / 24389 else (24389 / 27 * v + 16) / 116 for v in shares)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


@pytest.mark.parametrize("colour", KNOWN)
def test_known_colours(colour):
    image = torch.tensor(colour).view(1, 3, 1, 1) / 255
    torch.testing.assert_close(rgb_to_lab(image).flatten(), torch.tensor(KNOWN[colour]).float(), atol=0.05, rtol=0)


def test_any_colour_is_the_textbooks():
    colours = [colorsys.hsv_to_rgb(h / 24, s / 4, v / 40) for h in range(24) for s in range(5) for v in range(41)]
    images = torch.tensor(colours).view(-1, 41, 5 * 24, 3)[:, :, :, :].permute(0, 3, 1, 2)
    expected = torch.tensor([slowly(*colour) for colour in colours]).view(-1, 41, 5 * 24, 3).permute(0, 3, 1, 2)
    torch.testing.assert_close(rgb_to_lab(images), expected, atol=0.05, rtol=0)


def test_greys_have_no_colour_and_lightness_rises():
    lab = rgb_to_lab(torch.linspace(0, 1, 256).view(1, 1, 16, 16).expand(2, 3, 16, 16))
    assert lab[:, 1:].abs().max() < 1e-3
    assert (lab[0, 0].flatten().diff() > 0).all() and lab[:, 0].min() == 0


def test_unnormalised_is_the_way_back():
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    views = Views(ViewSettings(count=1), 16)
    normal = views.plain(images)
    before = normal.clone()
    torch.testing.assert_close(unnormalised(normal, views.settings), images / 255, atol=1e-6, rtol=0)
    assert torch.equal(normal, before), "the views are left alone"
    assert unnormalised(normal + 100, views.settings).max() == 1
