"""Losses, views, batches and readouts give on the device what they give on the CPU."""

import numpy as np
import pytest
import torch

from helpers.data import Batches, Split
from helpers.evaluation import Features, extract, knn, probe
from helpers.evaluation.robustness import Reader, robust
from helpers.methods import losses
from helpers.models import build_encoder
from helpers.views import RECIPES, Views, ViewSettings, make_views, render

CPU = torch.device("cpu")
EVERYTHING = ViewSettings(
    shift=0.1, crop_scale=(0.2, 1), flip=0.5, quarter_turns=True, rotation=30, jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.4,
    hue=0.1, grey=0.2, blur=0.5, solarize=0.2, sobel=0.3, noise=0.5, cutout=0.5,
)  # fmt: skip


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def split(count=120, classes=4):
    """Each class has a colour and noise on top of it, so that features of an untrained net already say something."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % classes
    colours = rng.integers(60, 190, (classes, 3, 1, 1))
    return Split((colours[labels] + rng.integers(-50, 50, (count, 3, 32, 32))).astype(np.uint8), labels)


LOSSES = {
    "nt_xent": lambda z: losses.nt_xent(z[0], z[1], 0.1),
    "multi_view_nt_xent": lambda z: losses.multi_view_nt_xent(list(z), 0.1),
    "relic_loss": lambda z: losses.relic_loss(list(z), list(z[:2].detach()), 0.3, 1.0, "views")[0],
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_gradients(name, device):
    def at(where, dtype):
        z = draw(3, 24, 16).to(where, dtype).requires_grad_()
        loss = LOSSES[name](z)
        loss.backward()
        return loss.detach().double().cpu(), z.grad.double().cpu()

    exact, here = at(CPU, torch.float64), at(device, torch.float32)  # in double the losses still compute in float32, on exact inputs
    for one, other in zip(exact, here, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-6)
    halved = at(device, torch.bfloat16)
    torch.testing.assert_close(halved[0], exact[0], rtol=0.02, atol=0)


@pytest.mark.parametrize("settings", [RECIPES["contest"], EVERYTHING], ids=["contest", "everything"])
def test_views_for_given_random_numbers(settings, device):
    count, size = 24, 32
    source = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count // 2, 3, 40, 40), dtype=torch.uint8, generator=source)
    order = torch.randperm(count, generator=source)
    numbers = torch.rand(render.numbers_needed(settings, size), count, generator=source)
    noise = torch.randn(count, 3, size, size, generator=source) if settings.noise else None

    def at(where, dtype=torch.float32):
        out = torch.empty(count, size, size, 3, device=where)
        moved = [None if x is None else x.to(where) for x in (images, order % len(images), order, numbers, noise)]
        render.render(out, *moved, settings, size)
        return out.cpu()

    ours, theirs = at(device), at(CPU)
    # A rounding may move a box by a pixel or a value across the threshold of an inversion: rare, and never a whole batch's difference.
    off = (ours - theirs).abs().flatten(1).amax(1) > 1e-3
    assert off.float().mean() <= 0.05
    assert ours.isfinite().all() and ours.std() > 0.3


@pytest.mark.parametrize("name", ["contest", "simclr", "supervised"])
def test_views_statistics(name, device):
    """Drawn by the device's own generator they are other numbers, but of the same distribution."""
    images = torch.from_numpy(split(1000).images)

    def at(where, seed):
        made = make_views(name, 32)(images.to(where), torch.Generator(where).manual_seed(seed))
        spread = torch.cat(made).flatten(1)
        return torch.stack([spread.mean(1).mean(), spread.mean(1).std(), spread.std(1).mean(), spread.std(1).std()]).cpu()

    # Six seeds on a CPU lay within 0.035 of each other.
    torch.testing.assert_close(at(device, 1), at(CPU, 2), atol=0.05, rtol=0)


def test_making_views_waits_for_nothing(device, no_waiting):
    images, drawing = torch.from_numpy(split(64).images).to(device), torch.Generator(device).manual_seed(0)
    for views in (make_views("contest", 32), make_views("supervised", 32), Views(EVERYTHING, 32)):
        views(images, drawing)
        with no_waiting:
            made = views(images, drawing)
        assert all(view.device.type == device.type and view.isfinite().all() for view in made)


@pytest.mark.parametrize("resident", [True, False])
def test_batches(resident, device):
    there = Batches(split(), 10, device, indices=np.arange(3, 90), resident=resident)
    here = Batches(split(), 10, CPU, indices=np.arange(3, 90), resident=True)
    steps = 0
    for one, other in zip(here.epoch(1), there.epoch(1), strict=True):
        assert other.images.device.type == other.labels.device.type == other.indices.device.type == device.type
        for field in ("images", "labels", "indices"):
            assert torch.equal(getattr(one, field), getattr(other, field).cpu())
        steps += 1
    assert steps == 8
    late = [batch.indices.cpu() for batch in there.epoch(1, start=5)]
    assert torch.equal(torch.cat(late), torch.cat([batch.indices for batch in here.epoch(1, start=5)]))


@pytest.mark.parametrize("encoder", ["resnet_tiny", "vit_micro"])
def test_features(encoder, device):
    torch.manual_seed(0)
    net, views = build_encoder(encoder, 32, stem="patch8" if encoder == "vit_micro" else "auto"), make_views("contest", 32)
    exact = extract(net, views, split(), device=CPU, precision="fp32").x
    ours = extract(net, views, split(), device=device, precision="fp32").x.cpu()
    torch.testing.assert_close(ours, exact, rtol=1e-3, atol=1e-4)
    halved = extract(net, views, split(), device=device, precision="bf16").x.cpu()
    assert torch.nn.functional.cosine_similarity(halved, exact).min() > 0.995


def features(where, count, seed):
    classes = 5
    y = torch.arange(count) % classes
    x = draw(classes, 32, seed=9)[y] + 1.5 * draw(count, 32, seed=seed)
    return Features(x.to(where), y.to(where))


def test_nearest_neighbours(device):
    def at(where):
        train, test = features(where, 3000, 1), features(where, 400, 2)
        similarity, _ = knn.neighbours(train.x, test.x, 20)
        predicted = knn.predict_many(train.x, train.y, test.x, [(10, None), (20, 0.1)], 5)
        return similarity.cpu(), torch.stack(predicted).cpu()

    ours, theirs = at(device), at(CPU)
    torch.testing.assert_close(ours[0], theirs[0], atol=1e-5, rtol=0)
    assert (ours[1] == theirs[1]).float().mean() > 0.995  # two neighbours equally near to a rounding may change places


def test_linear_probe(device):
    results = [probe(features(where, 1000, 1), features(where, 400, 2), 5) for where in (device, CPU)]
    assert results[0].top1 == pytest.approx(results[1].top1, abs=0.6) and results[1].top1 > 50
    same = (results[0].predictions.cpu() == results[1].predictions.cpu()).float().mean()
    assert same > 0.99 or results[0].weight_decay != results[1].weight_decay


def test_altered_images_are_read_on_the_device(device):
    """What is drawn differs from device to device; images as they are, and those altered without chance, read the same."""
    raw, labels = torch.from_numpy(split().images), torch.from_numpy(split().labels)
    masks = torch.zeros(len(raw), 1, 32, 32)
    masks[:, :, 8:24, 8:24] = 1
    torch.manual_seed(0)
    net, weights = build_encoder("resnet_tiny", 32), torch.randn(192, 4)

    def read(where):
        reader = Reader(net.to(where), make_views("contest", 32), (weights.to(where), torch.zeros(4, device=where)), "fp32")
        return robust(reader, raw.to(where), labels.to(where), masks.to(where))

    (exact, kept), (told, here) = read(CPU), read(device)
    assert {name: array.shape for name, array in here.items()} == {name: array.shape for name, array in kept.items()}
    assert told["robust"]["top1"] == pytest.approx(exact["robust"]["top1"], abs=1)
    for name in ("brightness", "contrast", "pixelate", "jpeg_compression"):
        np.testing.assert_allclose(told["robust"]["corruptions"][name], exact["robust"]["corruptions"][name], atol=2)
    for level in ("x0.5", "x2"):
        assert told["robust"]["scale"][level] == pytest.approx(exact["robust"]["scale"][level], abs=2)
