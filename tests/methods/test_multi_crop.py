"""Small views through a vision transformer: the methods that take them train one as they train a convolutional net."""

import pytest
import torch

from helpers.core.errors import UserError

SMALL = {
    "dino": {"hidden": 32, "bottleneck": 16, "out": 24},
    "swav": {"hidden": 32, "out": 16, "prototypes": 8, "queue": 16},
    "relic_v2": {"hidden": 32, "out": 16},
}


@pytest.mark.parametrize("positions", ["normal", "sincos"])
@pytest.mark.parametrize("name", sorted(SMALL))
def test_gradients_reach_every_parameter_through_views_of_two_sizes(contract, name, positions):
    method = contract.make(name, "vit_micro", stem="patch8", net={"positions": positions}, **SMALL[name])
    assert sorted(set(method.views.sizes)) == [16, 32]
    assert contract.gradients(method, 32) == []


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_small_view_gives_the_loss_a_gradient_of_its_own(contract, name):
    method = contract.make(name, "vit_micro", stem="patch8", **SMALL[name])
    views, batch = contract.step(method)
    views[-1].requires_grad_()
    method.loss(views, batch)[0].backward()
    assert views[-1].shape[-1] == 16 and (views[-1].grad.flatten(1).abs().sum(1) > 0).all()


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_resume_is_exact(contract, tmp_path, name):
    assert contract.survives(lambda: contract.make(name, "vit_micro", stem="patch4", size=24, **SMALL[name]), tmp_path) == []


def test_patches_that_do_not_fill_the_small_views_are_refused_before_the_first_step(contract):
    with pytest.raises(UserError, match="patches of 8 x 8, and got images of 12 x 12"):
        contract.make("dino", "vit_micro", stem="patch8", size=24, **SMALL["dino"])


def test_bf16_takes_both_sizes(contract):
    method = contract.make("dino", "vit_micro", stem="patch8", **SMALL["dino"])
    views, batch = contract.step(method)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = method.loss(views, batch)
    assert loss.dtype == torch.float32 and loss.isfinite()


# The four classes differ in hue, which these views keep while they change lightness, place and scale.
HUE_KEPT = {"crop_scale": (0.5, 1), "jitter": 1, "brightness": 0.8, "contrast": 0.8, "saturation": 0, "hue": 0, "grey": 0}
LEARNING = {
    "dino": {"epochs": 5, "hidden": 128, "bottleneck": 64, "out": 512, "momentum": 0.98, "teacher_temperature": 0.02},
    "swav": {"epochs": 3, "hidden": 256, "out": 64, "prototypes": 48, "queue": 0, "epsilon": 0.03},
    "relic_v2": {"epochs": 5, "hidden": 256, "out": 64, "momentum": 0.5, "temperature": 0.2, "views": {"count": 2, "mask": 0.0}},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LEARNING))
def test_a_vit_learns_from_views_of_two_sizes(contract, name):
    options = dict(LEARNING[name])
    epochs, views = options.pop("epochs"), HUE_KEPT | options.pop("views", {})
    before, after = contract.learns(
        lambda: contract.make(name, "vit_micro", stem="patch6", size=24, views=views, **options),
        epochs=epochs,
        rate=1e-3,
        batch_size=50,
        train=1000,
        size=24,
        classes=4,
        colour_means=True,
    )
    print(f"{name} on a ViT: kNN {before:.1f} -> {after:.1f}")
    assert after > before + 10
