"""The embedded dataset: seeded, shaped as asked, and hard for raw pixels."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from helpers.core.errors import UserError
from helpers.data import load
from helpers.data.embedded import draw
from helpers.data.shapes import SHAPES, shape


def test_draws_the_same_again_and_other_images_for_another_seed_or_part():
    first, second, other = draw(200, seed=3), draw(200, seed=3), draw(200, seed=4)
    assert all((a == b).all() for a, b in zip(first, second, strict=True))
    assert (first[0] != other[0]).any()
    assert (first[0] != draw(200, seed=3, part="test")[0]).any()


@pytest.mark.parametrize(("size", "classes"), [(32, 10), (17, 3), (96, 21)])
def test_any_size_and_class_count(size, classes):
    images, labels, masks = draw(4 * classes, size=size, classes=classes)
    assert images.shape == (4 * classes, 3, size, size) and images.dtype == np.uint8
    assert masks.shape == (4 * classes, size, size) and masks.dtype == np.uint8
    assert np.bincount(labels).tolist() == [4] * classes


def test_masks_are_true():
    images, _, masks = draw(300)
    inside, outside = masks == 255, masks == 0
    assert (inside.sum((1, 2)) > 10).all(), "every image shows its shape"
    assert (outside.sum((1, 2)) > 100).all(), "and its background"
    for image, shown, hidden in zip(images, inside, outside, strict=True):
        assert (np.ptp(image[:, shown], axis=1) == 0).all() and (np.ptp(image[:, hidden], axis=1) == 0).all()
        assert np.abs(image[:, shown].mean() - image[:, hidden].mean()) > 10


def test_polarity_is_a_nuisance():
    images, labels, masks = draw(400)
    brighter = np.array([i[:, m == 255].mean() > i[:, m == 0].mean() for i, m in zip(images, masks, strict=True)])
    for label in range(10):
        assert 0.2 < brighter[labels == label].mean() < 0.8


def test_switches():
    plain, labels, masks = draw(300, seed=1)
    own = draw(300, seed=1, background="own")
    assert (own[2] == masks).all()
    assert all(len(np.unique(image[0][mask == 0])) > 5 for image, mask in zip(own[0], own[2], strict=True))
    coloured = draw(300, seed=1, colour_means=True)[0]
    assert _within_over_between(coloured, labels, masks) < 0.5 * _within_over_between(plain, labels, masks)
    turned = draw(300, seed=1, upright=False)[2]
    stripes = labels == list(SHAPES).index("stripes")
    assert _rows_alike(masks[stripes]) > 2 * _rows_alike(turned[stripes])


def test_from_above_several_lie_about_and_no_side_is_up():
    images, labels, masks = draw(400, seen="above", size=64)
    assert (draw(400, seen="above", size=64)[0] == images).all() and (draw(400, seen="above", size=64, seed=1)[0] != images).any()
    pieces = [_pieces(mask > 127) for mask, label in zip(masks, labels, strict=True) if label == list(SHAPES).index("disc")]
    assert 2 <= np.mean(pieces) <= 4 and max(pieces) == 4 and len(set(pieces)) == 3
    for label in (list(SHAPES).index("stripes"), list(SHAPES).index("triangle")):
        assert 0.8 < _rows_alike(masks[labels == label]) < 1.25
    assert (masks.reshape(400, -1).max(1) == 255).all() and (masks == 0).reshape(400, -1).mean(1).min() > 0.3
    with pytest.raises(UserError, match="'above', 'front'|'front', 'above'|front"):
        draw(4, seen="below")


def _pieces(mask) -> int:
    """How many separate things a mask shows."""
    from scipy.ndimage import label

    return label(mask)[1]


def _within_over_between(images, labels, masks):
    """Spread of the shape's colour (without lightness) inside classes over that between them."""
    colour = np.array([image[:, mask == 255].mean(1) for image, mask in zip(images, masks, strict=True)])
    colour -= colour.mean(1, keepdims=True)
    means = np.array([colour[labels == label].mean(0) for label in range(10)])
    return np.linalg.norm(colour - means[labels], axis=1).mean() / np.linalg.norm(means - means.mean(0), axis=1).mean()


def _rows_alike(masks):
    """How much less a mask changes along its rows than down its columns."""
    masks = masks.astype(float)
    return np.abs(np.diff(masks, axis=1)).mean() / np.abs(np.diff(masks, axis=2)).mean()


def test_every_named_shape_fills_its_square_and_no_two_are_alike():
    axis = np.linspace(-1, 1, 64, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    inside = [shape(index)[1](x, y) < 0 for index in range(len(SHAPES) + 4)]
    assert all(0.1 < mask.mean() < 0.9 for mask in inside)
    for index, mask in enumerate(inside):
        for other in inside[:index]:
            assert (mask != other).mean() > 0.04


@pytest.mark.parametrize("seen", ["front", "above"])
def test_raw_pixels_say_little(monkeypatch, tmp_path, seen):
    monkeypatch.setenv("CACHE_DIR", str(tmp_path))
    data = load("embedded", options={"seen": seen})
    train, test = (F.normalize(torch.from_numpy(data.split(part).images).flatten(1).float(), dim=1) for part in ("train", "test"))
    near = (test @ train.T).topk(10).indices
    votes = F.one_hot(torch.from_numpy(data.split("train").labels)[near], 10).sum(1)
    accuracy = (votes.argmax(1).numpy() == data.split("test").labels).mean()
    assert 0.12 < accuracy < 0.40


def test_load_packs_it_and_takes_options(monkeypatch, tmp_path):
    monkeypatch.setenv("CACHE_DIR", str(tmp_path))
    data = load("embedded", image_size=24, options={"classes": 4, "train": 40, "test": 12})
    assert data.image_size == 24 and data.classes == ("disc", "cross", "triangle", "ring") and len(data.hash) == 16
    assert len(data.split("train")) == 40 and len(data.split("test")) == 12
    assert (data.split("train").images == draw(40, size=24, classes=4)[0]).all()
    assert load("embedded", options={"size": 24, "classes": 4, "train": 40, "test": 12}).hash == data.hash
    assert load("embedded", image_size=24, options={"classes": 4, "train": 40, "test": 12, "seed": 1}).hash != data.hash


@pytest.mark.parametrize(
    ("options", "says"),
    [({"colour_mean": True}, "colour_means"), ({"classes": 0}, "classes"), ({"background": "plane"}, "plain"), ({"train": 0}, "train")],
)
def test_wrong_options_are_errors_that_name_them(monkeypatch, tmp_path, options, says):
    monkeypatch.setenv("CACHE_DIR", str(tmp_path))
    with pytest.raises(UserError, match=says):
        load("embedded", options=options)
    with pytest.raises(UserError, match="image_size=32 and size=64"):
        load("embedded", image_size=32, options={"size": 64})
