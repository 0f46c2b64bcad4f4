"""Every method: gradients reach what they must and nothing else, and its tasks can be switched."""

import pytest
import torch

from helpers.core.errors import UserError
from helpers.core.seeds import generator
from helpers.methods import METHODS, StepBatch, check_options, method_options
from helpers.methods.losses import multi_view_nt_xent, nt_xent
from helpers.models import build_encoder
from helpers.views import make_views

OPTIONS = {"classes": 10, "images": torch.arange(64)}  # what a run tells the methods that ask for it


def make(name, encoder="resnet_tiny", **options):
    torch.manual_seed(0)
    kind = METHODS[name]
    net = build_encoder(encoder, 32)
    views = make_views(kind.card.recipe, 32, **({} if net.takes_any_size else {"small": 0}))
    given = {key: value for key, value in OPTIONS.items() if key in method_options(name)}
    return kind(net, views, **(given | options))


def make_or_skip(name, encoder):
    try:
        return make(name, encoder)
    except UserError as refusal:  # which nets a method refuses, and how, its own tests say
        make(name, "resnet_tiny" if encoder == "vit_micro" else "vit_micro")
        pytest.skip(str(refusal))


def step(method, count=8):
    draw = generator("cpu", 0)
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=draw)
    labels = torch.arange(count) % 10 if method.needs_labels else None
    return method.views(images, draw), StepBatch(torch.arange(count), labels, 0.5, draw)


@pytest.mark.parametrize("encoder", ["resnet_tiny", "vit_micro"])
@pytest.mark.parametrize("name", sorted(METHODS))
def test_gradients_reach_every_parameter(name, encoder):
    method = make_or_skip(name, encoder)
    for module in method.modules():  # timm starts each residual branch at zero, where no gradient enters it
        if isinstance(module, torch.nn.BatchNorm2d) and not module.weight.any():
            torch.nn.init.ones_(module.weight)
    loss, logs = method.loss(*step(method))
    loss.backward()
    assert loss.ndim == 0 and loss.isfinite()
    without = [n for n, p in method.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.abs().sum() > 0)]
    # a bias in front of a batch norm is subtracted again: its gradient is zero but for rounding
    assert not [n for n in without if not n.endswith("bias")], without
    assert not any(value.requires_grad for value in logs.values())


@pytest.mark.parametrize("tasks", [("contrast",), ("rotation",), ("inpainting",), ("contrast", "rotation"), ("rotation", "inpainting")])
@pytest.mark.parametrize("encoder", ["resnet_tiny", "vit_micro"])
def test_sit_tasks_switch_separately(tasks, encoder):
    method = make("sit", encoder, tasks=tasks)
    loss, logs = method.loss(*step(method))
    loss.backward()
    assert set(logs) == {f"loss_{task}" for task in tasks}
    assert loss.item() == pytest.approx(sum(value.item() for value in logs.values()), rel=1e-6)


def test_sit_with_contrast_alone_sees_unaltered_views():
    method = make("sit", tasks=("contrast",))
    views, batch = step(method)
    assert torch.equal(method.prepare(views, batch)["seen"], torch.cat(views))


def test_sit_inpainting_corrupts_about_the_asked_share():
    method = make("sit", tasks=("inpainting",), corrupted=0.3)
    inputs = method.prepare(*step(method, count=64))
    changed = (inputs["seen"] != inputs["pictures"]).float().mean().item()
    assert 0.25 < changed < 0.35


def test_sit_rotation_labels_are_the_turns_made():
    method = make("sit", tasks=("rotation",))
    views, batch = step(method)
    inputs = method.prepare(views, batch)
    for picture, turn, before in zip(inputs["seen"], inputs["turns"], torch.cat(views), strict=True):
        assert torch.equal(picture, torch.rot90(before, int(turn), (1, 2)))


def test_unknown_tasks_and_options_name_the_nearest():
    with pytest.raises(UserError, match="rotation"):
        make("sit", tasks=("rotatoin",))
    with pytest.raises(UserError, match="temperature"):
        check_options("simclr", {"temprature": 0.1})


def test_supervised_without_labels_says_so():
    method = make("supervised")
    views, batch = step(method)
    batch.labels = None
    with pytest.raises(UserError, match="needs labels"):
        method.loss(views, batch)


@pytest.mark.parametrize("encoder", ["resnet_tiny", "vit_micro"])
@pytest.mark.parametrize("name", sorted(METHODS))
def test_norms_and_biases_do_not_decay(name, encoder):
    method = make_or_skip(name, encoder)
    groups = method.parameter_groups()
    for group in groups:
        assert all((p.ndim > 1) == group["decay"] for p in group["params"])
    grouped = [id(p) for group in groups for p in group["params"]]
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == {id(p) for p in method.parameters() if p.requires_grad}


def test_simclrs_projector_is_linear_without_a_hidden_layer():
    layers = [type(layer).__name__ for layer in make("simclr", hidden=0, out=24).projector]
    assert layers == ["Linear"] and make("simclr", hidden=0, out=24).projector[0].out_features == 24
    assert [type(layer).__name__ for layer in make("simclr").projector] == ["Linear", "BatchNorm1d", "ReLU", "Linear"]


@pytest.mark.parametrize("count", [2, 4])
def test_simclr_takes_as_many_views_as_its_recipe_makes(count):
    torch.manual_seed(0)
    method = METHODS["simclr"](build_encoder("resnet_tiny", 32), make_views("contest", 32, count=count), temperature=0.2)
    views, batch = step(method)
    outputs = method.embed(views)
    assert outputs["z"].shape[:2] == (8, count)
    loss, _ = method.criterion(outputs, batch)
    z = outputs["z"].unbind(1)
    assert torch.equal(loss, nt_xent(*z, 0.2) if count == 2 else multi_view_nt_xent(z, 0.2))
