"""SimSiam: gradients through the predictor's side alone, a predictor whose rate no schedule moves."""

import pytest
import torch
from torch import nn

from helpers.core.errors import UserError
from helpers.methods.losses import negative_cosine
from helpers.training.optimizers import build_optimizer, set_rate

STEMS = {"vit_micro": "patch8", "convnext_micro": "patch4", "resnet_tiny": "stride2"}


def simsiam(contract, encoder="resnet_tiny", **options):
    small = {"hidden": 32, "out": 32, "bottleneck": 8}
    return contract.make("simsiam", encoder, stem=STEMS.get(encoder, "auto"), **(small | options))


@pytest.mark.parametrize("encoder", ["resnet_tiny", "vit_micro", "convnext_micro", "mobilenetv2"])
def test_gradients_reach_every_trained_parameter(contract, encoder):
    assert contract.gradients(simsiam(contract, encoder), 32) == []


def test_no_gradient_flows_through_the_side_that_is_predicted(contract):
    method = simsiam(contract)
    predicted = torch.randn(6, 2, 32, requires_grad=True)
    z = torch.randn(6, 2, 32, requires_grad=True)
    loss, _ = method.criterion({"prediction": predicted, "z": z}, None)
    loss.backward()
    expected = (negative_cosine(predicted[:, 0], z[:, 1]) + negative_cosine(predicted[:, 1], z[:, 0])) / 2
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    assert z.grad is None and (predicted.grad.abs().sum((0, 2)) > 0).all()


def test_the_projector_ends_in_a_norm_without_weights(contract):
    last = simsiam(contract).projector[-1]
    assert isinstance(last, nn.BatchNorm1d) and not last.affine


@pytest.mark.parametrize("name", ["sgd", "adamw", "lars", "muon"])
def test_the_predictors_rate_is_fixed_and_the_others_follow_the_schedule(contract, name):
    method = simsiam(contract)
    optimizer = build_optimizer(name, method.parameter_groups(), rate=0.1)
    predictor = {id(p) for p in method.predictor.parameters()}

    def rates():
        return {(id(p) in predictor, group["lr"]) for group in optimizer.param_groups for p in group["params"]}

    set_rate(optimizer, 0.02, 0.9, maximum=0.1)
    assert rates() == {(True, 0.1), (False, 0.02)}
    optimizer.load_state_dict(optimizer.state_dict())
    set_rate(optimizer, 0.0, maximum=0.1)  # the first step of a warm-up: the predictor takes no part in it
    assert rates() == {(True, 0.1), (False, 0.0)}
    set_rate(optimizer, 0.5)  # a range test moves all
    assert rates() == {(True, 0.5), (False, 0.5)}


def test_biases_and_norms_of_the_predictor_do_not_decay_either(contract):
    for group in simsiam(contract).parameter_groups():
        assert all((p.ndim > 1) == group["decay"] for p in group["params"]) and group["params"]


def test_a_resume_is_exact(contract, tmp_path):
    assert contract.survives(lambda: simsiam(contract), tmp_path) == []


def test_one_view_is_refused(contract):
    with pytest.raises(UserError, match="at least 2 views"):
        simsiam(contract, views={"count": 1})


# The four classes differ in hue, which these views keep while they change lightness, place and scale.
HUE_KEPT = {"crop_scale": (0.5, 1), "jitter": 1, "brightness": 0.8, "contrast": 0.8, "saturation": 0, "hue": 0, "grey": 0}


@pytest.mark.slow
def test_it_learns(contract):
    def build():
        return simsiam(contract, size=24, net={"width": 0.5}, views=HUE_KEPT, hidden=256, out=128, bottleneck=32)

    before, after = contract.learns(build, epochs=14, rate=2e-3, batch_size=50, train=1000, size=24, classes=4, colour_means=True)
    print(f"SimSiam: kNN {before:.1f} -> {after:.1f}")
    assert after > before + 10
