"""The usual way to train the same thing, measured beside ours: PIL transforms in DataLoader workers, fp32, contiguous tensors."""

import os
import time
from collections.abc import Callable, Iterator

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, RandomSampler
from torchvision import transforms

from helpers.bench.steps import rate
from helpers.core.devices import wait
from helpers.methods import StepBatch
from helpers.views import ViewSettings

WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def recipe(settings: ViewSettings, size: int) -> transforms.Compose:
    """torchvision's transforms with the strengths and probabilities of our recipe."""
    jitter = transforms.ColorJitter(settings.brightness, settings.contrast, settings.saturation, settings.hue)
    crop = [transforms.RandomResizedCrop(size, scale=settings.crop_scale, ratio=settings.crop_ratio)] if settings.crop_scale else []
    shift = [transforms.RandomCrop(size, round(settings.shift * size), padding_mode="reflect")] if settings.shift else []
    return transforms.Compose(
        [
            *crop,
            *shift,
            transforms.RandomHorizontalFlip(settings.flip),
            transforms.RandomApply([jitter], settings.jitter),
            transforms.RandomGrayscale(settings.grey),
            transforms.ToTensor(),
            transforms.Normalize(settings.mean, settings.std),
        ]
    )


class Items(Dataset):
    """PIL images, as torchvision's datasets give them; an item is the views of one, with its label and its index."""

    def __init__(self, split, make_views: Callable[[Image.Image], list[torch.Tensor]]):
        self.images = [Image.fromarray(image.transpose(1, 2, 0)) for image in split.images]
        self.labels = [0] * len(self.images) if split.labels is None else [int(label) for label in split.labels]
        self.make_views = make_views

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        return self.make_views(self.images[index]), self.labels[index], index


class Step:
    """One training step as most scripts write it."""

    def __init__(self, method, device: torch.device):
        self.method, self.device = method.to(device).train(), device
        self.optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3)

    def __call__(self, item) -> None:
        views, labels, indices = moved(item, self.device)
        draw = torch.Generator(self.device).manual_seed(0)
        loss, _ = self.method.loss(views, StepBatch(indices, labels if self.method.needs_labels else None, 0.0, draw))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def moved(item, device: torch.device):
    views, labels, indices = item
    return [view.to(device, non_blocking=True) for view in views], labels.to(device), indices.to(device)


class Loaded:
    """The speed of a step that DataLoader workers feed. They are started for each measurement, so that they neither disturb the
    others nor work ahead meanwhile, and a time of their own passes before the clock starts: their queue is then what it is in
    the midst of training."""

    def __init__(self, items: Items, step: Callable, batch: int, seconds: float, device: torch.device):
        self.items, self.step, self.batch, self.seconds, self.device = items, step, batch, seconds, device
        self.step_seconds: float | None = None  # of the first step, which is never counted

    def __call__(self) -> float:
        source = self._stream()
        item = next(source)
        if self.step_seconds is None:
            self.step_seconds = self._timed(item)
        if self.step_seconds > self.seconds:
            time.sleep(self.seconds)  # beside so slow a step the workers fill their queue
        else:
            rate(lambda: self.step(next(source)), self.batch, self.seconds, self.device)
        return rate(lambda: self.step(next(source)), self.batch, self.seconds, self.device)

    def _timed(self, item) -> float:
        started = time.perf_counter()
        self.step(item)
        wait(self.device)
        return time.perf_counter() - started

    def _stream(self) -> Iterator:
        """Batches without end, made by one worker a core."""
        shuffled = RandomSampler(self.items, replacement=True, num_samples=1_000_000 * self.batch)
        on_gpu = self.device.type == "cuda"
        return iter(DataLoader(self.items, self.batch, sampler=shuffled, num_workers=WORKERS, drop_last=True, pin_memory=on_gpu))
