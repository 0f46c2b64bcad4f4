"""Features, the whole evaluation and fine-tuning, on a tiny encoder and images whose brightest corner is the class."""

import copy
import importlib

import numpy as np
import pytest
import torch
from torch import nn

from helpers.core.errors import TrainingStopped, UserError
from helpers.core.seeds import generator
from helpers.data import Batches, Split
from helpers.evaluation import evaluate, extract, finetune, knn, probe
from helpers.evaluation.finetune import RECIPES, epochs_of, settle

tuning = importlib.import_module("helpers.evaluation.finetune")  # the package's name for it is the function


class Corners:
    """Plain views, and one random view: brightness."""

    def __call__(self, images, generator):
        light = torch.rand(len(images), 1, 1, 1, generator=generator, device=images.device)
        return [self.plain(images) * (0.8 + 0.4 * light)]

    def plain(self, images):
        return images.float() / 255


class Tiny(nn.Module):
    width = 12

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x):
        return self.layers(x)


def split(count, seed, classes=4):
    numbers = np.random.default_rng(seed)
    labels = numbers.integers(0, classes, count)
    images = numbers.integers(0, 120, (count, 3, 8, 8)).astype(np.uint8)
    for i, label in enumerate(labels):
        images[i, label % 3, (label // 3) * 4 :] += 60
    return Split(images, labels.astype(np.int64))


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return Tiny()


@pytest.fixture(scope="module")
def splits():
    return split(300, 0), split(120, 1)


def test_extract_keeps_order_and_mode_and_is_float32(encoder, splits):
    data = splits[0]
    encoder.train()
    encoder.layers[1].eval()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    got = extract(encoder, Corners(), data, device="cpu", batch_size=64, precision="fp32")
    assert encoder.training
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    with torch.no_grad():
        expected = encoder.eval()(Corners().plain(torch.from_numpy(data.images)))
    torch.testing.assert_close(got.x, expected)
    assert got.x.dtype == torch.float32
    assert not got.x.requires_grad
    assert np.array_equal(got.y.numpy(), data.labels)


def test_extract_by_indices_and_in_bf16(encoder, splits):
    chosen = np.array([3, 10, 11, 250])
    whole = extract(encoder, Corners(), splits[0], device="cpu", precision="fp32")
    part = extract(encoder, Corners(), splits[0], device="cpu", indices=chosen, precision="bf16")
    assert part.x.dtype == torch.float32
    torch.testing.assert_close(part.x, whole.x[chosen], atol=0.02, rtol=0.05)
    assert np.array_equal(part.y.numpy(), splits[0].labels[chosen])


def test_extract_refuses_what_it_cannot_score(encoder, splits):
    with pytest.raises(UserError, match="no labels"):
        extract(encoder, Corners(), Split(splits[0].images, None), device="cpu")
    with pytest.raises(UserError, match="empty"):
        extract(encoder, Corners(), splits[0], device="cpu", indices=np.array([], dtype=np.int64))
    encoder.layers[0].weight.data[5] = float("nan")
    encoder.train()
    with pytest.raises(TrainingStopped, match="300 of 300"):
        extract(encoder, Corners(), splits[0], device="cpu")
    assert encoder.training


def test_where_memory_is_short_fewer_images_are_read_at_a_time(encoder, splits):
    whole, seen = extract(encoder, Corners(), splits[0], device="cpu"), []

    def hungry(net, given):
        seen.append(len(given[0]))
        if len(given[0]) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    hook = encoder.register_forward_pre_hook(hungry)
    part = extract(encoder, Corners(), splits[0], device="cpu", batch_size=256)
    assert seen[:3] == [256, 64, 16] and len(seen) == 2 + 19
    torch.testing.assert_close(part.x, whole.x)
    hook.remove()
    encoder.register_forward_pre_hook(lambda net, given: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory.")))
    with pytest.raises(torch.OutOfMemoryError):
        extract(encoder, Corners(), splits[0], device="cpu")


def test_every_part_of_the_encoder_gets_its_own_mode_back(encoder, splits):
    encoder.train()
    encoder.layers[1].eval()
    extract(encoder, Corners(), splits[0], device="cpu")
    assert encoder.training and encoder.layers[0].training and not encoder.layers[1].training


def test_evaluate_has_the_form_of_a_record(encoder, splits):
    result = evaluate(encoder, Corners(), *splits, 4, device="cpu", train_indices=np.arange(0, 300, 2), precision="fp32")
    names = ["linear", "knn10", "knn20", "knn10_t0.1", "knn20_t0.1"]
    assert {"top1", "top3", "top5", "train_top1", "weight_decay", "folds"} == set(result.evaluations["linear"])
    for name in ("knn200", "knn200_t0.1"):
        assert result.evaluations[name] == {"skipped": "k = 200 is more than the 150 training images"}
    assert set(result.evaluations) == {*names, "knn200", "knn200_t0.1"}
    assert set(result.arrays) == {"labels", *(f"{name}.predictions" for name in names)}
    labels = result.arrays["labels"]
    assert np.array_equal(labels, splits[1].labels)
    for name in names:
        predictions = result.arrays[f"{name}.predictions"]
        assert predictions.dtype == labels.dtype == np.uint8
        assert isinstance(result.evaluations[name]["top1"], float)
        assert result.evaluations[name]["top1"] == pytest.approx(100 * (predictions == labels).mean(), abs=1e-4)
    alone = knn.predict(result.train.x, result.train.y, result.test.x, 20, 0.1)
    assert np.array_equal(alone.numpy(), result.arrays["knn20_t0.1.predictions"])
    assert result.train.x.shape == (150, 12)


def test_evaluate_without_linear_and_with_more_than_256_classes(encoder):
    many = Split(split(40, 2).images, np.arange(260, 300))
    result = evaluate(encoder, Corners(), many, many, 300, device="cpu", ks=(1,), temperatures=(None,), linear=False)
    assert result.evaluations == {"knn1": {"top1": 100.0}}
    assert result.arrays["labels"].max() == 299


def test_finetuning_learns_from_the_labels_it_may_see_and_leaves_the_encoder_alone(encoder, splits):
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    indices = np.arange(0, 300, 2)
    masked = splits[0].labels.copy()
    masked[1::2] = 0
    options = {"device": "cpu", "indices": indices, "epochs": 12, "batch_size": 25, "rate": 0.02, "precision": "fp32"}
    result = finetune(encoder, Corners(), *splits, 4, **options)
    unseen = finetune(encoder, Corners(), Split(splits[0].images, masked), splits[1], 4, **options)
    assert result.top1 > 70
    assert torch.equal(result.predictions, unseen.predictions)
    assert result.top1 <= result.top3 <= result.top5 == 100
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    assert encoder.training


class Large(Tiny):
    """Features as a net without normalisation has them: far from zero, of unequal scale."""

    def forward(self, x):
        return 100 + torch.logspace(0, 2, 12) * self.layers(x)


def test_from_the_probe_nothing_is_lost_that_the_probe_had(splits):
    torch.manual_seed(0)
    encoder, how = Large(), {"device": "cpu", "precision": "fp32"}
    frozen = probe(*(extract(encoder, Corners(), each, **how) for each in splits), 4)
    plain, ours = (finetune(encoder, Corners(), *splits, 4, recipe=recipe, epochs=4, batch_size=25, **how) for recipe in RECIPES)
    assert ours.top1 >= frozen.top1 - 2, (ours.top1, frozen.top1)
    assert ours.top1 > plain.top1 + 10 and ours.train_top1 > plain.train_top1 + 10
    assert ours.train_top1 == pytest.approx(ours.top1, abs=15)


def test_the_head_begins_as_the_probe(encoder, splits):
    """At a rate of next to nothing the model is the probe of the settled encoder, and the encoder that was given is left alone."""
    how = {"device": "cpu", "precision": "fp32"}
    indices = np.arange(0, 300, 2)
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "HEAD_RATE", 1e-12)
        got = finetune(encoder, Corners(), *splits, 4, recipe="from_probe", epochs=1, rate=1e-12, indices=indices, **how)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
    batches = Batches(splits[0], 128, torch.device("cpu"), seed=0, indices=indices)
    seen = [torch.cat(Corners()(batch.images, generator("cpu", 0, "finetune", 0, step))) for step, batch in enumerate(batches.epoch(0))]
    settled = copy.deepcopy(encoder)
    settle(settled, [(images, None) for images in seen], torch.device("cpu"), "fp32")
    frozen = probe(extract(settled, Corners(), splits[0], indices=indices, **how), extract(settled, Corners(), splits[1], **how), 4)
    assert (got.predictions == frozen.predictions).float().mean() > 0.95  # whatever its trust, which scales all scores alike


def test_settled_statistics_are_the_mean_over_the_batches_and_nothing_else_moves(encoder):
    images = [torch.rand(20, 3, 8, 8) * scale for scale in (1, 2)]
    norm, weights = encoder.layers[1], encoder.layers[0].weight.clone()
    settle(encoder, [(each, None) for each in images], torch.device("cpu"), "fp32")
    with torch.no_grad():
        means = [encoder.layers[0](each).mean((0, 2, 3)) for each in images]
    torch.testing.assert_close(norm.running_mean, (means[0] + means[1]) / 2, atol=1e-5, rtol=1e-4)
    assert norm.momentum == 0.1 and torch.equal(weights, encoder.layers[0].weight)


def test_few_images_are_gone_over_until_the_least_number_of_steps():
    assert epochs_of(300, 128, epochs=3, steps=0) == 3
    assert epochs_of(300, 128, epochs=3, steps=7) == 4 and epochs_of(20, 128, epochs=3, steps=7) == 7


def test_rates_rise_before_they_fall_and_the_head_has_its_own(encoder, splits, monkeypatch):
    seen, real = [], torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self: seen.append([g["lr"] for g in self.param_groups]) or real(self))
    finetune(encoder, Corners(), *splits, 4, device="cpu", recipe="from_probe", epochs=10, batch_size=100, rate=0.02, precision="fp32")
    body, head = np.array(seen).T
    assert len(body) == 30 and np.allclose(body / head, 0.02 / tuning.HEAD_RATE)
    assert body[0] == pytest.approx(0.02 / 3) and body.argmax() == 2 and (np.diff(body[2:]) < 0).all()


def test_finetuning_that_diverges_says_so(encoder, splits):
    encoder.layers[0].weight.data[:] = float("inf")
    with pytest.raises(TrainingStopped, match="epoch 1 of 2 .* 0.5"):
        finetune(encoder, Corners(), *splits, 4, device="cpu", epochs=2, rate=0.5)
