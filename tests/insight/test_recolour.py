import numpy as np
import pytest
import torch

from helpers.core.errors import UserError
from helpers.insight import flips, tinted
from helpers.views.colour import grey


def pictures():
    return torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("colour", "channel"), [("red", 0), ("blue", 2)])
def test_a_tint_moves_colour_and_keeps_luma(colour, channel):
    images = pictures()
    before, others = images.float(), [c for c in range(3) if c != channel]
    share = [before[:, channel].mean() - before[:, others].mean()]
    for strength in (0.3, 0.6, 1.0):
        after = tinted(images, colour, strength).float()
        assert (grey(after) - grey(before)).abs().max() <= 1
        share.append(after[:, channel].mean() - after[:, others].mean())
    assert all(later > earlier + 5 for earlier, later in zip(share, share[1:], strict=False))
    torch.testing.assert_close(tinted(images, colour, 0), images)


def test_full_strength_leaves_only_the_tint_and_grey_ends_have_none():
    images = torch.full((1, 3, 1, 3), 128, dtype=torch.uint8)
    images[..., 0], images[..., 2] = 0, 255
    after = tinted(images.numpy(), "blue", 1.0)[0, :, 0]
    assert after[:, 0].tolist() == [0, 0, 0] and after[:, 2].tolist() == [255, 255, 255]
    assert after[2, 1] == 255 and after[0, 1] == after[1, 1] < 128


def test_wrong_tints_are_named():
    with pytest.raises(UserError, match="'blue'"):
        tinted(pictures(), "bleu", 0.5)
    with pytest.raises(UserError, match="1.5"):
        tinted(pictures(), "red", 1.5)


def test_flips_count_only_images_that_were_something_else():
    before = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2], dtype=np.uint8)
    after = np.array([2, 2, 0, 1, 2, 2, 2, 0, 1, 1], dtype=np.uint8)
    found = flips(before, after, ("car", "plane", "ship"), "ship")
    assert found["images"] == 10 and found["changed"] == 6
    assert found["counts"] == {"car": 1, "plane": 2, "ship": 3}
    assert found["to_target"] == pytest.approx(60)  # 3 of the 5 that were no ship
    assert found["to_others"] == pytest.approx((100 / 7 + 25) / 2)
    assert found["most"] == "ship"


def test_no_change_is_no_flip_and_classes_are_checked():
    assert flips([0, 1], [0, 1], ("car", "ship"), "ship")["most"] is None
    with pytest.raises(UserError, match="'ship'"):
        flips([0], [0], ("car", "ship"), "shop")
    with pytest.raises(UserError, match="2 before, 1 after"):
        flips([0, 1], [0], ("car", "ship"), "ship")
