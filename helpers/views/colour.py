"""What colours become: brightness, contrast, saturation and hue in random order, greyscale, solarize. Images are float in [0, 1].

Brightness, contrast and saturation are all clamp(own * x + local * grey(x) + overall * mean(grey(x))) with coefficients an
image, so the same three steps serve any order of the three. Hue is the costly one and runs once an image: a batch is cut into as
many equal slices as there are places for it in the order, so the caller shuffles the batch (recipes does)."""

from typing import NamedTuple

import torch
from torch import Tensor

from helpers.views.geometry import happens, uniform

GREY = (0.2989, 0.587, 0.114)
KINDS = ("brightness", "contrast", "saturation")


class Jitter(NamedTuple):
    """Per-image parameters of the colour jitter; what is not used at all is None."""

    order: Tensor | None  # [N, steps] indices into KINDS, in the order of application
    factors: Tensor | None  # [N, 3] brightness, contrast, saturation; 1 changes nothing
    hue: Tensor | None  # [N] in turns; 0 changes nothing


def draw_jitter(count: int, strengths: tuple[float, float, float], hue: float, probability: float, generator: torch.Generator) -> Jitter:
    """Factors around 1, hue shifts around 0 and a uniformly random order; an image that is not jittered gets the identity."""
    on = happens(count, probability, generator)
    used = sum(strength > 0 for strength in strengths)
    order = factors = turns = None
    if used:
        drawn = torch.stack([uniform(count, max(0.0, 1 - strength), 1 + strength, generator) for strength in strengths], dim=1)
        factors = torch.where(on[:, None], drawn, 1.0)
        keys = uniform(count, 0.0, 1.0, generator, columns=len(strengths))
        for kind, strength in enumerate(strengths):
            if strength == 0:
                keys[:, kind] = 2.0  # sorts behind all that are used, and is cut off there
        order = keys.argsort(dim=1)[:, :used]
    if hue > 0:
        turns = torch.where(on, uniform(count, -hue, hue, generator), 0.0)
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
    value = torch.maximum(torch.maximum(red, green), blue)
    least = torch.minimum(torch.minimum(red, green), blue)
    spread = value - least
    # Hue in sixths of the circle, from -3 to 3 with red at 0: its size is 1 + (green + blue - red - least) / spread whichever
    # channel is largest, its sign that of green - blue. No case needs telling from another.
    hue = (green + blue).sub_(red).sub_(least).div_(spread.clamp(min=1e-12)).add_(1)
    hue = torch.copysign(hue, green - blue, out=hue)
    hue.add_(turns.view(-1, 1, 1), alpha=6)
    hue.sub_((hue / 6).floor_().mul_(6))
    # Each channel is a trapezoid of the hue between the least and the largest value.
    torch.addcmul(least, spread, (hue - 3).abs_().sub_(1).clamp_(0, 1), out=red)
    torch.addcmul(least, spread, (hue - 2).abs_().neg_().add_(2).clamp_(0, 1), out=green)
    torch.addcmul(least, spread, hue.sub_(4).abs_().neg_().add_(2).clamp_(0, 1), out=blue)
    return images


def hue_places(strengths: tuple[float, float, float], hue: float) -> int:
    """How many places the hue can take among the other steps; 1 where nothing depends on its place."""
    return 1 + sum(strength > 0 for strength in strengths) if hue > 0 else 1


def jitter(images: Tensor, parameters: Jitter) -> Tensor:
    """In place: the jitter of each image in its own order; hue comes first in the first slice of the batch, last in the last."""
    steps = 0 if parameters.order is None else parameters.order.shape[1]
    for step in range(steps + 1):
        if parameters.hue is not None:
            part = slice(len(images) * step // (steps + 1), len(images) * (step + 1) // (steps + 1))
            adjust_hue(images[part], parameters.hue[part])
        if step < steps:
            kind = parameters.order[:, step]
            factor = parameters.factors.gather(1, kind[:, None]).squeeze(1)
            rest = 1 - factor
            blend(images, factor, rest * (kind == KINDS.index("saturation")), rest * (kind == KINDS.index("contrast")))
    return images


def greyscale(images: Tensor, on: Tensor) -> Tensor:
    """In place: images replaced by their luma in all three channels where `on`."""
    return images.lerp_(grey(images), on.view(-1, 1, 1, 1).to(images.dtype))  # exact at 0 and at 1


def solarize(images: Tensor, on: Tensor, threshold: float = 0.5) -> Tensor:
    """In place: values at or above the threshold inverted where `on`."""
    return images.copy_(torch.where((images >= threshold) & on.view(-1, 1, 1, 1), 1 - images, images))
