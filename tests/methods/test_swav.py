"""SwAV: sinkhorn, the swapped prediction, prototypes that wait, a queue that waits, and small views."""

import math

import pytest
import torch
import torch.nn.functional as F

from helpers.core.errors import UserError
from helpers.methods import StepBatch
from helpers.methods.losses import sinkhorn, swav_loss
from helpers.training.optimizers import OPTIMIZERS

STEMS = {"vit_micro": "patch8", "convnext_micro": "patch4", "resnet_tiny": "stride2"}


def cosines(count=24, prototypes=6, seed=0):
    draw = torch.Generator().manual_seed(seed)
    z, c = (F.normalize(torch.randn(n, 5, generator=draw), dim=1) for n in (count, prototypes))
    return z @ c.T


def slow_sinkhorn(scores, epsilon, iterations):
    """As the paper has it: exponentials, then prototypes and samples in turn, each time to equal shares."""
    q = [[math.exp(float(s) / epsilon) for s in row] for row in scores.double()]
    samples, prototypes = len(q), len(q[0])
    for _ in range(iterations):
        for k in range(prototypes):
            total = sum(row[k] for row in q)
            for row in q:
                row[k] /= total * prototypes
        q = [[value / (sum(row) * samples) for value in row] for row in q]
    return torch.tensor(q) * samples


@pytest.mark.parametrize(("epsilon", "iterations"), [(0.05, 3), (0.5, 1), (0.03, 5)])
def test_sinkhorn_equals_a_slow_one(epsilon, iterations):
    scores = cosines()
    assert torch.allclose(sinkhorn(scores, epsilon, iterations), slow_sinkhorn(scores, epsilon, iterations), atol=1e-5)


def test_sinkhorn_of_extreme_scores_is_finite_and_its_rows_and_columns_sum_right():
    scores = torch.where(torch.rand(64, 8, generator=torch.Generator().manual_seed(0)) < 0.5, -1.0, 1.0)
    for extreme in (scores, scores.half()):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            shares = sinkhorn(extreme, 0.05, 100)
        assert shares.dtype == torch.float32 and shares.isfinite().all()
        assert torch.allclose(shares.sum(1), torch.ones(64), atol=1e-5)
        assert torch.allclose(shares.sum(0), torch.full((8,), 8.0), atol=1e-2)
    one = torch.full((16, 4), -1.0)
    one[:, 0] = 1.0  # all samples lie on one prototype: they are spread over all of them nevertheless
    assert torch.allclose(sinkhorn(one, 0.05, 3), torch.full((16, 4), 0.25), atol=1e-5)


def test_stored_samples_are_shared_out_too_and_dropped():
    scores = cosines(30)
    assert torch.allclose(sinkhorn(scores[:10], 0.05, 3, scores[10:]), sinkhorn(scores, 0.05, 3)[:10], atol=1e-6)


def test_swav_loss_equals_a_slow_loop_over_large_views_and_all_others():
    torch.manual_seed(0)
    scores, shares = torch.randn(5, 4, 6), torch.rand(5, 2, 6).softmax(2)
    total = 0.0
    for large in range(2):
        for view in range(4):
            if view != large:
                for n in range(5):
                    row = [float(s) / 0.1 for s in scores[n, view]]
                    norm = math.log(sum(math.exp(s) for s in row))
                    total -= sum(float(q) * (s - norm) for q, s in zip(shares[n, large], row, strict=True))
    assert swav_loss(scores, shares, 0.1).item() == pytest.approx(total / (2 * 3 * 5), rel=1e-5)


def test_swav_loss_of_equal_scores_is_the_logarithm_of_the_prototypes_and_its_targets_get_no_gradient():
    shares = torch.full((3, 2, 7), 1 / 7, requires_grad=True)
    scores = torch.zeros(3, 2, 7, requires_grad=True)
    loss = swav_loss(scores, shares, 0.1)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(7), rel=1e-6)
    assert shares.grad is None and scores.grad is not None


def swav(contract, encoder="resnet_tiny", recipe="simclr_small", **options):
    small = {"hidden": 32, "out": 16, "prototypes": 8, "queue": 16}
    return contract.make("swav", encoder, recipe=recipe, stem=STEMS.get(encoder, "auto"), **(small | options))


@pytest.mark.parametrize("encoder", ["resnet_tiny", "vit_micro", "convnext_micro", "mobilenetv2"])
def test_gradients_reach_every_trained_parameter(contract, encoder):
    assert contract.gradients(swav(contract, encoder), 32) == []


def test_prototypes_stand_still_at_first_and_everything_else_learns(contract):
    method = swav(contract, frozen=0.2)
    views, batch = contract.step(method)
    for progress, moves in ((0.19, False), (0.2, True)):
        method.zero_grad(set_to_none=True)
        batch.progress = progress
        method.loss(views, batch)[0].backward()
        assert bool(method.prototypes.weight.grad.any()) == moves
        assert method.projector[0].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_gets_past_the_moment_when_they_begin_to_move(contract, name):
    method = swav(contract, frozen=0.2)
    assert contract.begins_to_move(method, method.prototypes.weight, name)


def test_prototypes_have_length_one_whatever_their_weights(contract):
    method = swav(contract)
    outputs = {"z": torch.randn(8, 2, 16, generator=torch.Generator().manual_seed(0))}
    before = method.criterion(outputs, StepBatch(torch.arange(8)))[0]
    with torch.no_grad():
        method.prototypes.weight.mul_(5)
    assert method.criterion(outputs, StepBatch(torch.arange(8)))[0].item() == pytest.approx(before.item(), rel=1e-5)


def test_the_queue_is_used_only_when_full_and_late_enough(contract, monkeypatch):
    method = swav(contract, queue=16, queue_from=0.3)
    stored = []
    monkeypatch.setattr("helpers.methods.swav.sinkhorn", lambda s, e, i, earlier=None: stored.append(earlier) or sinkhorn(s, e, i, earlier))
    draw = torch.Generator().manual_seed(0)
    newest = []
    for progress in (0.5, 0.5, 0.5, 0.29):
        z = torch.randn(8, 2, 16, generator=draw)
        method.criterion({"z": z}, StepBatch(torch.arange(8), None, progress))
        method.after_step(progress)
        newest.append(F.normalize(z, dim=2))
    assert [s is not None for s in stored] == [False, False, False, False, True, True, False, False]
    weight = F.normalize(method.prototypes.weight.detach(), dim=1)
    for view in range(2):  # the scores of what the two steps before it embedded, view by view
        expected = torch.cat((newest[0], newest[1]))[:, view] @ weight.T
        assert torch.allclose(stored[4 + view], expected, atol=1e-6)


def test_the_criterion_alone_stores_nothing(contract):
    method = swav(contract)
    before = method.queues[0].keys.clone()
    method.loss(*contract.step(method))
    assert torch.equal(method.queues[0].keys, before) and method.pushed == 0


def test_the_log_tells_a_collapse(contract):
    method = swav(contract)
    same = torch.ones(8, 2, 16)
    spread = torch.randn(8, 2, 16, generator=torch.Generator().manual_seed(0))
    used = [method.criterion({"z": z}, StepBatch(torch.arange(8)))[1]["used_prototypes"].item() for z in (same, spread)]
    assert used[0] == 1 and used[1] > 2


@pytest.mark.parametrize("stop_after", [8, 14])  # while the queue fills, and when it is in use
def test_a_resume_is_exact(contract, tmp_path, stop_after):
    def build():
        return swav(contract, queue=24, queue_from=0.2, frozen=0.2)

    assert contract.survives(build, tmp_path, stop_after=stop_after) == []


def test_small_views_predict_and_are_never_predicted(contract):
    method = swav(contract, recipe="swav_small")
    views, batch = contract.step(method)
    outputs = method.embed(views)
    assert outputs["z"].shape[1] == len(views) == method.large + method.views.settings.small
    outputs["z"] = outputs["z"].detach().requires_grad_()
    method.criterion(outputs, batch)[0].backward()
    assert (outputs["z"].grad.abs().sum((0, 2)) > 0).all()
    assert contract.gradients(method, 32) == []
    assert method._newest.shape[1] == method.large
    with pytest.raises(UserError, match="cannot take images of .* px|leaves nothing of images"):  # before the first step
        contract.make("swav", "convnext_tiny", recipe="swav_small", stem="patch4", prototypes=8, queue=16)
    with pytest.raises(UserError, match="one image size"):
        swav(contract, "vit_micro", recipe="swav_small", net={"pool": "concat"})


def test_what_cannot_work_is_said_before_the_first_step(contract):
    with pytest.raises(UserError, match="at least 2 views"):
        swav(contract, views={"count": 1})
    with pytest.raises(UserError, match="prototypes = 60, but only 48 samples.*48 or less"):
        swav(contract, prototypes=60, queue=32).check(images=1000, batch_size=16)
    with pytest.raises(UserError, match="larger than the 10 training images"):
        swav(contract).check(images=10, batch_size=8)
    with pytest.raises(UserError, match="not a multiple"):
        swav(contract).check(images=100, batch_size=12)
    swav(contract).check(images=100, batch_size=16)


def test_the_defaults_take_batches_of_32_to_256(contract):
    method = contract.make("swav", recipe="simclr_small", stem="stride2")
    for batch in (32, 64, 128, 256):
        method.check(images=1024, batch_size=batch)


# The four classes differ in hue, which these views keep while they change lightness, place and scale.
HUE_KEPT = {"crop_scale": (0.5, 1), "jitter": 1, "brightness": 0.8, "contrast": 0.8, "saturation": 0, "hue": 0, "grey": 0}


@pytest.mark.slow
def test_it_learns(contract):
    def build():
        return swav(contract, size=24, net={"width": 0.5}, views=HUE_KEPT, hidden=256, out=64, prototypes=48, queue=0, epsilon=0.03)

    before, after = contract.learns(build, epochs=12, rate=2e-3, batch_size=50, train=1000, size=24, classes=4, colour_means=True)
    print(f"SwAV: kNN {before:.1f} -> {after:.1f}")
    assert after > before + 10
