"""lightly's SimCLR on CIFAR-10 for so many minutes, read as the races are: python -m helpers.studies.speedrun.rival [--minutes 60] [--seed 0].

Its own transforms in DataLoader workers, net, projector, loss and the settings of its CIFAR-10 benchmark (batch 128, SGD), in fp32 as it
is written. Two things are kinder to it than its benchmark: the cosine comes down at the end of these minutes, not of 200 epochs, and the
clock stands while it is read. lightly is no requirement of this project: pip install lightly.
"""

import argparse
import importlib.util
import itertools
import math
import sys
import time
from importlib.metadata import version
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from helpers.core.clock import process_seconds
from helpers.core.devices import describe
from helpers.core.errors import UserError
from helpers.core.files import read_json, shown, write_json
from helpers.core.progress import line
from helpers.evaluation import extract, knn
from helpers.runs.config import Data
from helpers.runs.material import material
from helpers.runs.records import runs_dir
from helpers.studies.speedrun.settings import PROTOCOL
from helpers.views import make_views

BATCH, RATE, DECAY, MOMENTUM, TEMPERATURE = 128, 0.06, 5e-4, 0.9, 0.5  # of its CIFAR-10 benchmark
COLOURS, SIDE, WORKERS = 0.5, 32, 2
MINUTES = (15, 60)  # at which it is read; a reading takes this net some minutes


class _Pictures(Dataset):
    """PIL images through lightly's transform, as its own dataset gives them."""

    def __init__(self, images, transform):
        from PIL import Image

        self.images, self.transform = [Image.fromarray(image.transpose(1, 2, 0)) for image in images], transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        return self.transform(self.images[index])


def folder() -> Path:
    """Beside the records, so that tables drawn anew into another folder read the same."""
    return runs_dir().parent / "speedrun" / "lightly"


def recorded() -> list[dict]:
    """What was measured, by seed."""
    return sorted((read_json(path) for path in folder().glob("seed*.json")), key=lambda found: found["seed"])


def measure(minutes: float, seed: int, train_images: int | None = None, test_images: int | None = None) -> dict:
    """Train for so long and read at the minutes on the way, and at the end."""
    if not importlib.util.find_spec("lightly"):
        raise UserError("lightly is not installed, and nothing else of this project needs it. Install it: pip install lightly")
    from lightly.loss import NTXentLoss
    from lightly.models import ResNetGenerator
    from lightly.models.modules import SimCLRProjectionHead
    from lightly.transforms import SimCLRTransform
    from lightly.transforms.utils import IMAGENET_NORMALIZE

    torch.manual_seed(seed)
    images = material(Data(dataset="cifar10", train_images=train_images, test_images=test_images))
    plain = make_views("none", SIDE, mean=tuple(IMAGENET_NORMALIZE["mean"]), std=tuple(IMAGENET_NORMALIZE["std"]))
    encoder = nn.Sequential(*list(ResNetGenerator("resnet-18").children())[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(encoder, SimCLRProjectionHead(512, 512, 128))
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE * BATCH / 128, momentum=MOMENTUM, weight_decay=DECAY)
    criterion = NTXentLoss(temperature=TEMPERATURE)
    pictures = _Pictures(
        images.train.images[images.train_indices], SimCLRTransform(input_size=SIDE, cj_strength=COLOURS, gaussian_blur=0.0)
    )
    loader = DataLoader(pictures, min(BATCH, len(pictures)), shuffle=True, drop_last=True, num_workers=WORKERS, persistent_workers=True)
    marks = [mark * 60 for mark in MINUTES if mark < minutes] + [minutes * 60]
    found, stood, steps = [], 0.0, 0
    for first, second in itertools.chain.from_iterable(iter(loader) for _ in itertools.count()):
        spent = process_seconds() - stood
        for group in optimizer.param_groups:
            group["lr"] = RATE * BATCH / 128 * (1 + math.cos(math.pi * min(1, spent / marks[-1]))) / 2
        loss = criterion(model(first), model(second))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        spent = process_seconds() - stood
        if spent >= marks[len(found)]:
            began = time.perf_counter()
            read = {"seconds": round(spent, 2), "epochs": round(steps / len(loader), 4), "loss": loss.item()}
            found.append(read | {"knn": _accuracy(encoder, plain, images)})
            line(f"lightly, seed {seed}: {found[-1]['knn']:.2f} % after {spent:.0f} s, {read['epochs']:.2f} epochs")
            stood += time.perf_counter() - began
        if len(found) == len(marks):
            break
    device = describe(torch.device("cpu"))
    return {"seed": seed, "lightly": version("lightly"), "torch": torch.__version__, "device": device, "workers": WORKERS, "reads": found}


def _accuracy(encoder: nn.Module, plain, images) -> float:
    def read(split, indices):
        return extract(encoder, plain, split, device="cpu", indices=indices, precision="fp32")

    train, test = read(images.bank, images.labelled), read(images.test, images.test_indices)
    guess = knn.predict(train.x, train.y, test.x, *knn.protocol_setting(PROTOCOL))
    return (guess == test.y).float().mean().item() * 100


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.studies.speedrun.rival", description="Train lightly's SimCLR beside the races."
    )
    parser.add_argument("--minutes", type=float, default=MINUTES[-1])
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    try:
        found = measure(given.minutes, given.seed)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    path = folder() / f"seed{given.seed}.json"
    write_json(path, found)
    print(f"Read it: {shown(path)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
