"""The fifteen common corruptions of CIFAR-10-C and ImageNet-C at five severities, made for a whole batch at once where the images lie.

The published benchmark is a download of ready-made test images of two datasets; made here, the same question can be put to any dataset.
At 32 pixels the recipes are those of CIFAR-10-C (Hendrycks & Dietterich, 2019; the numbers of make_cifar_c.py). At another size every
length in pixels (a radius, a shift, a snowflake) is multiplied by side / 32, the shorter side where they differ, so that a severity hides
about as much of what is seen; severities that are no lengths stay. Results are cut to whole numbers, not rounded, as published.

Where this differs from the published images:

* The draws are other draws, so a single image differs; `tests/evaluation/test_corruptions.py` compares what can be compared.
* frost: the published one lays crops of five photographs over the images, which are not shipped here. A noise with the colour, the
  contrast, the grain and the lopsidedness of those photographs takes their place, with the published weights. It has no crystals.
* snow and motion blur: dragged by this project's code, not by ImageMagick; told the direction it gives the values of version 6. At
  another size the flakes are drawn as for 32 pixels and then enlarged.
* glass blur: all pixels of a pass look at the image before that pass. For shifts of one pixel, as published, that is the same.
  Like the published code it copies a neighbour and does not swap with it.
* zoom blur and snow: where the sides differ, each is enlarged from its own middle; the published code is for squares.
* defocus blur: the width over which the disk is smoothed grows with the side like the radius does.
* elastic transform: positions between pixels are not rounded to 1/32 pixel as OpenCV 4 did.
* JPEG: the transform is a product with cosines in fp32 where libjpeg's has integers; one value in fifty differs, mostly by 1.
* Values that ought to be whole are, in a mean of five pixels or a brightness raised by 51; of the published code's floating-point
  numbers some lie just below and are cut to the number below.
"""

import torch
from torch import Tensor

from helpers.core.errors import UserError, pick
from helpers.evaluation.corruptions_blur import BLUR
from helpers.evaluation.corruptions_digital import DIGITAL
from helpers.evaluation.corruptions_weather import WEATHER

CHUNK = {"cpu": 2**20, "cuda": 2**24}  # values corrupted at once: some tens of tensors of so many are held
SMALLEST = 8  # pixels of a side: a JPEG's block, and enough for every border
TINY = 1e-3  # of 255: a value that is whole but for the rounding of fp32 is not cut to the number below


def gaussian_noise(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Too little light for the sensor's own noise."""
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    return noise.mul_(255 * deviation).add_(images)


def shot_noise(images: Tensor, photons: int, generator: torch.Generator) -> Tensor:
    """Light counted in few quanta: white is `photons` of them."""
    return torch.poisson(images * (photons / 255), generator=generator).mul_(255 / photons)


def impulse_noise(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Salt and pepper: this share of all values, each channel for itself, is black or white."""
    draw = torch.rand(images.shape, generator=generator, device=images.device)
    return images.masked_fill(draw < share, 255).masked_fill(draw < share / 2, 0)


# A name: what does it, and what that is told at severities 1 to 5.
NOISE = {
    "gaussian_noise": (gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": (shot_noise, (500, 250, 100, 75, 50)),
    "impulse_noise": (impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
}
TABLES = {"noise": NOISE, "blur": BLUR, "weather": WEATHER, "digital": DIGITAL}
RECIPES = {name: recipe for table in TABLES.values() for name, recipe in table.items()}

FAMILIES: dict[str, tuple[str, ...]] = {family: tuple(table) for family, table in TABLES.items()}
CORRUPTIONS: tuple[str, ...] = tuple(RECIPES)
SEVERITIES = (1, 2, 3, 4, 5)


@torch.no_grad()
def corrupted(images: Tensor, name: str, severity: int, generator: torch.Generator) -> Tensor:
    """The uint8 images [N,3,H,W] with a corruption of CORRUPTIONS at a severity of SEVERITIES, as uint8 of the same shape and device.

    The generator is all that is random, and the same one gives the same images; which of its draws an image gets depends on the
    images before it. It lies on the images' device, for a draw that had to travel would be another one on each device anyway.
    """
    work, levels = pick("corruption", name, RECIPES)
    if type(severity) is not int or severity not in SEVERITIES:
        raise UserError(f"The severity of {name} is {severity!r}: give one of the whole numbers {SEVERITIES[0]} to {SEVERITIES[-1]}.")
    _check(images, generator)
    result = torch.empty_like(images, memory_format=torch.contiguous_format)
    at_once = max(1, CHUNK.get(images.device.type, CHUNK["cpu"]) // max(1, images[:1].numel()))
    for start in range(0, len(images), at_once):
        part = slice(start, start + at_once)
        with torch.autocast(images.device.type, enabled=False):
            changed = work(images[part].float().contiguous(), levels[severity - 1], generator)
        result[part] = changed.add_(TINY).clamp_(0, 255).to(torch.uint8)
    return result


def _check(images: Tensor, generator: torch.Generator) -> None:
    if not isinstance(images, Tensor) or images.dtype != torch.uint8:
        given = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise UserError(f"Images to corrupt are {given}: give a tensor of uint8, 0 to 255.")
    if images.ndim != 4 or images.shape[1] != 3 or min(images.shape[2:]) < SMALLEST:
        raise UserError(
            f"Images to corrupt have the shape {list(images.shape)}: give [N, 3, H, W] with sides of at least {SMALLEST} pixels."
        )
    here, there = images.device, generator.device
    if here.type != there.type or (here.index or 0) != (there.index or 0):
        raise UserError(f"The generator draws on {there} and the images lie on {here}: give a generator of the images' device.")
