"""The four blurs of `corruptions`, and what other corruptions share with them. Images are float [n,c,H,W], 0 to 255.

Whatever treats rows and columns alike is a matrix an axis, made once a size: two products serve all images, with any border.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

FAINT = 1e-5  # the weight below which a tap cannot move a value of 255


def side_scale(images: Tensor) -> float:
    """By how much a length of the recipes, which are for 32 pixels, grows."""
    return min(images.shape[-2:]) / 32


def both_axes(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows @ image @ columns.T for every image; a product with one matrix on the right is the one that runs as a single large one."""
    return ((images @ columns.T).transpose(-1, -2) @ rows.T).transpose(-1, -2)


@functools.lru_cache(64)
def gaussian_matrix(size: int, sigma: float, cut: float, mirrored: bool, device: torch.device) -> Tensor:
    """[size, size]: an axis blurred with a Gaussian of deviation sigma, cut off at that many deviations, rounded to whole pixels.

    Beyond the border the image goes on as its mirror image (with the last pixel twice), or as its last pixel.
    """
    reach = int(cut * sigma + 0.5)
    steps = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (steps.double() / max(sigma, 1e-9)) ** 2)
    weights = weights / weights.sum()
    source = torch.arange(size)[:, None] + steps
    if mirrored:
        source = source % (2 * size)
        source = torch.minimum(source, 2 * size - 1 - source)
    matrix = torch.zeros(size, size, dtype=torch.float64).scatter_add_(1, source.clamp(0, size - 1), weights.expand(size, -1))
    return matrix.float().to(device)


def gaussian(images: Tensor, sigma: float, cut: float = 4, mirrored: bool = False) -> Tensor:
    """The images blurred along both axes; see gaussian_matrix."""
    height, width = images.shape[-2:]
    rows, columns = (gaussian_matrix(size, sigma, cut, mirrored, images.device) for size in (height, width))
    return both_axes(images, rows, columns)


@functools.lru_cache(256)
def zoom_matrix(size: int, factor: float, device: torch.device) -> Tensor:
    """[size, size]: the middle of an axis enlarged by the factor, linearly between pixels, and cut to the old size.

    The first and last pixel of the middle stay the first and last: whole pixels decide, so the true enlargement differs a little.
    """
    middle = math.ceil(size / factor)
    enlarged = round(middle * factor)
    place = (torch.arange(size).double() + (enlarged - size) // 2) * ((middle - 1) / (enlarged - 1))
    left = place.floor().clamp(0, middle - 1)
    right = (left + 1).clamp(max=middle - 1)
    first = (size - middle) // 2
    matrix = torch.zeros(size, size, dtype=torch.float64)
    for source, weight in ((left, 1 - (place - left)), (right, place - left)):
        matrix.scatter_add_(1, first + source.long()[:, None], weight[:, None])
    return matrix.float().to(device)


def zoomed(images: Tensor, factor: float) -> Tensor:
    height, width = images.shape[-2:]
    return both_axes(images, zoom_matrix(height, factor, images.device), zoom_matrix(width, factor, images.device))


def dragged(images: Tensor, degrees: Tensor, radius: float, sigma: float) -> Tensor:
    """Each image blurred along its own direction as by ImageMagick: half a Gaussian of deviation sigma, one tap a pixel along the line
    from a pixel away, the nearest pixel at each, 2 * radius + 1 taps at most. The last pixel goes on beyond the border; values are cut
    to whole numbers, those but 1/514 below one to that, for ImageMagick rounds to 16 bits before it cuts.
    """
    steps = torch.arange(2 * math.ceil(radius) + 1)
    weights = torch.exp(-0.5 * (steps.double() / sigma) ** 2)
    weights = weights[weights > FAINT * weights.sum()]
    taps, (height, width), device = len(weights), images.shape[-2:], images.device
    along, turn = torch.arange(taps, device=device), degrees.deg2rad()[:, None]
    down, right = ((along * slope).sub_(0.5).ceil_().long() for slope in (turn.sin(), turn.cos()))
    reach, stride = taps - 1, width + 2 * (taps - 1)
    padded = F.pad(images, (reach,) * 4, mode="replicate").flatten(2)
    shift = (down + reach) * stride + right + reach
    pixel = (torch.arange(height, device=device)[:, None] * stride + torch.arange(width, device=device)).flatten()
    result = torch.zeros_like(images).flatten(2)
    for tap, weight in enumerate((weights / weights.sum()).tolist()):
        source = (pixel + shift[:, tap, None])[:, None].expand(-1, images.shape[1], -1)
        result.add_(padded.gather(2, source), alpha=weight)
    return result.view_as(images).add_(1 / 514).floor_()


def uniform(images: Tensor, low: float, high: float, generator: torch.Generator, shape: tuple[int, ...] = ()) -> Tensor:
    """A number, or a tensor of that shape, for each image."""
    return torch.rand(len(images), *shape, generator=generator, device=images.device).mul_(high - low).add_(low)


@functools.lru_cache(32)
def disk(radius: float, sigma: float, edge: int) -> list[list[float]]:
    """The pixels nearer than the radius, alike, then blurred with a Gaussian cut off `edge` pixels away, so that the rim is soft."""
    reach = math.floor(radius) + edge
    away = torch.arange(-reach, reach + 1).double()
    inside = ((away**2 + away[:, None] ** 2) <= radius**2).double()
    rim = torch.exp(-0.5 * (torch.arange(-edge, edge + 1).double() / sigma) ** 2)
    rim = (rim / rim.sum())[:, None]
    soft = F.threshold(F.conv2d((inside / inside.sum())[None, None], (rim * rim.T)[None, None], padding=edge)[0, 0], FAINT, 0)
    return (soft / soft.sum()).tolist()


def defocus_blur(images: Tensor, level: tuple[float, float], generator: torch.Generator) -> Tensor:
    """A lens out of focus: each point becomes a disk. A sum of shifted images, for a convolution on a GPU rounds its inputs to TF32."""
    scale, (height, width) = side_scale(images), images.shape[2:]
    kernel = disk(level[0] * scale, level[1] * scale, max(1, round(scale)))
    padded, total = F.pad(images, (len(kernel) // 2,) * 4, mode="reflect"), torch.zeros_like(images)
    for down, row in enumerate(kernel):
        for right, weight in enumerate(row):
            if weight:
                total.add_(padded[..., down : down + height, right : right + width], alpha=weight)
    return total


def glass_blur(images: Tensor, level: tuple[float, int, int], generator: torch.Generator) -> Tensor:
    """Frosted glass: blurred, pixels exchanged for a neighbour some times over, blurred again."""
    sigma, (near, passes), scale = level[0], level[1:], side_scale(images)
    near, (height, width) = max(1, round(near * scale)), images.shape[-2:]
    images = gaussian(images, sigma * scale).add_(1e-3).floor_()
    for _ in range(passes):
        shape = (2, len(images), height - 2 * near, width - 2 * near)
        images = moved(images, torch.randint(-near, near, shape, generator=generator, device=images.device), near)
    return gaussian(images, sigma * scale)


def moved(images: Tensor, steps: Tensor, near: int) -> Tensor:
    """Each inner pixel taken from `steps` (down and right, [2,n,h,w]) away: all but the first near + 1 and the last near - 1 rows and
    columns, which is how far the published loops go."""
    height, width = images.shape[-2:]
    source = torch.arange(height * width, device=images.device).view(1, height, width).repeat(len(images), 1, 1)
    inner = (slice(None), slice(near + 1, height - near + 1), slice(near + 1, width - near + 1))
    source[inner] += steps[0] * width + steps[1]
    return images.flatten(2).gather(2, source.flatten(1)[:, None].expand(-1, images.shape[1], -1)).view_as(images)


def motion_blur(images: Tensor, level: tuple[int, float], generator: torch.Generator) -> Tensor:
    """A camera that moved, more sideways than up, while the shutter was open."""
    scale = side_scale(images)
    return dragged(images, uniform(images, -45, 45, generator), level[0] * scale, level[1] * scale)


def zoom_blur(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """A camera that came nearer: the mean of the image and of `count` enlargements, each a hundredth larger than the one before.

    A hundredth is what numpy's arange makes of it: the last enlargement of 26 pixels ends at half a pixel, where that decides.
    """
    total = images.clone()
    for step in range(count):
        total += zoomed(images, 1 + step * (1.01 - 1))
    return total.div_(count + 1)


BLUR = {
    "defocus_blur": (defocus_blur, ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1))),
    "glass_blur": (glass_blur, ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2))),
    "motion_blur": (motion_blur, ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5))),
    "zoom_blur": (zoom_blur, (7, 12, 16, 21, 26)),
}
