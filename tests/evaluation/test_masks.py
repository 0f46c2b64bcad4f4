import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.core.errors import UserError
from helpers.data import embedded
from helpers.evaluation.backgrounds import swappable
from helpers.evaluation.masks import grabcut_masks, overlap, saliency_masks, true_masks
from helpers.views import saliency

REAL = Path(os.environ.get("DATA_DIR", "data"))
OWN = {"background": "own", "train": 60, "test": 200}


def squares(count=3, size=32):
    """A red square on blue ground, with a little noise; uint8, and its masks."""
    images = torch.tensor([30.0, 40, 160])[None, :, None, None].repeat(count, 1, size, size)
    images[:, :, 10:24, 8:22] = torch.tensor([200.0, 60, 40])[:, None, None]
    images += 6 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(count, 1, size, size)
    masks[:, :, 10:24, 8:22] = 1
    return images.clamp(0, 255).byte(), masks


def central_squares(shares, size):
    """Masks of a square in the middle with these shares of the area."""
    away = (torch.arange(size) + 0.5 - size / 2).abs() * 2 < (shares.sqrt() * size)[:, None]
    return (away[:, None, :, None] & away[:, None, None, :]).float()


def test_saliency_masks_are_those_of_the_views_however_many():
    images = torch.from_numpy(embedded.draw(700, background="own")[0])
    torch.testing.assert_close(saliency_masks(images), saliency(images.float() / 255), atol=1e-3, rtol=0)
    assert saliency_masks(images[:0]).shape == (0, 1, 32, 32)


@pytest.mark.parametrize(("size", "least"), [(32, 0.8), (64, 0.8)])  # measured: 0.892 and 0.875; the whole image: 0.15
def test_saliency_finds_the_drawn_objects(size, least):
    images = torch.from_numpy(embedded.draw(200, part="test", size=size, background="own")[0])
    truth = true_masks("embedded", "test", OWN, size, None)
    found = saliency_masks(images)
    assert overlap(found, truth).mean() > least > overlap(torch.ones_like(truth), truth).mean() + 0.5
    assert swappable(found).float().mean() > 0.9


def test_true_masks_are_those_of_the_datasets_images():
    for split, count in (("train", 60), ("test", 200)):
        masks = true_masks("embedded", split, OWN, None, None)
        assert masks.shape == (count, 1, 32, 32) and masks.dtype == torch.float32 and masks.min() == 0 and masks.max() == 1
        _, drawn = embedded.find(None, OWN)
        images = next(iter(embedded.find(None, OWN)[0].open(0.2).splits[split].items()))[1]
        again, _, expected = embedded.draw(count, part=split, **{key: drawn[key] for key in drawn if key not in ("train", "test")})
        assert np.array_equal(images, again[0].transpose(1, 2, 0))
        assert torch.equal((masks[:, 0] * 255).round().byte(), torch.from_numpy(expected))


def test_true_masks_of_some_images_at_another_size():
    masks = true_masks("embedded", "train", OWN, 48, None)
    assert masks.shape == (60, 1, 48, 48)
    for some in ([7, 3, 3], np.array([7, 3, 3]), torch.tensor([7, 3, 3])):
        assert torch.equal(true_masks("embedded", "train", OWN, 48, some), masks[[7, 3, 3]])
    assert true_masks("embedded", "train", OWN, 48, []).shape == (0, 1, 48, 48)


def test_overlap_is_intersection_over_union():
    found, truth = torch.zeros(4, 1, 4, 4), torch.zeros(4, 1, 4, 4)
    found[0, :, :2], truth[0, :, 1:3] = 0.6, 0.9  # two rows and two, one of them shared
    found[1], truth[2] = 1, 1
    assert overlap(found, truth).tolist() == pytest.approx([1 / 3, 0, 0, 1])
    assert overlap(found, truth, threshold=0.7).tolist() == pytest.approx([0, 0, 0, 1])
    assert overlap(truth, found, threshold=0.7).tolist() == pytest.approx([0, 0, 0, 1])


def test_grabcut_cuts_what_is_plain_to_see_and_does_so_again():
    pytest.importorskip("cv2")
    images, truth = squares()
    masks = grabcut_masks(images)
    assert masks.shape == truth.shape and masks.dtype == torch.float32 and set(masks.unique().tolist()) == {0, 1}
    assert overlap(masks, truth).min() > 0.9
    assert torch.equal(masks, grabcut_masks(images.numpy()))
    assert overlap(grabcut_masks(images[..., ::2, ::2]), truth[..., ::2, ::2]).min() > 0.8, "a pixel of frame is left at 16 px too"
    assert grabcut_masks(images[:0]).shape == (0, 1, 32, 32)


def test_grabcut_finds_more_in_a_wide_rectangle_and_each_image_for_itself():
    pytest.importorskip("cv2")
    images, _, truth = embedded.draw(60, background="own")
    images, truth = torch.from_numpy(images), torch.from_numpy(truth)[:, None].float() / 255
    wide, narrow = grabcut_masks(images), grabcut_masks(images, 0.1)
    judged = swappable(wide)
    assert judged.sum() > swappable(narrow).sum() + 5
    assert overlap(wide, truth)[judged].mean() > 0.7  # measured on 40: 0.85
    assert torch.equal(wide[7:], grabcut_masks(images[7:])), "nothing is left over from the images before"


def real(name, count, size):
    """Images from all over a dataset's file, whose rows go class by class."""
    parquet = pytest.importorskip("pyarrow.parquet")
    file = REAL / name
    if not file.is_file():
        pytest.skip(f"needs {name} in DATA_DIR")
    file, images = parquet.ParquetFile(file), []
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group, columns=["image"]).column("image")
        for row in np.linspace(0, len(rows) - 1, -(-count // file.num_row_groups)).astype(int).tolist():
            image = Image.open(io.BytesIO(rows[row].as_py()["bytes"])).convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
            images.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
    return torch.stack(images[:count])


@pytest.mark.parametrize(("name", "size"), [("cifar10/test.parquet", 32), ("stl10/train.parquet", 64), ("aid/all.parquet", 64)])
def test_saliency_agrees_with_grabcut_more_than_the_middle_of_real_images_does(name, size):
    pytest.importorskip("cv2")
    images = real(name, 50, size)
    cut, found = grabcut_masks(images), saliency_masks(images)
    judged = swappable(cut)  # where GrabCut gave up there is nothing to agree with
    assert judged.sum() >= 5
    middle = central_squares((found > 0.5).float().mean((1, 2, 3)), size)
    each = {"saliency": found, "middle": middle, "whole": torch.ones_like(cut)}
    scores = {name: overlap(mask, cut)[judged].mean().item() for name, mask in each.items()}
    assert scores["saliency"] > scores["whole"] + 0.05 and scores["saliency"] > scores["middle"], scores


def test_what_is_wrong_is_named(monkeypatch):
    images, masks = squares()
    with pytest.raises(UserError, match="'cifar10' has no true masks; take masks = 'saliency'.*embedded"):
        true_masks("cifar10", "train", {}, 32, None)
    with pytest.raises(UserError, match="Unknown split of embedded 'tset'.*'test'"):
        true_masks("embedded", "tset", {}, None, None)
    with pytest.raises(UserError, match="Unknown option of the embedded dataset 'colour'"):
        true_masks("embedded", "test", {"colour": 1}, None, None)
    with pytest.raises(UserError, match="Images 3 to 200 .*0 to 199"):
        true_masks("embedded", "test", OWN, None, [3, 200])
    with pytest.raises(UserError, match="same shape"):
        overlap(masks, masks[:2])
    with pytest.raises(UserError, match="uint8"):
        saliency_masks(images.float())
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(UserError, match="pip install opencv-python-headless"):
        grabcut_masks(images)
    monkeypatch.undo()
    pytest.importorskip("cv2")
    for border, told in ((0, "above 0"), (0.5, "below 0.5")):
        with pytest.raises(UserError, match=told):
            grabcut_masks(images, border)
    with pytest.raises(UserError, match="leaves nothing of images of 4 x 4"):
        grabcut_masks(images[:, :, :4, :4], 0.49)
