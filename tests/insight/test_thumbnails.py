import numpy as np
import pytest
import torch

from helpers.core.errors import UserError
from helpers.insight import keep, kept, montage, thumbnail_layout, thumbnails


def test_thumbnails_average_what_they_shrink():
    stripes = torch.zeros(2, 3, 48, 48, dtype=torch.uint8)
    stripes[0, :, :, ::2] = 200  # finer than a thumbnail shows: without antialiasing, stripes again
    stripes[1, 0] = 255
    small = thumbnails(stripes, 12)
    assert small.shape == (2, 12, 12, 3) and small.dtype == np.uint8
    assert abs(small[0, 1:-1, 1:-1].astype(int) - 100).max() <= 2
    assert (small[1] == [255, 0, 0]).all()
    np.testing.assert_array_equal(small, thumbnails(stripes.numpy(), 12))


def test_thumbnails_of_floats_are_refused():
    with pytest.raises(UserError, match="uint8"):
        thumbnails(torch.rand(1, 3, 8, 8))


def test_montage_places_pictures_row_by_row():
    pictures = np.stack([np.full((4, 4, 3), 10 * place, np.uint8) for place in range(5)])
    sheet = montage(pictures, columns=3, gap=2)
    assert sheet.shape == (10, 16, 3)
    assert (sheet[6:10, 6:10] == 40).all() and (sheet[6:10, 12:] == 255).all() and (sheet[4:6] == 255).all()


@pytest.mark.parametrize("side", [24, 64])
def test_kept_pictures_are_close_and_far_smaller(side):
    ramp = np.linspace(0, 255, side, dtype=np.uint8)
    pictures = np.stack([np.broadcast_to(ramp[:, None], (side, side)).T, np.roll(np.broadcast_to(ramp, (side, side)), 9, 0).T])
    colours = np.stack([pictures, pictures[:, ::-1], 255 - pictures], axis=3)
    data = keep(colours)
    assert data.dtype == np.uint8 and data.nbytes < colours.nbytes / 2
    assert kept(data).shape == colours.shape
    assert abs(kept(data).astype(int) - colours).mean() < 4


def test_kept_maps_are_grey():
    maps = np.random.default_rng(0).random((3, 16, 16)).astype(np.float16)
    assert kept(keep(maps)).shape == (3, 16, 16)
    assert abs(kept(keep(maps)) / 255 - maps).mean() < 0.05
    with pytest.raises(UserError, match="square"):
        keep(np.zeros((2, 8, 9), np.uint8))


@pytest.mark.parametrize("count", [1, 20, 60])
def test_layout_never_overlaps_and_stays_near(count):
    points = np.random.default_rng(0).normal(size=(500, 2)) * [30, 12] + [100, -40]
    layout = thumbnail_layout(points.astype(np.float16), count)
    assert count / 2 <= len(layout.rows) <= count
    assert len(set(layout.rows.tolist())) == len(layout.rows)
    apart = np.abs(layout.positions[:, None] - layout.positions[None]).max(2) + 1e9 * np.eye(len(layout.rows))
    assert apart.min() >= layout.width * 0.999
    assert np.abs(points[layout.rows] - layout.positions).max() <= layout.width / 2 + 0.1
    again = thumbnail_layout(points.astype(np.float16), count)
    assert np.array_equal(layout.rows, again.rows)


def test_layout_shows_the_image_nearest_to_the_middle_of_its_square():
    points = [[0, 0], [0.9, 1.1], [1.4, 1.4], [4, 4], [3.2, 2.9], [0, 4], [4, 0]]
    layout = thumbnail_layout(points, 4)
    assert layout.width == 2
    assert dict(zip(map(tuple, layout.positions.tolist()), layout.rows.tolist(), strict=True)) == {
        (1, 1): 1,
        (1, 3): 5,
        (3, 1): 6,
        (3, 3): 4,
    }


def test_layout_of_a_collapsed_map_is_one_thumbnail():
    assert thumbnail_layout(np.zeros((40, 2)), 10).rows.tolist() == [0]
    with pytest.raises(UserError, match="0 points"):
        thumbnail_layout(np.zeros((0, 2)), 10)
