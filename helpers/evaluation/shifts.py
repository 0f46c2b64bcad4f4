"""Shifts that an encoder's accuracy is read under: part of the image hidden, the object smaller or larger, its look another.

None is in the recipes at these strengths in this form, so what is read is what an encoder makes of it, not what it was drilled in.
"""

import torch
from torch import Tensor

from helpers.core.errors import UserError, pick, unknown
from helpers.views.colour import grey
from helpers.views.geometry import axis_weights, cutout
from helpers.views.views import CHUNK

HIDDEN = {"10 %": 0.10, "25 %": 0.25, "40 %": 0.40, "60 %": 0.60}  # shares of the area
ZOOMED = {"x0.75": 3 / 4, "x1.33": 4 / 3, "x0.5": 1 / 2, "x2": 2}  # the object's side, in what it was
STEPS = 85  # between two of the four levels that posterising leaves: 0, 85, 170, 255
FLAT = 0.5  # deviation of a channel, in steps of a byte, below which its noise is not stretched to another image's deviation


@torch.no_grad()
def shifted(images: Tensor, group: str, level: str, generator: torch.Generator) -> Tensor:
    """uint8 images [N, 3, H, W] under one level of a group of SHIFTS, uint8 of the same shape."""
    check(images, generator)
    if level not in pick("group of shifts", group, SHIFTS):
        raise unknown(f"level of {group}", level, SHIFTS[group])
    if not len(images):
        return images.clone()
    with torch.autocast(images.device.type, enabled=False):
        if group == "occlusion":
            return _occluded(images, HIDDEN[level], generator)
        if group == "scale":
            return _zoomed(images, ZOOMED[level])
        return STYLES[level](images, generator)


def check(images: Tensor, generator: torch.Generator | None = None) -> None:
    if not isinstance(images, Tensor) or images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        got = f"{images.dtype} {list(images.shape)}" if hasattr(images, "dtype") else type(images).__name__
        raise UserError(f"Images are a uint8 tensor [N, 3, height, width] here; got {got}.")
    if generator is not None and generator.device.type != images.device.type:
        raise UserError(f"Images on {images.device.type}, generator on {generator.device.type}: make both on one device.")


def at_a_time(images: Tensor) -> int:
    """How many such images are worked on as floats at a time: what stays in a CPU's cache, and in a GPU's memory."""
    return max(16, CHUNK.get(images.device.type, CHUNK["cuda"]) // max(1, images[:1].numel()))


def _occluded(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """A square in the image's own mean colour, so that the mean stays and nothing glares; it lies wholly inside."""
    count, _, height, width = images.shape
    side = round((share * height * width) ** 0.5)
    if side > min(height, width):
        raise UserError(f"A square of {share:.0%} of the area does not fit into images of {height} x {width}; take a lower level.")
    places = torch.rand(2, count, generator=generator, device=images.device)
    top, left = ((place * (free + 1)).long().clamp_(max=free) for place, free in zip(places, (height - side, width - side), strict=True))
    hidden = torch.zeros(count, 1, height, width, dtype=torch.bool, device=images.device)
    cutout(hidden, top, left, torch.full_like(top, side), fill=True)
    mean = images.sum((2, 3), keepdim=True, dtype=torch.int64) / (height * width)
    return torch.where(hidden, mean.round_().byte(), images)


def _zoomed(images: Tensor, factor: float) -> Tensor:
    rows, columns = (_zoom(side, factor, images.device) for side in images.shape[-2:])
    return _piecewise(lambda some: rows @ some @ columns.T, images)


def _zoom(side: int, factor: float, device: torch.device) -> Tensor:
    """[side, side]: what each pixel of an axis gives to each of the axis zoomed about its middle, bilinear and antialiased.

    Around a shrunken image stands its reflection, the frame that changes least: a small net trained on crops of STL-10 (two seeds) called
    1000 photographs, shrunk to half, the same as with their true surroundings in 48 % of the cases with the reflection around, in 43 %
    with the edge drawn out, in 35 % with a blur that fades outwards, in 28 % with the mean colour. It repeats what lies at the border."""
    if factor >= 1:
        box = side / factor
        return axis_weights(torch.full((1,), (side - box) / 2, device=device), torch.full((1,), box, device=device), side, side)[0]
    inner = max(2, round(side * factor))
    shrunk = axis_weights(torch.zeros(1, device=device), torch.full((1,), float(side), device=device), side, inner)[0]
    place = (torch.arange(side, device=device) - (side - inner) // 2).abs()
    return shrunk[(inner - 1) - ((inner - 1) - place).abs()]


def _grey(images: Tensor, _) -> Tensor:
    return _piecewise(lambda some: grey(some).expand_as(some), images)


def _like_another(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mean and deviation of each channel from a random other image: one round through all of them, so each is taken once."""
    order = torch.randperm(len(images), generator=generator, device=images.device)
    other = torch.empty_like(order).scatter_(0, order, order.roll(1))
    size = at_a_time(images)
    found = [torch.var_mean(some.float(), (2, 3), keepdim=True, correction=0) for some in images.split(size)]
    deviation, mean = torch.cat([variance for variance, _ in found]).sqrt_(), torch.cat([mean for _, mean in found])
    gain = deviation[other] / deviation.clamp(min=FLAT)
    moved = mean[other] - gain * mean
    parts = zip(images.split(size), gain.split(size), moved.split(size), strict=True)
    return torch.cat([_bytes(times * some + plus) for some, times, plus in parts])


STYLES = {
    "grey": _grey,
    # A third of the circle is what takes red to green, green to blue and blue to red: the channels change places, exactly.
    "hue turned by 120°": lambda images, _: images.roll(1, dims=1),
    "hue turned by 240°": lambda images, _: images.roll(2, dims=1),
    "another image's colours": _like_another,
    "negative": lambda images, _: 255 - images,
    "four levels": lambda images, _: _piecewise(lambda some: (some / STEPS).round_() * STEPS, images),
}

# The levels of each group, the mildest first.
SHIFTS = {"occlusion": tuple(HIDDEN), "scale": tuple(ZOOMED), "style": tuple(STYLES)}


def _piecewise(change, images: Tensor) -> Tensor:
    """A change of float images in steps of a byte, made for so many at a time as fit, and rounded."""
    return torch.cat([_bytes(change(some.float())) for some in images.split(at_a_time(images))])


def _bytes(images: Tensor) -> Tensor:
    return images.round().clamp_(0, 255).byte()
