"""What every method has to keep, as functions that each method's own test file calls with its own sizes and data."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from helpers.core.seeds import generator
from helpers.data import Batches, load
from helpers.data.dataset import Split
from helpers.evaluation import extract, knn
from helpers.methods import METHODS, StepBatch
from helpers.models import build_encoder
from helpers.training import Stopped, Training, TrainSettings
from helpers.training.optimizers import build_optimizer
from helpers.views import make_views

CPU = torch.device("cpu")


def make(name, encoder="resnet_tiny", *, recipe=None, size=32, stem="auto", seed=0, net=None, views=None, images=None, **options):
    """A method on a small encoder with the recipe of its card; net: options of the encoder; views: settings of the recipe to change."""
    torch.manual_seed(seed)
    kind = METHODS[name]
    made = make_views(recipe or kind.card.recipe, size, **(views or {}))
    if images is not None:
        options["images"] = images
    net = build_encoder(encoder, size, stem=stem, **(net or {}))
    for module in net.modules():  # timm starts each residual branch at zero, where no gradient enters it
        if isinstance(module, torch.nn.BatchNorm2d) and not module.weight.any():
            torch.nn.init.ones_(module.weight)
    return kind(net, made, **options)


def step(method, count=8, progress=0.5, seed=0):
    """Views of random images, and the batch they belong to."""
    draw = generator("cpu", seed)
    images = torch.randint(0, 256, (count, 3, method.views.size, method.views.size), dtype=torch.uint8, generator=draw)
    labels = torch.arange(count) % 10 if method.needs_labels else None
    with torch.no_grad():
        return method.views(images, draw), StepBatch(torch.arange(count), labels, progress, draw)


def gradients(method, count=8):
    """The loss of one batch, sent back; returns the names of trained parameters that no gradient reached. Frozen ones must have none."""
    method.train()
    loss, logs = method.loss(*step(method, count))
    loss.backward()
    assert loss.ndim == 0 and loss.isfinite() and loss.dtype == torch.float32
    assert not any(value.requires_grad for value in logs.values())
    assert all(p.grad is None for p in method.parameters() if not p.requires_grad)
    trained = [(name, p) for name, p in method.named_parameters() if p.requires_grad]
    in_groups = {id(p) for group in method.parameter_groups() for p in group["params"]}
    assert in_groups == {id(p) for _, p in trained}
    # a bias in front of a batch norm is subtracted again: its gradient is zero but for rounding
    return [name for name, p in trained if (p.grad is None or not p.grad.abs().sum() > 0) and not name.endswith("bias")]


def _batches(count=48, size=32, batch_size=8, labels=False):
    draws = np.random.default_rng(0)
    images = draws.integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    return Batches(Split(images, np.arange(count) % 10 if labels else None), batch_size, CPU, seed=0)


def survives(build, folder, *, epochs=3, stop_after=8, batch_size=8, count=48):
    """Train undisturbed, and again with a stop in mid-epoch and a fresh start from the checkpoint: every tensor must be equal."""
    settings = TrainSettings(epochs=epochs, optimizer="adamw", rate=1e-3, precision="fp32")
    ends = []
    for stop in (None, stop_after):
        method = build()
        batches = _batches(count, method.views.size, batch_size, method.needs_labels)
        if stop is None:
            Training(method, batches, settings, CPU).run()
        else:
            first = Training(method, batches, settings, CPU, folder=folder)
            first.stop = lambda run=first: "of the test" if run.step >= stop_after else None
            with pytest.raises(Stopped):
                first.run()
            method = build()
            second = Training(method, _batches(count, method.views.size, batch_size, method.needs_labels), settings, CPU, folder=folder)
            second.run()
            assert second.resumed_at == stop_after
        ends.append(copy.deepcopy(method.state_dict()))
    assert ends[0].keys() == ends[1].keys()
    return [key for key in ends[0] if not _same(ends[0][key], ends[1][key])]


def _same(one, other):
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def learns(build, *, epochs, rate=2e-3, batch_size=64, train=2000, test=500, optimizer="adam", read=None, **options):
    """kNN (k = 10, cosine) of the encoder before and after training on the embedded images; options go to their generator."""
    dataset = load("embedded", options={"train": train, "test": test} | options)
    method = build()
    read = read or (lambda encoder: encoder)
    before = _knn(read(method.encoder), method.views, dataset)
    settings = TrainSettings(epochs=epochs, optimizer=optimizer, rate=rate)
    Training(method, Batches(dataset.split("train"), batch_size, CPU, seed=0), settings, CPU).run()
    return before, _knn(read(method.encoder), method.views, dataset)


def _knn(encoder, views, dataset):
    train, test = (extract(encoder, views, dataset.split(part), device=CPU) for part in ("train", "test"))
    return (knn.predict(train.x, train.y, test.x, k=10, classes=10) == test.y).float().mean().item() * 100


def begins_to_move(method, weight, optimizer):
    """Whether the weight's directions stand still in a step at the start of a run and move in one later, under that optimizer."""
    rate = 1.0 if optimizer == "lars" else 0.01  # LARS moves a weight by a thousandth of its length at rate 1
    optimizer = build_optimizer(optimizer, method.parameter_groups(), rate=rate)
    views, batch = step(method)
    directions = [F.normalize(weight.detach(), dim=1)]
    for batch.progress in (0.0, 0.5):
        optimizer.zero_grad(set_to_none=True)
        method.loss(views, batch)[0].backward()
        optimizer.step()
        directions.append(F.normalize(weight.detach(), dim=1))
    stood = torch.allclose(directions[0], directions[1], atol=1e-6)
    return stood and not torch.allclose(directions[1], directions[2], atol=1e-5)


def follow(method, pairs):
    """Whether each second of the pairs is an average of the first, at a momentum of 0.9 that rises by a cosine."""
    before = [[p.clone() for p in theirs.parameters()] for _, theirs in pairs]
    with torch.no_grad():
        for own, _ in pairs:
            for p in own.parameters():
                p.add_(1)
    method.after_step(0.5)  # halfway along the cosine: 1 - .1 / 2
    return all(
        torch.allclose(now, 0.95 * then + 0.05 * p, atol=1e-6)
        for (own, theirs), old in zip(pairs, before, strict=True)
        for p, now, then in zip(own.parameters(), theirs.parameters(), old, strict=True)
    )


@pytest.fixture
def contract():
    parts = dict(make=make, step=step, gradients=gradients, survives=survives, learns=learns)
    parts |= dict(begins_to_move=begins_to_move, follow=follow)
    return SimpleNamespace(**parts)
