"""What a step is told beside its rate, and what it tells of its gradients: the second beta, a weight decay that moves, and the trace of
gradient norms, which has to survive a stop and cost no other number."""

import math
import sys

import numpy as np
import pytest
import torch

from helpers.core.errors import UserError
from helpers.data import Batches, Split
from helpers.methods import METHODS, StepBatch
from helpers.models import build_encoder
from helpers.training import Stopped, Training, TrainSettings, checkpoints
from helpers.training.gradients import settled
from helpers.training.optimizers import OPTIMIZERS, build_optimizer
from helpers.training.schedules import decay_at
from helpers.training.watch import gradient_norms, gradient_parts
from helpers.views import make_views

CPU = torch.device("cpu")
VIT = {"dim": 32, "depth": 2, "heads": 2, "patch": 8}
HEADS = {"hidden": 32, "out": 16}
FIRST, BLOCK, REST, HEAD = (f"gradient.{part}" for part in ("first_layer", "first_block", "rest", "heads"))


def made(name="moco_v3", encoder="vit_micro", net=None, seed=0, **options):
    torch.manual_seed(seed)
    kind = METHODS[name]
    options = (HEADS if name == "moco_v3" else {}) | options
    net = build_encoder(encoder, 32, **(VIT if encoder == "vit_micro" else {}) | (net or {}))
    return kind(net, make_views(kind.card.recipe, 32), **options)


def training(method=None, folder=None, trace=True, **changes):
    """Three epochs of three steps."""
    images = np.random.default_rng(0).integers(0, 256, (48, 3, 32, 32), dtype=np.uint8)
    given = {"epochs": 3, "optimizer": "adamw", "rate": 1e-3, "precision": "fp32", "weight_decay": 0.1, "checkpoint_seconds": 0.0} | changes
    method = made() if method is None else method
    return Training(method, Batches(Split(images, np.arange(48) % 4), 16, CPU, seed=0), TrainSettings(**given), CPU, folder, trace=trace)


def ended(run):
    """The weights that a run comes to, its log without the clock, and without the columns that only a trace has."""
    rows = run.run()
    kept = [{key: value for key, value in row.items() if "seconds" not in key and not key.startswith("gradient.")} for row in rows]
    return {key: value.clone() for key, value in run.method.state_dict().items()}, kept


def same(one, other):
    return one[0].keys() == other[0].keys() and all(torch.equal(one[0][key], other[0][key]) for key in one[0]) and one[1] == other[1]


def watched(run, seen):
    """Calls `seen` after every step of a run, before the next one clears the gradients."""
    take = run.take

    def taken(group):
        take(group)
        seen()

    run.take = taken
    return run


# -- the second beta ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_the_second_beta_reaches_every_group_that_has_one_and_is_what_it_averages_squares_with(name):
    torch.manual_seed(0)
    weight, bias = torch.nn.Parameter(torch.randn(4, 4)), torch.nn.Parameter(torch.randn(4))
    groups = [{"params": [weight], "decay": True}, {"params": [bias], "decay": False}]
    optimizer = build_optimizer(name, groups, rate=1e-3, momentum=0.8, beta2=0.6)
    with_betas = [group["betas"] for group in optimizer.param_groups if "betas" in group]
    assert with_betas == [(0.8, 0.6)] * {"sgd": 0, "lars": 0, "muon": 1}.get(name, 2)
    for parameter in (weight, bias):
        parameter.grad = 0.01 * torch.randn_like(parameter)  # short, as LAMB shortens what is longer than 1
    squares = {parameter: parameter.grad.square() for parameter in (weight, bias)}
    optimizer.step()
    averaged = [parameter for parameter in (weight, bias) if "exp_avg_sq" in optimizer.state[parameter]]
    assert len(averaged) == len(with_betas)
    for parameter in averaged:
        assert torch.allclose(optimizer.state[parameter]["exp_avg_sq"], 0.4 * squares[parameter], rtol=1e-4, atol=1e-12)


def test_a_run_is_told_its_second_beta_and_the_usual_one_is_torchs():
    assert {group["betas"][1] for group in training(beta2=0.95).optimizer.param_groups} == {0.95}
    torchs = torch.optim.AdamW([torch.nn.Parameter(torch.ones(1))]).param_groups[0]["betas"][1]
    assert {group["betas"][1] for group in training().optimizer.param_groups} == {torchs} == {TrainSettings(epochs=1).beta2}
    assert not same(ended(training(beta2=0.9)), ended(training()))


# -- weight decay ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "last"), [(0.04, 0.4), (0.4, 0.0), (0.0, 0.2)])
def test_weight_decay_goes_from_first_to_last_along_half_a_cosine(first, last):
    assert (decay_at(0, 9, first, last), decay_at(8, 9, first, last)) == pytest.approx((first, last))
    assert decay_at(4, 9, first, last) == pytest.approx((first + last) / 2)
    assert decay_at(2, 9, first, last) == pytest.approx(first + (last - first) * (1 - math.cos(math.pi / 4)) / 2)
    assert decay_at(0, 1, first, last) == pytest.approx(first), "a run of one step"


@pytest.mark.parametrize("optimizer", ["adamw", "lamb", "lars", "sgd", "muon"])
def test_matrices_follow_it_at_every_step_and_biases_and_norms_never_decay(optimizer):
    run, seen = training(optimizer=optimizer, final_weight_decay=0.3, trace=False), {True: [], False: []}

    def look():
        for group in run.optimizer.param_groups:
            assert len({parameter.ndim > 1 for parameter in group["params"]}) == 1
            seen[group["params"][0].ndim > 1].append((run.step - 1, group["weight_decay"]))

    watched(run, look).run()
    assert {step for step, _ in seen[True]} == {step for step, _ in seen[False]} == {*range(9)}
    assert {value for _, value in seen[False]} == {0.0}
    for step, value in seen[True]:
        assert value == pytest.approx(0.3 + (0.1 - 0.3) * (1 + math.cos(math.pi * step / 8)) / 2)
    told = dict(seen[True])
    assert (told[0], told[4], told[8]) == pytest.approx((0.1, 0.2, 0.3))


def test_without_a_last_value_nothing_touches_the_decay_and_one_that_stays_changes_no_bit(monkeypatch):
    stays, moves = ended(training(final_weight_decay=0.1)), ended(training(final_weight_decay=3.0))

    def touched(*_):
        raise AssertionError("the weight decay was set")

    monkeypatch.setattr(sys.modules["helpers.training.loop"], "set_decay", touched)
    plain = ended(training())
    assert same(plain, stays) and not same(plain, moves)
    with pytest.raises(AssertionError, match="was set"):
        training(final_weight_decay=0.1).run()


# -- gradient norms -------------------------------------------------------------------------------------------------------


METHODS_AND_NETS = [
    *(("moco_v3", "vit_micro", {}), ("dino", "vit_micro", {}), ("masked_patches", "vit_micro", {"pool": "avg"})),
    *(("simclr", "resnet_tiny", {}), ("byol", "resnet_tiny", {}), ("split_brain", "resnet_tiny", {}), ("moco_v2", "convnext_micro", {})),
]


@pytest.mark.parametrize(("name", "encoder", "net"), METHODS_AND_NETS)
def test_the_parts_hold_all_that_is_trained_each_once(name, encoder, net):
    method = made(name, encoder, net)
    parts = gradient_parts(method)
    held = [id(parameter) for parameters in parts.values() for parameter in parameters]
    assert len(held) == len({*held}) and {*held} == {id(p) for group in method.parameter_groups() for p in group["params"]}
    assert list(parts) == [FIRST, *([BLOCK] if encoder == "vit_micro" else []), REST, HEAD]


def sent_back(method):
    """(loss, gradients by name as autograd gives them when asked) for one batch; they are left in the parameters too."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8, generator=draw)
    batch = StepBatch(torch.arange(12), None, 0.5, draw)
    inputs = method.prepare(method.views(images, draw), batch)
    names, trained = zip(*((name, p) for name, p in method.named_parameters() if p.requires_grad), strict=True)
    asked = torch.autograd.grad(method.criterion(method.embed(inputs), batch)[0], trained, allow_unused=True)
    method.criterion(method.embed(inputs), batch)[0].backward()
    return dict(zip(names, asked, strict=True))


def part_of(name):
    """By the names that timm's ViT and ours give."""
    if name.startswith("encoder.net.patch_embed.proj."):
        return FIRST
    return BLOCK if name.startswith("encoder.net.blocks.0.") else REST if name.startswith("encoder.") else HEAD


@pytest.mark.parametrize(("name", "net"), [("moco_v3", {}), ("moco_v3", {"freeze_patches": True}), ("masked_patches", {"pool": "avg"})])
def test_norms_are_those_of_autograd_by_hand_and_their_squares_add_up(name, net):
    method = made(name, net=net).eval()  # whose batch norms do not move between two passes
    asked = sent_back(method)
    by_hand = {}
    for parameter, gradient in asked.items():
        if gradient is not None:
            by_hand[part_of(parameter)] = by_hand.get(part_of(parameter), 0.0) + gradient.double().square().sum().item()
    found = {part: norm.item() for part, norm in gradient_norms(gradient_parts(method)).items()}
    assert found == pytest.approx({part: math.sqrt(square) for part, square in by_hand.items()}, rel=1e-4)
    whole = sum(p.grad.double().square().sum().item() for p in method.parameters() if p.grad is not None)
    assert sum(norm**2 for norm in found.values()) == pytest.approx(whole, rel=1e-4) and min(found.values()) > 0
    assert (FIRST in found) == ("freeze_patches" not in net)


def test_a_part_that_no_gradient_reaches_is_zero():
    method = made()
    method.projector[0].weight.grad = torch.full_like(method.projector[0].weight, 2.0)
    found = gradient_norms(gradient_parts(method))
    length = 2 * math.sqrt(method.projector[0].weight.numel())
    assert {part: norm.item() for part, norm in found.items()} == pytest.approx({FIRST: 0, BLOCK: 0, REST: 0, HEAD: length})


def test_norms_are_logged_as_they_were_before_shortening():
    method, logs = made(), []
    for longest in (0.0, 1e-3):
        method.zero_grad()
        sent_back(method.eval())
        logs.append(settled(method, None, longest, gradient_parts(method)))
    left = torch.cat([p.grad.flatten() for p in method.parameters() if p.grad is not None]).norm().item()
    assert left == pytest.approx(1e-3, rel=1e-3) and "gradient" not in logs[0]
    assert all(torch.equal(logs[0][part], logs[1][part]) and logs[1][part] > 1e-3 for part in (FIRST, BLOCK, REST, HEAD))
    together = math.sqrt(sum(logs[1][part].item() ** 2 for part in (FIRST, BLOCK, REST, HEAD)))
    assert together == pytest.approx(logs[1]["gradient"].item(), rel=1e-4)


# -- the trace ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("accumulate", "steps"), [(1, 9), (3, 3)])
def test_a_trace_holds_the_norms_of_every_step_in_order(accumulate, steps):
    run, seen = training(accumulate=accumulate), []
    watched(run, lambda: seen.append([norm.item() for norm in gradient_norms(run.parts).values()])).run()
    assert run.traced == seen and len(seen) == steps and [*run.parts] == [FIRST, BLOCK, REST, HEAD]
    rows = np.array(run.traced).reshape(3, -1, 4).mean(axis=1)
    assert np.allclose([[row[part] for part in run.parts] for row in run.metrics], rows, rtol=1e-5), "the log has the mean of an epoch"


@pytest.mark.parametrize("optimizer", ["adamw", "lamb"])
@pytest.mark.parametrize("stop_after", [2, 6, 7])
def test_a_stopped_run_goes_on_with_the_same_trace_and_decay_bit_for_bit(tmp_path, stop_after, optimizer):
    asked = {"optimizer": optimizer, "final_weight_decay": 0.4, "beta2": 0.95, "schedule": "warmup_cosine", "warmup_epochs": 1.0}
    undisturbed = training(**asked)
    expected = ended(undisturbed)

    run = training(folder=tmp_path, **asked)
    run.stop = lambda: "the test says so" if run.step >= stop_after else None
    with pytest.raises(Stopped, match="the test says so"):
        run.run()
    carried = checkpoints.load_newest(tmp_path, CPU)["position"]["traced"]
    assert carried == undisturbed.traced[: stop_after // 3 * 3], "of the epochs that are done"

    again = training(made(seed=1), tmp_path, **asked)  # other weights: all of them must come from the checkpoint
    assert same(ended(again), expected) and again.resumed_at == stop_after
    assert again.traced == undisturbed.traced and len(again.traced) == 9


def test_a_trace_costs_no_other_number_and_none_is_kept_unasked():
    traced, plain = training(), training(trace=False)
    with_trace, without = ended(traced), ended(plain)
    assert same(with_trace, without) and len(without[1]) == 3
    assert plain.traced == [] and plain.parts == {} and not any(key.startswith("gradient.") for key in plain.metrics[0])


def test_frozen_patches_are_no_part_of_a_trace():
    run = training(made(net={"freeze_patches": True}), epochs=1)
    run.run()
    assert [*run.parts] == [BLOCK, REST, HEAD] and np.shape(run.traced) == (3, 3) and np.min(run.traced) > 0
    assert run.metrics[0]["first_layer_gradient"] == 0


def test_a_checkpoint_from_before_there_were_traces_still_loads(tmp_path):
    expected = ended(training(trace=False))
    run = training(folder=tmp_path, trace=False)
    run.stop = lambda: "the test says so" if run.step >= 4 else None
    with pytest.raises(Stopped):
        run.run()
    state = checkpoints.load_newest(tmp_path, CPU)
    del state["position"]["traced"]
    checkpoints.save(tmp_path, run.step, state)
    assert same(ended(training(made(seed=1), tmp_path, trace=False)), expected)


# -- options that a net does not have -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        (
            "resnet_tiny",
            {"mlp_norm": "batch"},
            "resnet_tiny .*no transformer blocks with an MLP .*feature_norm, width, zero_init_last; ViTs",
        ),
        ("convnext_micro", {"freeze_patches": True}, "convnext_micro .*no projection of patches .*feature_norm, width; ViTs have dim"),
        ("vit_micro", {"dim": "wide"}, "dim='wide' must be a number above 0"),
        ("vit_small_patch16_18x2_224", {"mlp_norm": "batch", "depth": 1}, "no norm before the MLP"),
    ],
)
def test_a_net_is_told_why_it_cannot_have_an_option(name, options, says):
    with pytest.raises(UserError, match=says):
        build_encoder(name, 32, **options)
