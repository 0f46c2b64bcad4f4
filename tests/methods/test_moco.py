"""MoCo v1, v2 and v3: their losses, what the keys are made with, the queue, and where gradients stop."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F

from helpers.core.errors import UserError
from helpers.data import Batches
from helpers.data.dataset import Split
from helpers.methods import METHODS
from helpers.methods.losses import info_nce, moco_v3_contrast
from helpers.models import build_encoder
from helpers.training import Training, TrainSettings
from helpers.training.watch import first_layer_gradient
from helpers.views import make_views

SMALL = {"moco_v1": {"queue": 32, "groups": 2}, "moco_v2": {"queue": 32, "groups": 2, "hidden": 32}, "moco_v3": {"hidden": 32, "out": 16}}
STEMS = {"resnet_tiny": "stride2", "vit_micro": "patch8", "convnext_micro": "patch4"}
QUEUED = ["moco_v1", "moco_v2"]


def moco(contract, name, encoder="resnet_tiny", **options):
    return contract.make(name, encoder, stem=STEMS.get(encoder, "auto"), **(SMALL[name] | options))


def naive(query, key, negatives, temperature):
    """-log of the key's share, by a loop; negatives: of each query."""
    total = 0.0
    for q, k, others in zip(query, key, negatives, strict=True):
        shares = [math.exp(F.cosine_similarity(q.double(), x.double(), dim=0).item() / temperature) for x in (k, *others)]
        total -= math.log(shares[0] / sum(shares))
    return total / len(query)


@pytest.mark.parametrize("temperature", [0.07, 0.2, 1.0])
def test_the_losses_equal_a_slow_loop(temperature):
    torch.manual_seed(0)
    query, key, queue = torch.randn(6, 5) * 3, torch.randn(6, 5), torch.randn(9, 5)
    expected = naive(query, key, [queue] * 6, temperature)
    assert info_nce(query, key, queue, temperature).item() == pytest.approx(expected, rel=1e-5, abs=1e-5)
    expected = naive(query, key, [[*key[:i], *key[i + 1 :]] for i in range(6)], temperature) * 2 * temperature
    assert moco_v3_contrast(query, key, temperature).item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_the_losses_at_their_closed_forms():
    same, axes = torch.ones(4, 8), torch.eye(8)
    assert info_nce(same, same, torch.ones(10, 8), 0.2).item() == pytest.approx(math.log(11), rel=1e-6)
    assert info_nce(axes[:4], axes[:4], axes[4:], 0.2).item() == pytest.approx(math.log(1 + 4 * math.exp(-5)), rel=1e-5)
    assert moco_v3_contrast(same, same, 0.2).item() == pytest.approx(0.4 * math.log(4), rel=1e-6)
    assert moco_v3_contrast(axes, axes, 0.5).item() == pytest.approx(math.log(1 + 7 * math.exp(-2)), rel=1e-5)


def test_the_losses_stop_at_the_keys_and_are_float32_under_autocast():
    torch.manual_seed(0)
    query, key, queue = (torch.randn(count, 8, requires_grad=True) for count in (6, 6, 12))
    for loss in (lambda: info_nce(query, key, queue, 0.07), lambda: moco_v3_contrast(query, key, 0.07)):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = loss()
        assert torch.equal(value, loss()) and value.dtype == torch.float32
        value.backward()
        assert query.grad.isfinite().all() and query.grad.abs().sum() > 0
        assert key.grad is None and queue.grad is None


@pytest.mark.parametrize("encoder", ["resnet_tiny", "vit_micro", "convnext_micro", "mobilenetv2"])
@pytest.mark.parametrize("name", SMALL)
def test_gradients_reach_the_query_side_and_nothing_of_the_keys(contract, name, encoder):
    method = moco(contract, name, encoder)
    assert contract.gradients(method) == []
    frozen = {key for key, p in method.named_parameters() if not p.requires_grad}
    assert frozen == {key for key, _ in method.named_parameters() if key.startswith("average.")} and frozen
    views, batch = contract.step(method)
    outputs = method.embed(method.prepare(views, batch))
    assert outputs["z"].requires_grad and not outputs["key"].requires_grad


@pytest.mark.parametrize("name", SMALL)
def test_a_batch_of_32_trains(contract, name):
    assert contract.gradients(moco(contract, name), 32) == []


@pytest.mark.parametrize("options", [{}, {"symmetric": True}])
@pytest.mark.parametrize("name", QUEUED)
def test_the_loss_is_that_of_queries_and_of_keys_from_the_average(contract, name, options):
    """Against the networks run by hand, one group, so that keys have the statistics of the whole batch."""
    method = moco(contract, name, groups=1, **options).train()
    with torch.no_grad():
        for p in method.average.parameters():
            p.add_(0.01)  # or the keys might come from either network
    by_hand = copy.deepcopy(method)
    views, batch = contract.step(method)
    loss, _ = method.loss(views, batch)
    if options:
        queries = by_hand.projector(by_hand.encoder(torch.cat(views))).chunk(2)
        images = torch.cat([views[1], views[0]])
        order = torch.randperm(16, generator=regenerated(contract, method))
        keys = torch.empty(16, 128)
        keys[order] = torch.cat([by_hand.average(images[part]) for part in order.chunk(2)])
        keys = keys.chunk(2)
    else:
        queries, keys = [by_hand.projector(by_hand.encoder(views[0]))], [by_hand.average(views[1])]
    expected = sum(naive(q, k, [by_hand.queue.keys] * 8, method.temperature) for q, k in zip(queries, keys, strict=True)) / len(queries)
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def regenerated(contract, method):
    """The generator of contract.step's batch as it is when the views are made."""
    return contract.step(method)[1].generator


def test_keys_are_normalised_in_shuffled_groups_and_come_back_in_their_order(contract):
    method = moco(contract, "moco_v2", groups=2).train()
    views, batch = contract.step(method)
    inputs = method.prepare(views, batch)
    order = inputs["order"]
    assert sorted(order.tolist()) == list(range(8)) and order.tolist() != list(range(8))
    before = copy.deepcopy(method.average)
    keys = method.embed(inputs)["key"][:, 0]
    with torch.no_grad():
        for part in order.chunk(2):
            assert torch.allclose(keys[part], before(views[1][part]), atol=1e-5)
        assert not torch.allclose(keys, copy.deepcopy(before)(views[1]), atol=1e-3)  # statistics of the whole batch would be others
    again = method.prepare(views, batch)["order"]
    assert not torch.equal(order, again)  # a new shuffle every step


@pytest.mark.parametrize("name", QUEUED)
def test_after_a_step_the_average_moves_before_the_next_keys_and_this_steps_keys_are_queued(contract, name):
    method = moco(contract, name, momentum=0.9).train()
    views, batch = contract.step(method)
    inputs = method.prepare(views, batch)
    old_queue = method.queue.keys.clone()
    method.criterion(method.embed(inputs), batch)
    assert torch.equal(method.queue.keys, old_queue)  # a step is not its own negative
    with torch.no_grad():
        for p in method.projector.parameters():
            p.add_(1.0)  # the optimizer's step
    expected = [0.9 * mean + 0.1 * p for mean, p in zip(method.average.network[1].parameters(), method.projector.parameters(), strict=True)]
    method.after_step(0.5)
    for mean, value in zip(method.average.network[1].parameters(), expected, strict=True):
        assert torch.allclose(mean, value, atol=1e-6)  # what the next step's keys are made with
    assert method.queue.place == 8 and torch.equal(method.queue.keys[8:], old_queue[8:])
    assert torch.allclose(method.queue.keys[:8], F.normalize(method.newest, dim=1))
    assert torch.allclose(method.queue.keys.norm(dim=1), torch.ones(32), atol=1e-5)


def test_symmetric_queues_the_keys_of_both_views(contract):
    method = moco(contract, "moco_v2", symmetric=True).train()
    method.loss(*contract.step(method))
    method.after_step(0.1)
    assert method.queue.place == 16


@pytest.mark.parametrize("name", SMALL)
def test_a_stop_in_mid_queue_changes_nothing(contract, name, tmp_path):
    assert contract.survives(lambda: moco(contract, name), tmp_path) == []


def test_the_queue_is_in_the_state(contract):
    keys = moco(contract, "moco_v2").state_dict().keys()
    assert {"queue.keys", "queue.place"} <= keys and any(key.startswith("average.") for key in keys)


@pytest.mark.parametrize("name", QUEUED)
def test_queues_that_cannot_work_are_named_before_the_first_step(contract, name):
    method = moco(contract, name, queue=48)
    method.check(images=48, batch_size=16)
    with pytest.raises(UserError, match="queue = 48 is larger than the 40"):
        method.check(images=40, batch_size=16)
    with pytest.raises(UserError, match="not a multiple of the batch of 32"):
        method.check(images=100, batch_size=32)
    with pytest.raises(UserError, match="groups = 2 parts of a batch of 3 .* Set groups to 1"):
        method.check(images=100, batch_size=3)
    with pytest.raises(UserError, match="not a multiple of the batch of 32"):  # both views' keys are queued
        moco(contract, name, queue=48, symmetric=True).check(images=100, batch_size=16)
    with pytest.raises(UserError, match="queue = 0"):
        moco(contract, name, queue=0)
    with pytest.raises(UserError, match="groups = 0"):
        moco(contract, name, groups=0)


@pytest.mark.parametrize("name", SMALL)
def test_other_than_two_views_are_refused(contract, name):
    with pytest.raises(UserError, match="at least 2 views"):
        contract.make(name, views={"count": 1})
    with pytest.raises(UserError, match="count = 4.* compares two views"):
        contract.make(name, views={"count": 4})


def test_v3_needs_negatives(contract):
    with pytest.raises(UserError, match="batch of 1 is too few"):
        moco(contract, "moco_v3").check(images=10, batch_size=1)


@pytest.mark.parametrize("rising", [False, True])
def test_v3_is_symmetric_and_its_average_follows_encoder_and_projector_alone(contract, rising):
    method = moco(contract, "moco_v3", rising=rising).train()
    by_hand = copy.deepcopy(method)
    views, batch = contract.step(method)
    loss, _ = method.loss(views, batch)
    query = by_hand.predictor(by_hand.projector(by_hand.encoder(torch.cat(views)))).chunk(2)
    key = by_hand.average(torch.cat(views)).chunk(2)
    pairs = ((query[0], key[1]), (query[1], key[0]))
    expected = sum(naive(q, k, [[*k[:i], *k[i + 1 :]] for i in range(8)], 0.2) * 0.4 for q, k in pairs)
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    count = len([*method.encoder.parameters(), *method.projector.parameters()])
    assert len(list(method.average.parameters())) == count
    assert method.average.momentum_at(0.0) == pytest.approx(0.99)
    assert method.average.momentum_at(1.0) == pytest.approx(1.0 if rising else 0.99)


@pytest.mark.parametrize(("encoder", "layers", "last_norm"), [("resnet_tiny", 2, False), ("vit_micro", 3, True)])
def test_v3_heads_are_the_papers_for_convolutions_and_for_a_vit(contract, encoder, layers, last_norm):
    method = moco(contract, "moco_v3", encoder)
    assert sum(isinstance(part, torch.nn.Linear) for part in method.projector) == layers
    assert sum(isinstance(part, torch.nn.Linear) for part in method.predictor) == 2
    assert isinstance(method.projector[-1], torch.nn.BatchNorm1d) and not method.projector[-1].affine
    assert isinstance(method.predictor[-1], torch.nn.BatchNorm1d) is last_norm
    bare = moco(contract, "moco_v3", encoder, norm="none")
    heads = [*bare.projector, *bare.predictor]
    assert not any(isinstance(part, torch.nn.BatchNorm1d) for part in heads)
    assert contract.gradients(bare) == []


def test_v3_trains_a_vit_with_all_the_papers_remedies_and_leaves_the_frozen_projection_alone(contract):
    encoder = build_encoder("vit_micro", 32, freeze_patches=True, positions="sincos", mlp_norm="batch")
    method = METHODS["moco_v3"](encoder, make_views("simclr_small", 32), hidden=32, out=16)
    assert contract.gradients(method) == []
    patches = list(encoder.first_layer.parameters())
    assert patches and all(p.grad is None for p in patches)
    assert first_layer_gradient(method) == 0
    trained = {id(p) for group in method.parameter_groups() for p in group["params"]}
    assert not trained & {id(p) for p in patches}


@pytest.mark.parametrize("name", SMALL)
def test_accumulated_batches_are_one_step_for_the_average_and_the_queue(contract, name):
    method = moco(contract, name)
    moves = []
    follow = method.average.follow
    method.average.follow = lambda network, progress: moves.append(progress) or follow(network, progress)
    images = torch.randint(0, 256, (48, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    batches = Batches(Split(images, None), 8, "cpu", seed=0)
    Training(method, batches, TrainSettings(epochs=1, accumulate=2, precision="fp32"), torch.device("cpu")).run()
    assert moves == pytest.approx([1 / 3, 2 / 3, 1.0])
    if name in QUEUED:
        assert method.queue.place == 48 - 32


FEW = {"queue": 128, "groups": 2, "symmetric": True}
LEARNS = {
    "moco_v1": (10, {"temperature": 0.2} | FEW),  # kNN 30.0 -> 51.4
    "moco_v2": (10, FEW),  # 30.0 -> 45.2
    "moco_v3": (12, {"hidden": 256, "temperature": 0.1, "momentum": 0.95}),  # 30.0 -> 45.6
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNS)
def test_it_learns(contract, name):
    """Where colour means something and the views keep it: in these few steps no method could find shapes instead."""
    epochs, options = LEARNS[name]
    views = {"hue": 0, "grey": 0} | ({"saturation": 0} if name == "moco_v3" else {})

    def build():
        return contract.make(name, size=16, stem="stride2", views=views, **options)

    before, after = contract.learns(build, epochs=epochs, batch_size=32, train=1000, size=16, colour_means=True)
    print(f"{name}: kNN {before:.1f} -> {after:.1f}")
    assert after > before + 10
