"""ReLIC and ReLICv2: the loss, what stops where, and which view meets which."""

import math

import pytest
import torch

from helpers.core.errors import UserError
from helpers.methods.losses import relic_loss
from helpers.views import make_views

STEMS = {"vit_micro": "patch8", "convnext_micro": "patch2"}
SMALL = {"hidden": 32, "out": 16}


def slow(online, target, temperature, weight):
    """One online view against one target view, image by image."""
    o, t = ([v / v.norm() for v in view.double()] for view in (online, target))
    contrast = kl = 0.0
    for i in range(len(o)):
        ours = torch.tensor([math.exp(float(o[i] @ other) / temperature) for other in t])
        theirs = torch.tensor([math.exp(float(t[i] @ other) / temperature) for other in o])
        ours, theirs = ours / ours.sum(), theirs / theirs.sum()
        contrast -= math.log(ours[i])
        kl += sum(float(q) * math.log(q / p) for p, q in zip(ours, theirs, strict=True))
    return contrast / len(o) + weight * kl / len(o), kl / len(o)


def views_of(count, own=6, width=5, **keywords):
    torch.manual_seed(count)
    return [(torch.randn(own, width) * (1 + n)).requires_grad_(**keywords) for n in range(count)]


@pytest.mark.parametrize("temperature", [0.1, 0.5])
@pytest.mark.parametrize("weight", [0.0, 1.5])
def test_the_loss_equals_a_slow_loop(temperature, weight):
    online, targets = views_of(3), views_of(2)
    pairs = [slow(o.detach(), t.detach(), temperature, weight) for o in online for t in targets]
    loss, invariance = relic_loss(online, targets, temperature, weight)
    assert loss.item() == pytest.approx(sum(pair[0] for pair in pairs) / 6, rel=1e-5)
    assert invariance.item() == pytest.approx(sum(pair[1] for pair in pairs) / 6, rel=1e-5)
    assert not invariance.requires_grad


def slow_between_views(online, targets, temperature):
    """The KL of the form "views", pair by pair and image by image: what view w answers to v's target, from what v answers to w's."""

    def answer(view, target, i):
        weights = [math.exp(float(view[i] @ other) / temperature) for other in target]
        return [weight / sum(weights) for weight in weights]

    o, t = ([torch.nn.functional.normalize(view, dim=1) for view in views] for views in (online, targets))
    total, count = 0.0, 0
    for v in range(len(o)):
        for w in range(len(t)):
            for i in range(len(o[0])):
                ours, theirs = answer(o[v], t[w], i), answer(o[w], t[v] if v < len(t) else t[w], i)
                total, count = total + sum(q * math.log(q / p) for p, q in zip(ours, theirs, strict=True)), count + 1
    return total / count


@pytest.mark.parametrize("large", [2, 3])
def test_the_published_form_of_the_invariance_equals_a_slow_loop(large):
    online, targets = [view.detach() for view in views_of(3)], [view.detach() for view in views_of(large, own=6)]
    contrast, _ = relic_loss(online, targets, 0.5, 0.0, "views")
    loss, invariance = relic_loss(online, targets, 0.5, 2.0, "views")
    assert invariance.item() == pytest.approx(slow_between_views(online, targets, 0.5), rel=1e-4)
    assert loss.item() == pytest.approx(contrast.item() + 2 * invariance.item(), rel=1e-5)
    assert contrast.item() == pytest.approx(relic_loss(online, targets, 0.5, 0.0)[0].item(), rel=1e-6), "the contrast is the same in both"
    with pytest.raises(UserError, match="form of the invariance 'view'.*views"):
        relic_loss(online, targets, 0.5, 2.0, "view")


def test_of_two_views_the_published_form_lets_one_learn_from_the_others_answer_alone():
    online, targets = views_of(2), [view.detach() for view in views_of(2)]
    contrast, full = (relic_loss(online, targets, 0.3, weight, "views", own=False)[0] for weight in (0.0, 1.0))
    (full - contrast).backward()
    o = [view.detach().requires_grad_() for view in online]
    normalise = torch.nn.functional.normalize
    answers = [(normalise(o[v]) @ normalise(targets[1 - v]).T / 0.3).log_softmax(1) for v in (0, 1)]
    kl = sum(-(answers[1 - v].detach().exp() * answers[v]).sum(1).mean() for v in (0, 1)) / 2
    kl.backward()
    for mine, theirs in zip(online, o, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, atol=1e-6, rtol=1e-4)


def test_closed_forms():
    same = [torch.ones(8, 4)]
    loss, invariance = relic_loss(same, same, 0.2, 1.0)
    assert loss.item() == pytest.approx(math.log(8), rel=1e-6) and invariance.item() == pytest.approx(0, abs=1e-6)
    perfect = [torch.eye(8)]  # both sides say the same, so the KL is 0 here too
    expected = math.log(1 + 7 * math.exp(-1 / 0.2))
    assert relic_loss(perfect, perfect, 0.2, 1.0)[0].item() == pytest.approx(expected, rel=1e-4)


def test_the_targets_and_their_answer_get_no_gradient():
    online, targets = views_of(1), views_of(1)
    relic_loss(online, targets, 0.3, 2.0)[0].backward()
    assert targets[0].grad is None
    normalise = torch.nn.functional.normalize
    o = online[0].detach().requires_grad_()
    ours = normalise(o) @ normalise(targets[0].detach()).T / 0.3
    theirs = ours.detach().T.softmax(1)  # a constant: only its cross-entropy with ours is learned from
    expected = torch.nn.functional.cross_entropy(ours, torch.arange(6)) - 2.0 * (theirs * ours.log_softmax(1)).sum(1).mean()
    expected.backward()
    assert torch.allclose(online[0].grad, o.grad, atol=1e-6)


def test_it_is_float32_under_autocast_and_finite_at_a_low_temperature():
    online, targets = views_of(2), views_of(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, _ = relic_loss([v.bfloat16() for v in online], [v.bfloat16() for v in targets], 0.01, 1.0)
    loss.backward()
    assert loss.dtype == torch.float32 and loss.isfinite() and all(v.grad.isfinite().all() for v in online)


def relic(contract, name="relic", encoder="resnet_tiny", **options):
    return contract.make(name, encoder, stem=STEMS.get(encoder, "auto"), **(SMALL | options))


def test_relic_compares_views_with_other_views_only(contract):
    method = relic(contract, views={"count": 3}, invariance=0.7, temperature=0.2)
    online, target = torch.stack(views_of(3), 1).detach(), torch.stack(views_of(3, width=5)[::-1], 1).detach()
    pairs = [slow(online[:, v], target[:, w], 0.2, 0.7)[0] for v in range(3) for w in range(3) if v != w]
    assert method.criterion({"prediction": online, "target": target}, None)[0].item() == pytest.approx(sum(pairs) / 6, rel=1e-5)


def test_relic_v2_compares_every_online_view_with_every_large_target(contract):
    method = relic(contract, "relic_v2", invariance=0.7, temperature=0.2)  # 3 large views and a small one
    large, small = method.views.settings.count, method.views.settings.small
    views, batch = contract.step(method)
    outputs = method.embed(method.prepare(views, batch))
    assert outputs["prediction"].shape[1] == large + small and outputs["target"].shape[1] == large and small > 0
    online, target = outputs["prediction"].detach(), outputs["target"]
    pairs = [slow(online[:, v], target[:, w], 0.2, 0.7)[0] for v in range(large + small) for w in range(large)]
    assert len(pairs) == (large + small) * large
    assert method.criterion(outputs, batch)[0].item() == pytest.approx(sum(pairs) / len(pairs), rel=1e-4)


def test_small_views_are_trained_on_and_pass_the_online_network_alone(contract):
    method = relic(contract, "relic_v2")
    views, batch = contract.step(method)
    assert views[-1].shape[-1] < views[0].shape[-1]
    seen = []
    method.target.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape[-1]))
    views[-1].requires_grad_()
    method.loss(views, batch)[0].backward()
    assert views[-1].grad.abs().sum() > 0
    assert set(seen) == {32}


def test_masks_are_drawn_for_some_views_and_never_in_evaluation(contract):
    views = make_views("relic_v2_small", 32)
    assert 0 < views.settings.mask < 0.5
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(views.plain(images), make_views("relic_v2_small", 32, mask=0.0).plain(images))


@pytest.mark.parametrize("name", ["relic", "relic_v2"])
@pytest.mark.parametrize("encoder", ["resnet_tiny", "vit_micro", "convnext_micro", "mobilenetv2"])
def test_gradients_reach_the_online_networks_and_nothing_of_the_target(contract, name, encoder):
    method = relic(contract, name, encoder)
    assert contract.gradients(method, 32 if encoder == "resnet_tiny" else 8) == []
    frozen = {key for key, p in method.named_parameters() if not p.requires_grad}
    assert frozen == {key for key, _ in method.named_parameters() if key.startswith("target.")} and frozen
    assert not method.embed(contract.step(method)[0])["target"].requires_grad


def test_the_target_is_the_average_of_the_parameters_only(contract):
    method = relic(contract, momentum=0.9)
    before = [p.clone() for p in method.target.parameters()]
    with torch.no_grad():
        for p in (*method.encoder.parameters(), *method.projector.parameters()):
            p.add_(1)
        for buffer in method.encoder.buffers():
            buffer.fill_(7)
    buffers = [b.clone() for b in method.target.buffers()]
    method.after_step(0.5)  # halfway along the cosine: 1 - .1 / 2
    for old, now in zip(before, method.target.parameters(), strict=True):
        assert torch.allclose(now, old + 0.05, atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(buffers, method.target.buffers(), strict=True))


@pytest.mark.parametrize("name", ["relic", "relic_v2"])
def test_the_published_form_is_an_option_of_the_method(contract, name):
    method = relic(contract, name, form="views")
    assert contract.gradients(method, 32) == []
    outputs = method.embed(contract.step(method)[0])
    usual = relic(contract, name)
    assert method.criterion(outputs, None)[0].item() != pytest.approx(usual.criterion(outputs, None)[0].item(), abs=1e-4)


def test_what_cannot_work_is_named_before_training(contract):
    with pytest.raises(UserError, match="form of the invariance 'rows'"):
        relic(contract, form="rows")
    with pytest.raises(UserError, match="batch of 1 is too few"):
        relic(contract).check(100, 1)
    with pytest.raises(UserError, match="at least 2 views"):
        relic(contract, views={"count": 1})
    with pytest.raises(UserError, match="takes no small views"):
        relic(contract, recipe="relic_v2_small")
    with pytest.raises(UserError, match="vit_micro takes one image size"):
        relic(contract, "relic_v2", "vit_micro", net={"pool": "concat"})


@pytest.mark.parametrize("name", ["relic", "relic_v2"])
def test_it_survives_a_stop(contract, tmp_path, name):
    assert contract.survives(lambda: relic(contract, name, size=24), tmp_path) == []


SHORT = {"hidden": 256, "out": 64, "momentum": 0.5, "temperature": 0.2}  # a run of 250 steps cannot wait for a slow target


@pytest.mark.slow
def test_relic_learns(contract):
    before, after = contract.learns(
        lambda: relic(contract, recipe="simclr_small", size=24, views={"crop_scale": (0.5, 1)}, **SHORT),
        epochs=8,
        rate=4e-3,
        train=1000,
        size=24,
        classes=5,
    )
    print(f"ReLIC: kNN {before:.1f} -> {after:.1f}")
    assert after > before + 10


@pytest.mark.slow
def test_relic_v2_learns_in_front_of_backgrounds(contract):
    before, after = contract.learns(
        lambda: relic(contract, "relic_v2", size=24, views={"crop_scale": (0.5, 1), "count": 2, "mask": 0.5}, **SHORT),
        epochs=6,
        rate=4e-3,
        batch_size=32,
        train=1000,
        size=24,
        classes=5,
        background="own",
    )
    print(f"ReLICv2: kNN {before:.1f} -> {after:.1f}")
    assert after > before + 10
