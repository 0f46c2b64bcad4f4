"""The usual way to train the same thing, measured beside ours: PIL transforms in DataLoader workers, fp32, contiguous tensors."""

import os
from collections.abc import Iterator

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from helpers.methods import StepBatch
from helpers.views import ViewSettings

WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def recipe(settings: ViewSettings, size: int) -> transforms.Compose:
    """torchvision's transforms with the strengths and probabilities of our recipe."""
    jitter = transforms.ColorJitter(settings.brightness, settings.contrast, settings.saturation, settings.hue)
    return transforms.Compose(
        [
            transforms.RandomResizedCrop(size, scale=settings.crop_scale, ratio=settings.crop_ratio),
            transforms.RandomHorizontalFlip(settings.flip),
            transforms.RandomApply([jitter], settings.jitter),
            transforms.RandomGrayscale(settings.grey),
            transforms.ToTensor(),
            transforms.Normalize(settings.mean, settings.std),
        ]
    )


class Pairs(Dataset):
    """PIL images; an item is two views of one."""

    def __init__(self, images, transform):
        self.images = [Image.fromarray(image.transpose(1, 2, 0)) for image in images]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int):
        return self.transform(self.images[index]), self.transform(self.images[index])


def stream(pairs: Pairs, batch: int) -> Iterator[list[torch.Tensor]]:
    """Batches of two views without end, made by one worker a core."""
    shuffled = torch.utils.data.RandomSampler(pairs, replacement=True, num_samples=1_000_000 * batch)
    loader = DataLoader(pairs, batch, sampler=shuffled, num_workers=WORKERS, drop_last=True, pin_memory=torch.cuda.is_available())
    return iter(loader)


class Step:
    """One training step as most scripts write it."""

    def __init__(self, method, device: torch.device):
        self.method, self.device = method.to(device), device
        self.optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3)

    def __call__(self, views: list[torch.Tensor]) -> None:
        views = [view.to(self.device, non_blocking=True) for view in views]
        loss, _ = self.method.loss(views, StepBatch(torch.arange(len(views[0]), device=self.device)))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
