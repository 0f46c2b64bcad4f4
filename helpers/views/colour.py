"""What colours become: brightness, contrast, saturation and hue in random order, greyscale, solarize. Images are float in [0, 1].

Brightness, contrast and saturation are all clamp(own * x + local * grey(x) + overall * mean(grey(x))) with coefficients an
image, so the same three steps serve any order of the three. Hue is the costly one and runs once an image: a batch is cut into as
many equal slices as there are places for it in the order, so the caller shuffles the batch (recipes does)."""

from typing import NamedTuple

import torch
from torch import Tensor

from helpers.views.geometry import Draws

GREY = (0.2989, 0.587, 0.114)
KINDS = ("brightness", "contrast", "saturation")


class Jitter(NamedTuple):
    """Per-image parameters of the colour jitter; what is not used at all is None."""

    order: Tensor | None  # [N, steps] indices into KINDS, in the order of application
    factors: Tensor | None  # [N, 3] brightness, contrast, saturation; 1 changes nothing
    hue: Tensor | None  # [N] in turns; 0 changes nothing


def draw_jitter(strengths: tuple[float, float, float], hue: float, probability: float, draws: Draws) -> Jitter:
    """Factors around 1, hue shifts around 0 and a uniformly random order; an image that is not jittered gets the identity."""
    on = draws.happens(probability)
    used = sum(strength > 0 for strength in strengths)
    order = factors = turns = None
    if used:
        drawn = torch.stack([draws.uniform(max(0.0, 1 - strength), 1 + strength) for strength in strengths], dim=1)
        factors = torch.where(on[:, None], drawn, 1.0)
        # What is not used sorts behind all that is, and is cut off there.
        keys = torch.stack([draws.uniform(0, 1) if strength > 0 else draws.uniform(2, 3) for strength in strengths], dim=1)
        order = keys.argsort(dim=1)[:, :used]
    if hue > 0:
        turns = torch.where(on, draws.uniform(-hue, hue), 0.0)
    return Jitter(order, factors, turns)


def grey(images: Tensor) -> Tensor:
    """Luma, [N, 1, H, W]."""
    red, green, blue = images.unbind(1)
    return (red * GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2]).unsqueeze(1)


def blend(images: Tensor, own: Tensor, local: Tensor, overall: Tensor) -> Tensor:
    """In place: clamp(own * x + local * grey(x) + overall * mean(grey(x))), coefficients [N]."""
    own, local, overall = (coefficient.view(-1, 1, 1, 1) for coefficient in (own, local, overall))
    luma = grey(images)
    mean = luma.mean((2, 3), keepdim=True)
    return images.mul_(own).add_(luma.mul_(local).add_(mean.mul_(overall))).clamp_(0, 1)


def adjust_hue(images: Tensor, turns: Tensor) -> Tensor:
    """In place: hue moved round the colour circle by turns[n] (-0.5 .. 0.5), saturation and value kept."""
    red, green, blue = images.unbind(1)
    least = images.amin(1)
    spread = images.amax(1).sub_(least)
    # Hue in sixths of the circle, from -3 to 3 with red at 0: its size is 1 + (green + blue - red - least) / spread whichever
    # channel is largest, its sign that of green - blue. No case needs telling from another. Then in turns, from 0 to 1.
    hue = (green + blue).sub_(red).sub_(least).div_(spread.clamp(min=1e-12)).add_(1).mul_(1 / 6)
    hue = torch.copysign(hue, green - blue, out=hue).add_(turns.view(-1, 1, 1))
    hue.sub_(hue.floor())
    # Each channel is a trapezoid of the hue between the least and the largest value; they stand a third of the circle apart.
    thirds = torch.arange(0, -6, -2, dtype=hue.dtype, device=hue.device).view(3, 1, 1)
    height = torch.add(thirds, hue.unsqueeze(1), alpha=6).abs_().sub_(3).abs_().clamp_(1, 2)
    return torch.addcmul(least.sub_(spread).unsqueeze(1), spread.unsqueeze(1), height, out=images)


def hue_places(strengths: tuple[float, float, float], hue: float) -> int:
    """How many places the hue can take among the other steps; 1 where nothing depends on its place."""
    return 1 + sum(strength > 0 for strength in strengths) if hue > 0 else 1


def jitter(images: Tensor, parameters: Jitter) -> Tensor:
    """In place: the jitter of each image in its own order; hue comes first in the first slice of the batch, last in the last."""
    steps = 0
    if parameters.order is not None:
        steps = parameters.order.shape[1]
        own = parameters.factors.gather(1, parameters.order)
        rest = 1 - own
        local = rest * (parameters.order == KINDS.index("saturation"))
        overall = rest * (parameters.order == KINDS.index("contrast"))
    for step in range(steps + 1):
        if parameters.hue is not None:
            part = slice(len(images) * step // (steps + 1), len(images) * (step + 1) // (steps + 1))
            adjust_hue(images[part], parameters.hue[part])
        if step < steps:
            blend(images, own[:, step], local[:, step], overall[:, step])
    return images


def greyscale(images: Tensor, on: Tensor) -> Tensor:
    """In place: images replaced by their luma in all three channels where `on`."""
    return images.lerp_(grey(images), on.view(-1, 1, 1, 1).to(images.dtype))  # exact at 0 and at 1


def solarize(images: Tensor, on: Tensor, threshold: float = 0.5) -> Tensor:
    """In place: values at or above the threshold inverted where `on`."""
    return images.copy_(torch.where((images >= threshold) & on.view(-1, 1, 1, 1), 1 - images, images))
