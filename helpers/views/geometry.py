"""Where pixels go: crop-resize, flip, shift, rotation, quarter turns, cutout. Batched, one set of parameters an image.

Resizing is separable: one small weight matrix a row axis and one a column axis, applied as two batched matrix products. At
32 px on two cores that takes about 1.4 times as long as one bilinear grid_sample (about a tenth of the contest recipe's), and buys
antialiasing, which grid_sample lacks: a crop larger than the output is averaged, not sampled. Rotation is a second pass."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.core.errors import UserError

TRIES = 10  # candidate boxes an image, as in torchvision


class Boxes(NamedTuple):
    """Integer crop boxes in pixels, each field a float tensor [N]."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


class Draws:
    """Uniform numbers of [0, 1) for a batch, [rows, N], drawn in one go by the caller and handed out row after row.

    So nothing that follows touches a generator: it is a function of tensors, which torch.compile can take whole."""

    def __init__(self, numbers: Tensor):
        self.numbers, self.used = numbers, 0

    def uniform(self, low: float, high: float, rows: int | None = None) -> Tensor:
        """The next numbers, moved to [low, high): [N], or [rows, N]."""
        first, self.used = self.used, self.used + (rows or 1)
        numbers = self.numbers[first] if rows is None else self.numbers[first : self.used]
        return numbers if (low, high) == (0, 1) else (numbers * (high - low)).add_(low)

    def happens(self, probability: float) -> Tensor:
        """For each image, whether something of this probability happens to it: bool [N]."""
        return self.uniform(0, 1) < probability


def draw_boxes(height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float], draws: Draws) -> Boxes:
    """Boxes of a random share of the area and a log-uniform aspect ratio: the first of ten tries that fits, else the centre."""
    area = draws.uniform(scale[0] * height * width, scale[1] * height * width, TRIES)
    aspect = draws.uniform(math.log(ratio[0]), math.log(ratio[1]), TRIES).exp_()
    widths, heights = (area * aspect).sqrt_().round_(), (area / aspect).sqrt_().round_()
    fits = (widths >= 1) & (widths <= width) & (heights >= 1) & (heights <= height)
    first = fits.to(torch.uint8).argmax(0, keepdim=True)  # argmax names the first of equals
    fitted = fits.any(0)

    central_height = min(height, round(width / ratio[0]))
    central_width = min(width, round(height * ratio[1]))
    box_height = torch.where(fitted, heights.gather(0, first).squeeze(0), central_height)
    box_width = torch.where(fitted, widths.gather(0, first).squeeze(0), central_width)

    top, left = _placed(height, box_height, fitted, draws), _placed(width, box_width, fitted, draws)
    return Boxes(top, left, box_height, box_width)


def _placed(side: int, box: Tensor, anywhere: Tensor, draws: Draws) -> Tensor:
    """Where boxes begin on an axis: at any pixel, else so that they are in the middle."""
    free = side - box
    # The minimum guards against rand * (n + 1) rounding up to n + 1 in float32.
    somewhere = torch.minimum((draws.uniform(0, 1) * (free + 1)).floor_(), free)
    return torch.where(anywhere, somewhere, (free / 2).floor_())


def axis_weights(start: Tensor, length: Tensor, source: int, target: int, mirrored: Tensor | None = None) -> Tensor:
    """[N, target, source]: what each source pixel gives to each target pixel when start..start+length is resized bilinearly.

    The triangle is as wide as the shrinking asks (antialiasing), at least one pixel, and cut at the box."""
    place = (torch.arange(target, device=start.device) + 0.5) / target
    place = place.expand(len(start), target)
    if mirrored is not None:
        place = torch.where(mirrored[:, None], 1 - place, place)
    centre = torch.addcmul(start[:, None], length[:, None], place).unsqueeze(2)
    pixel = torch.arange(source, device=start.device, dtype=start.dtype)
    inside = (pixel >= start[:, None]) & (pixel < (start + length)[:, None])
    slope = (target / length).clamp_(max=1).neg_()
    weights = (pixel + 0.5 - centre).abs_().mul_(slope[:, None, None]).add_(1).clamp_(min=0).mul_(inside[:, None])
    return weights.div_(weights.sum(2, keepdim=True))


def separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows[n] @ image[n, c] @ columns[n]^T for each image and channel: any separable filter or resampling."""
    count, channels, height, width = images.shape
    across = torch.bmm(images.reshape(count, channels * height, width), columns.transpose(1, 2))
    across = across.view(count, channels, height, -1)
    return torch.matmul(rows.unsqueeze(1), across)


def crop_resize(images: Tensor, boxes: Boxes, size: int, mirrored: Tensor | None = None) -> Tensor:
    """Each image's box resized to size x size, bilinear and antialiased, then flipped left to right where `mirrored`."""
    height, width = images.shape[-2:]
    rows = axis_weights(boxes.top, boxes.height, height, size)
    columns = axis_weights(boxes.left, boxes.width, width, size, mirrored)
    return separable(images, rows, columns)


def flip(images: Tensor, mirrored: Tensor) -> Tensor:
    """Each image flipped left to right where `mirrored`."""
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)


def _mirrored_range(offset: Tensor, size: int) -> Tensor:
    """[N, size] indices offset, offset + 1, ... where what runs over an edge comes back (the edge pixel is not repeated)."""
    index = torch.arange(size, device=offset.device) + offset[:, None]
    return (size - 1) - ((size - 1) - index.abs()).abs()


def shift(images: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Each image moved by whole pixels (int64 [N], less than its size); what comes in at the edge is the mirror image."""
    count, channels, height, width = images.shape
    rows = _mirrored_range(-down, height)[:, None, :, None]
    columns = _mirrored_range(-right, width)[:, None, None, :]
    image = torch.arange(count, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[None, :, None, None]
    return images[image, channel, rows, columns]


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Each image turned counter-clockwise about its centre, bilinear, zeros outside."""
    count, _, height, width = images.shape
    angle = torch.deg2rad(degrees)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    y = (torch.arange(height, device=images.device) + 0.5 - height / 2)[:, None]
    x = (torch.arange(width, device=images.device) + 0.5 - width / 2)[None, :]
    grid = torch.stack(((x * cos - y * sin) * (2 / width), (x * sin + y * cos) * (2 / height)), dim=-1)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def quarter_turns(images: Tensor, k: Tensor) -> Tensor:
    """Each image turned counter-clockwise by k[n] exact quarter turns (k in 0..3): pixels are moved, never interpolated."""
    if images.shape[-1] != images.shape[-2]:
        raise UserError(f"Quarter turns need square images; these are {images.shape[-2]} x {images.shape[-1]}. Crop or resize them first.")
    k = k.view(-1, 1, 1, 1)
    images = torch.where((k == 1) | (k == 3), images.transpose(2, 3), images)
    images = torch.where((k == 1) | (k == 2), images.flip(2), images)
    return torch.where((k == 2) | (k == 3), images.flip(3), images)


def cutout(images: Tensor, top: Tensor, left: Tensor, side: Tensor, fill: float = 0.5) -> Tensor:
    """In place: a square of `side` pixels at (top, left) of each image set to `fill`; side 0 leaves an image alone."""
    y = torch.arange(images.shape[-2], device=images.device)
    x = torch.arange(images.shape[-1], device=images.device)
    rows = (y >= top[:, None]) & (y < (top + side)[:, None])
    columns = (x >= left[:, None]) & (x < (left + side)[:, None])
    return images.masked_fill_(rows[:, None, :, None] & columns[:, None, None, :], fill)
