"""What the embedded data is for: with little arithmetic, contrast must teach a small ResNet what pixels do not say."""

import pytest
import torch

from helpers.data import Batches, load
from helpers.evaluation import extract, knn
from helpers.methods import METHODS
from helpers.models import build_encoder
from helpers.runs.footprint import training_flops
from helpers.training import Training, TrainSettings
from helpers.views import make_views

CPU = torch.device("cpu")


def accuracy(train_x, train_y, test_x, test_y):
    return (knn.predict(train_x, train_y, test_x, 10) == test_y).float().mean().item() * 100


def knn_of(encoder, views, dataset):
    one, two = (extract(encoder, views, dataset.split(name), device=CPU) for name in ("train", "test"))
    return accuracy(one.x, one.y, two.x, two.y)


@pytest.mark.slow
def test_simclr_ends_twenty_points_above_raw_pixels_and_the_untrained_encoder():
    dataset = load("embedded")
    pixels = {name: torch.from_numpy(dataset.split(name).images.copy()).flatten(1).float() for name in ("train", "test")}
    labels = {name: torch.from_numpy(dataset.split(name).labels.copy()) for name in ("train", "test")}
    raw = accuracy(pixels["train"], labels["train"], pixels["test"], labels["test"])
    torch.manual_seed(0)
    views = make_views("simclr_small", 32)
    method = METHODS["simclr"](build_encoder("resnet_tiny", 32, stem="stride2"), views, temperature=0.2)
    untrained = knn_of(method.encoder, views, dataset)
    for module in method.modules():  # timm starts residual branches at zero, from where they are slow to wake in so few steps
        if isinstance(module, torch.nn.BatchNorm2d) and not module.weight.any():
            torch.nn.init.ones_(module.weight)
    batches = Batches(dataset.split("train"), 64, CPU, seed=0)
    training = Training(method, batches, TrainSettings(epochs=EPOCHS, optimizer="muon", rate=0.03), CPU)
    arithmetic = training_flops(training, "learning")
    training.run()
    trained = knn_of(method.encoder, views, dataset)
    print(f"kNN k = 10: raw pixels {raw:.1f}, untrained {untrained:.1f}, SimCLR {trained:.1f} after {arithmetic / 1e12:.2f} TFLOP")
    assert raw < 40
    assert trained > max(raw, untrained) + 20
    assert arithmetic < TERAFLOP * 1e12  # counted, not timed: how long that takes says more of what else the machine does


EPOCHS = 3
TERAFLOP = 1.5  # of the whole training
