"""The four digital corruptions of `corruptions`. Images are float [n,3,H,W], 0 to 255."""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.evaluation.corruptions_blur import gaussian, uniform

# How coarsely a JPEG of quality 50 keeps each frequency of a block: ISO/IEC 10918-1, tables K.1 and K.2.
LUMA_STEPS = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA_STEPS = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))  # 99 wherever else
BITS = 16  # after the point, of the fixed-point numbers of colour conversion
HALF = 1 << (BITS - 1)


def contrast(images: Tensor, kept: float, generator: torch.Generator) -> Tensor:
    """Each channel drawn towards its own average over the image."""
    return images.mean((2, 3), keepdim=True).lerp(images, kept)


def elastic_transform(images: Tensor, level: tuple[float, float, float], generator: torch.Generator) -> Tensor:
    """Three points of the image pulled elsewhere, then every pixel taken from a place that wanders smoothly.

    Its lengths are published as shares of the side, so nothing is left to scale."""
    far, sigma, corner = (share * min(images.shape[2:]) for share in level)
    pulled = uniform(images, -corner, corner, generator, (3, 2))
    wander = uniform(images, -1, 1, generator, (2, *images.shape[2:]))
    return wandering(affine(images, pulled), gaussian(wander, sigma, 3, True) * far)


@functools.lru_cache(32)
def _corners(height: int, width: int, device: torch.device) -> Tensor:
    """Three corners [3,2] of the square in the middle, a third of the shorter side from it, each as (right, down)."""
    middle, reach = torch.tensor([width // 2, height // 2]), min(height, width) // 3
    return (middle + reach * torch.tensor([[1, 1], [1, -1], [-1, -1]])).float().to(device)


def affine(images: Tensor, pulled: Tensor) -> Tensor:
    """The plane moved so that the three corners end up `pulled` [n,3,2] pixels from where they were; mirrored beyond the border."""
    height, width = images.shape[2:]
    before = _corners(height, width, images.device)
    after = before + pulled
    (a, b), (c, d) = (side.unbind(1) for side in (after[:, 1:] - after[:, :1]).unbind(1))
    inverse = torch.stack([torch.stack([d, -b], 1), torch.stack([-c, a], 1)], 1) / (a * d - b * c)[:, None, None]
    right, down = _pixels(images)
    pixel = torch.stack([right.expand(height, width), down.expand(height, width)], 2).flatten(0, 1)
    place = (pixel - after[:, :1]) @ (inverse @ (before[1:] - before[0])) + before[0]
    grid = torch.stack([2 * place[..., 0] / (width - 1) - 1, 2 * place[..., 1] / (height - 1) - 1], 2)
    return F.grid_sample(images, grid.view(-1, height, width, 2), padding_mode="reflection", align_corners=True)


def wandering(images: Tensor, steps: Tensor) -> Tensor:
    """Each pixel taken from `steps` [n,2,H,W] (right, down) away; beyond the border lies the mirror image, the last pixel twice."""
    height, width = images.shape[2:]
    right, down = _pixels(images)
    grid = torch.stack([(2 * (right + steps[:, 0]) + 1) / width - 1, (2 * (down + steps[:, 1]) + 1) / height - 1], 3)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _pixels(images: Tensor) -> tuple[Tensor, Tensor]:
    height, width = images.shape[2:]
    return torch.arange(width, device=images.device).float(), torch.arange(height, device=images.device).float()[:, None]


@functools.lru_cache(64)
def box_matrix(size: int, target: int, device: torch.device) -> Tensor:
    """[target, size]: an axis resized by the box filter of Pillow, the mean of the pixels whose middles lie in a target pixel.

    A middle may lie on a target pixel's border, so each number is computed in the order Pillow does: its rounding decides.
    """
    scale, pixel = size / target, torch.arange(size)
    wide, middle = max(scale, 1.0), (torch.arange(target).double()[:, None] + 0.5) * scale
    away = (pixel - middle + 0.5) * (1 / wide)
    within = (pixel >= (middle - wide / 2 + 0.5).long()) & (pixel < (middle + wide / 2 + 0.5).long())
    inside = (within & (away > -0.5) & (away <= 0.5)).double()
    return (inside / inside.sum(1, keepdim=True)).float().to(device)


def boxed(images: Tensor, height: int, width: int) -> Tensor:
    """Resized along rows, then along columns; after each, values are rounded, as Pillow does."""
    for size in (width, height):
        images = _whole(images @ box_matrix(images.shape[3], size, images.device).T).mT
    return images


def pixelate(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Fewer pixels, and these enlarged again."""
    height, width = images.shape[2:]
    return boxed(boxed(images, int(height * share), int(width * share)), height, width)


def jpeg_compression(images: Tensor, quality: int, generator: torch.Generator) -> Tensor:
    """What is left of the images after a JPEG file with chroma of half the resolution, as libjpeg writes and reads it.

    Where the library rounds, this does: between stages values are whole numbers.
    """
    height, width = images.shape[2:]
    luma, chroma = _from_rgb(images.int())
    luma = _blocked(luma.float(), quality, False).int()
    chroma = _blocked(_halved(chroma).float(), quality, True).int()[..., : (width + 1) // 2]
    chroma = _doubled(chroma)[..., :height, :width]
    return _to_rgb(luma[:, 0], chroma[:, 0] - 128, chroma[:, 1] - 128).float()


def _fixed(number: float) -> int:
    return int(number * (1 << BITS) + 0.5)


def _from_rgb(images: Tensor) -> tuple[Tensor, Tensor]:
    """Integers [n,1,H,W] of luma and [n,2,H,W] of chroma. A half of luma is rounded up, of chroma down."""
    red, green, blue = images.unbind(1)
    luma = (_fixed(0.299) * red + _fixed(0.587) * green + _fixed(0.114) * blue + HALF) >> BITS
    rest = (128 << BITS) + HALF - 1
    blueness = (HALF * blue - _fixed(0.168735892) * red - _fixed(0.331264108) * green + rest) >> BITS
    redness = (HALF * red - _fixed(0.418687589) * green - _fixed(0.081312411) * blue + rest) >> BITS
    return luma[:, None], torch.stack([blueness, redness], 1)


def _to_rgb(luma: Tensor, blueness: Tensor, redness: Tensor) -> Tensor:
    red = luma + ((_fixed(1.402) * redness + HALF) >> BITS)
    green = luma + ((HALF - _fixed(0.34414) * blueness - _fixed(0.71414) * redness) >> BITS)
    blue = luma + ((_fixed(1.772) * blueness + HALF) >> BITS)
    return torch.stack([red, green, blue], 1).clamp_(0, 255)


def _halved(chroma: Tensor) -> Tensor:
    """Means of two by two pixels; their halves are rounded down and up in turn. The last pixel fills an odd side, and a block's width."""
    height, width = chroma.shape[2:]
    chroma = _filled(chroma, height + height % 2, math.ceil(width / 16) * 16)
    total = chroma[..., ::2, ::2] + chroma[..., ::2, 1::2] + chroma[..., 1::2, ::2] + chroma[..., 1::2, 1::2]
    bias = 1 + torch.arange(total.shape[3], dtype=torch.int32, device=total.device) % 2
    return (total + bias) >> 2


def _doubled(chroma: Tensor) -> Tensor:
    """Three parts of a pixel and one of its neighbour, along both axes."""
    above = torch.cat([chroma[..., :1, :], chroma[..., :-1, :]], 2)
    below = torch.cat([chroma[..., 1:, :], chroma[..., -1:, :]], 2)
    tall = torch.stack([3 * chroma + above, 3 * chroma + below], 3).flatten(2, 3)
    before = torch.cat([tall[..., :1], tall[..., :-1]], 3)
    after = torch.cat([tall[..., 1:], tall[..., -1:]], 3)
    return torch.stack([(3 * tall + before + 8) >> 4, (3 * tall + after + 7) >> 4], 4).flatten(3)


def _filled(planes: Tensor, height: int, width: int) -> Tensor:
    """The last row and column repeated up to that size."""
    more = (0, width - planes.shape[3], 0, height - planes.shape[2])
    return F.pad(planes.float(), more, mode="replicate").to(planes.dtype) if any(more) else planes


@functools.lru_cache(32)
def _steps(quality: int, chroma: bool, device: torch.device) -> Tensor:
    table = torch.tensor(LUMA_STEPS)
    if chroma:
        table = F.pad(torch.tensor(CHROMA_STEPS), (0, 4, 0, 4), value=99)
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((table * percent + 50) // 100).clamp(1, 255).float().to(device)


@functools.lru_cache(8)
def _cosines(device: torch.device) -> Tensor:
    """The cosine transform of eight values, times the square root of eight: so the row that sums them is ones and its sums are exact."""
    place, frequency = torch.arange(8).double() + 0.5, torch.arange(8).double()[:, None]
    matrix = torch.cos(frequency * place * (math.pi / 8)) * math.sqrt(2)
    matrix[0] = 1
    return matrix.float().to(device)


def _along(blocks: Tensor, matrix: Tensor) -> Tensor:
    """The last axis transformed, and the last two exchanged: so the next call transforms the other one."""
    return (blocks @ matrix.T).transpose(-1, -2)


def _whole(values: Tensor) -> Tensor:
    return values.add_(0.5).floor_()


def _blocked(planes: Tensor, quality: int, chroma: bool) -> Tensor:
    """Planes [n,c,H,W] after their blocks were transformed, rounded to whole steps and transformed back.

    Both ways the library rounds to a quarter between the axes, of which it takes the rows first, then the columns, and back the columns
    first. That decides whether a coefficient goes to the step above or below in one block of two.
    """
    count, channels, height, width = planes.shape
    planes = _filled(planes, math.ceil(height / 8) * 8, math.ceil(width / 8) * 8)
    blocks = (planes - 128).unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4)
    steps, cosines = _steps(quality, chroma, planes.device), _cosines(planes.device)
    waves = _whole(_along(_whole(_along(blocks, cosines) * 4), cosines) / 4)  # eight times the coefficients
    kept = (waves.abs() / (8 * steps) + 0.5).floor_().copysign_(waves).mul_(steps)
    blocks = _along(_whole(_along(kept.mT, cosines.T) * 4), cosines.T).div_(32).add_(128)
    return _whole(blocks).clamp_(0, 255).mT.transpose(3, 4).reshape(planes.shape)[..., :height, :width]


DIGITAL = {
    "contrast": (contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "elastic_transform": (elastic_transform, ((0, 0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03))),
    "pixelate": (pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg_compression": (jpeg_compression, (80, 65, 58, 50, 40)),
}
