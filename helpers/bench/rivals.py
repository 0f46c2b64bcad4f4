"""Two libraries people use for the same work, measured where they are installed: lightly (the whole step), kornia (the views)."""

import importlib.util
from importlib.metadata import PackageNotFoundError, version

import torch
from torch import nn

from helpers.bench.cases import OPTIONS, Case
from helpers.bench.standard import moved
from helpers.models import build_encoder
from helpers.views import ViewSettings

RIVALS = ("lightly", "kornia")


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def versions() -> dict[str, str]:
    """Of the rivals that are there."""
    found = {}
    for name in filter(installed, RIVALS):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def lightly_views(settings: ViewSettings, size: int):
    """lightly's SimCLR transform with the strengths of our recipe."""
    from lightly.transforms import SimCLRTransform

    return SimCLRTransform(
        input_size=size,
        cj_prob=settings.jitter,
        cj_strength=1.0,
        cj_bright=settings.brightness,
        cj_contrast=settings.contrast,
        cj_sat=settings.saturation,
        cj_hue=settings.hue,
        min_scale=settings.crop_scale[0],
        random_gray_scale=settings.grey,
        gaussian_blur=settings.blur,
        hf_prob=settings.flip,
        normalize={"mean": list(settings.mean), "std": list(settings.std)},
    )


class LightlyStep:
    """A step of SimCLR from lightly's head and loss on the same net: a forward for each view, SGD, fp32, as its users write it."""

    def __init__(self, case: Case, device: torch.device):
        from lightly.loss import NTXentLoss
        from lightly.models.modules import SimCLRProjectionHead

        torch.manual_seed(0)
        encoder = build_encoder(case.backbone, case.size, stem=case.stem)
        self.device = device
        self.model = nn.Sequential(encoder, SimCLRProjectionHead(encoder.width, 512, 128)).to(device).train()
        self.criterion = NTXentLoss(temperature=OPTIONS["simclr"]["temperature"])
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.06)

    def __call__(self, item) -> None:
        (first, second), _, _ = moved(item, self.device)
        loss = self.criterion(self.model(first), self.model(second))
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def kornia_views(settings: ViewSettings, size: int, device: torch.device):
    """A function from a uint8 batch to its views, by kornia's augmentations with the strengths of our recipe. A plain nn.Sequential,
    called once a view, was the fastest of the four ways to write it."""
    import kornia.augmentation as K

    augment = nn.Sequential(
        K.RandomResizedCrop((size, size), scale=settings.crop_scale, ratio=settings.crop_ratio),
        K.RandomHorizontalFlip(settings.flip),
        K.ColorJitter(settings.brightness, settings.contrast, settings.saturation, settings.hue, p=settings.jitter),
        K.RandomGrayscale(p=settings.grey),
        K.Normalize(torch.tensor(settings.mean), torch.tensor(settings.std)),
    ).to(device)

    @torch.no_grad()
    def views(images: torch.Tensor) -> list[torch.Tensor]:
        pictures = images.float().div_(255)
        return [augment(pictures) for _ in range(settings.count)]

    return views
