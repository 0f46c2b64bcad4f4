"""Features, the whole evaluation and fine-tuning, on a tiny encoder and images whose brightest corner is the class."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers.core.errors import TrainingStopped, UserError
from helpers.data import Split
from helpers.evaluation import evaluate, extract, finetune, knn


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
    assert {"top1", "top3", "top5", "weight_decay"} == set(result.evaluations["linear"])
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


def test_finetuning_that_diverges_says_so(encoder, splits):
    encoder.layers[0].weight.data[:] = float("inf")
    with pytest.raises(TrainingStopped, match="epoch 1 of 2 .* 0.5"):
        finetune(encoder, Corners(), *splits, 4, device="cpu", epochs=2, rate=0.5)
