import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from helpers.insight import pictures, thumbnail_layout


def axes(rows=1, columns=1):
    from matplotlib.figure import Figure

    return Figure(figsize=(2, 2)).subplots(rows, columns, squeeze=False)


def written(ax) -> int:
    target = io.BytesIO()
    ax.figure.savefig(target, format="png")
    return target.tell()


def noise(*shape):
    return np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)


def test_map_frames_each_thumbnail_in_its_class_colour():
    ax, points = axes()[0, 0], np.random.default_rng(0).normal(size=(60, 2))
    labels, looks = np.arange(60) % 2, [("#ff0000", "o"), ("#0000ff", "s")]
    layout = thumbnail_layout(points, 12)
    pictures.draw_thumbnail_map(ax, points, labels, noise(len(layout.rows), 8, 8, 3), layout, looks)
    frames = [patch.get_edgecolor()[:3] for patch in ax.patches]
    assert frames == [(0, 0, 1) if labels[row] else (1, 0, 0) for row in layout.rows]
    low, high = ax.get_xlim()
    assert low < points[:, 0].min() and high > points[:, 0].max()
    assert written(ax)


def test_thumbnails_lie_in_their_frames_in_a_drawing_too():
    ax, points = axes()[0, 0], np.random.default_rng(0).normal(size=(60, 2))
    layout = thumbnail_layout(points, 12)
    looks = [("#ff0000", "o"), ("#0000ff", "s")]
    green = np.full((len(layout.rows), 8, 8, 3), (0, 200, 0), np.uint8)
    pictures.draw_thumbnail_map(ax, points, np.arange(60) % 2, green, layout, looks)
    drawing = io.BytesIO()
    ax.figure.savefig(drawing, format="svg", dpi=100)
    ((encoded, left),) = re.findall(r'<image xlink:href="data:image/png;base64,([^"]+)"[^>]* x="([\d.]+)"', drawing.getvalue().decode())
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB"))
    columns = np.flatnonzero((pixels == (0, 200, 0)).all(2).any(0))
    found = [float(left) + 72 / 100 * each for each in (columns[0], columns[-1] + 1)]
    frames = [ax.transData.transform(patch.get_bbox())[:, 0] * 72 / ax.figure.dpi for patch in ax.patches]
    assert found == pytest.approx([np.min(frames), np.max(frames)], abs=1.5)


def test_map_needs_one_thumbnail_for_each_place():
    points = np.random.default_rng(0).normal(size=(60, 2))
    with pytest.raises(ValueError):
        pictures.draw_thumbnail_map(axes()[0, 0], points, np.zeros(60, int), noise(1, 8, 8, 3), thumbnail_layout(points, 12), [("k", "o")])


def test_saliency_rows_survive_a_few_extreme_pixels_and_empty_maps():
    grid = axes(2, 2)
    maps = np.full((2, 16, 16), 0.1, np.float16)
    maps[0, 3, 3], maps[1] = 1, 0
    pictures.draw_saliency_rows(grid, noise(2, 16, 16, 3), {"gradient": maps}, ["a", "b"])
    assert grid[1, 0].images[0].get_clim() == pytest.approx((0, 0.1), abs=1e-3)
    assert grid[1, 1].images[0].get_clim() == (0, 1)
    assert grid[1, 0].get_ylabel() == "gradient" and grid[0, 1].get_title() == "b"
    assert written(grid[0, 0])


def test_neighbours_of_another_class_are_crossed():
    grid = axes(2, 3)
    right = np.array([[True, False], [True, True]])
    pictures.draw_neighbour_rows(grid, noise(2, 8, 8, 3), noise(2, 2, 8, 8, 3), right, ["cat", "dog"])
    crossed = [[len(ax.texts) == 1 for ax in row[1:]] for row in grid]
    assert crossed == (~right).tolist()
    assert grid[0, 2].spines["left"].get_edgecolor() != grid[0, 1].spines["left"].get_edgecolor()
    assert written(grid[0, 0])


def test_confusion_is_in_percent_of_the_row_and_numbered_where_there_is_room():
    ax = axes()[0, 0]
    pictures.draw_confusion(ax, [[3, 1, 0], [0, 0, 0], [0, 0, 8]], ("cat", "dog", "ship"))
    assert {text.get_position(): text.get_text() for text in ax.texts} == {(0, 0): "75", (1, 0): "25", (2, 2): "100"}
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cat", "dog", "ship"]
    many = axes()[0, 0]
    pictures.draw_confusion(many, np.eye(30), [f"class {index}" for index in range(30)])
    assert not many.texts and written(many)
