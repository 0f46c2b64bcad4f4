"""RotNet: exact turns of each image in one batch, the right answer for each of them, and what it learns."""

import math

import pytest
import torch

from helpers.core.errors import UserError
from helpers.models import at_block

STEMS = {"vit_micro": "patch8", "convnext_micro": "patch4"}


def test_every_image_stands_in_the_batch_in_all_turns_and_no_pixel_is_made_up(contract):
    method = contract.make("rotnet")
    views, batch = contract.step(method, 5)
    copies = method.prepare(views, batch).unflatten(0, (4, 5))
    for turn in range(4):
        for image, turned in zip(views[0], copies[turn], strict=True):
            assert torch.equal(turned, torch.rot90(image, turn, (1, 2)))
            assert torch.equal(turned.flatten().sort().values, image.flatten().sort().values)


def test_answers_belong_to_the_copies_and_the_loss_is_their_mean_cross_entropy(contract):
    method = contract.make("rotnet", views={"count": 2}).eval()
    views, batch = contract.step(method, 3)
    outputs = method.embed(method.prepare(views, batch))
    assert outputs["turn"].shape == (3, 2, 4, 4) and outputs["z"].shape[:2] == (3, 2)
    total, right = 0.0, 0
    for image in range(3):
        for view in range(2):
            for turn in range(4):
                features = method.encoder(torch.rot90(views[view][image], turn, (1, 2))[None])
                scores = method.turn(features)[0]
                assert torch.allclose(outputs["turn"][image, view, turn], scores, atol=1e-4)
                weights = [math.exp(s) for s in scores.tolist()]
                total -= math.log(weights[turn] / sum(weights))
                right += int(scores.argmax()) == turn
            assert torch.allclose(outputs["z"][image, view], method.encoder(views[view][image][None])[0], atol=1e-4)
    loss, logs = method.criterion(outputs, batch)
    assert loss.item() == pytest.approx(total / 24, abs=1e-5)
    assert logs["turn_accuracy"].item() == pytest.approx(100 * right / 24)
    assert not outputs["z"].requires_grad


def test_some_turns_alone_can_be_asked(contract):
    method = contract.make("rotnet", turns=(180, 0))
    views, batch = contract.step(method, 4)
    copies = method.prepare(views, batch)
    assert torch.equal(copies[:4], views[0]) and torch.equal(copies[4:], views[0].flip(2, 3))
    outputs = method.embed(copies)
    outputs["turn"] = torch.zeros_like(outputs["turn"])
    assert method.criterion(outputs, batch)[0].item() == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("turns", [(0, 45), (0, 0), (90,), (0, 90, 90)])
def test_impossible_turns_are_refused(contract, turns):
    with pytest.raises(UserError, match="90"):
        contract.make("rotnet", turns=turns)


@pytest.mark.parametrize("encoder", ["resnet_tiny", "vit_micro", "convnext_micro", "mobilenetv2"])
def test_gradients_reach_every_parameter(contract, encoder):
    method = contract.make("rotnet", encoder, stem=STEMS.get(encoder, "auto"))
    assert contract.gradients(method, 32 if encoder == "resnet_tiny" else 8) == []


def test_it_survives_a_stop(contract, tmp_path):
    assert contract.survives(lambda: contract.make("rotnet", size=16), tmp_path) == []


@pytest.mark.slow
def test_it_learns_shapes_in_the_middle_of_the_net(contract):
    """Upright shapes; the third of four blocks says more than the last."""
    before, after = contract.learns(
        lambda: contract.make("rotnet", size=24),
        read=lambda encoder: at_block(encoder, "layer3"),
        epochs=4,
        rate=8e-3,
        batch_size=16,
        train=1000,
        size=24,
        classes=5,
    )
    print(f"RotNet: kNN {before:.1f} -> {after:.1f}")
    assert after > before + 10
