"""From a uint8 batch and random numbers to finished views: a function of tensors alone, so that torch.compile can take it whole."""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.views import colour, filters, geometry
from helpers.views.geometry import Draws


def render(out: Tensor, images: Tensor, rows: Tensor, order: Tensor, numbers: Tensor, noise: Tensor | None, settings, size: int) -> None:
    """Views of images[rows], normalised, the i-th of them into out[order[i]]; out: float32 [n, size, size, 3].

    Geometry, colours, filters, cutout, mask, unless the settings name another order; `numbers` are the uniform ones of Draws, `noise`
    is normal like the views. Where the settings ask for masks, the images carry them as a fourth channel."""
    draws = Draws(numbers)
    views, mask = altered(images.index_select(0, rows), noise, settings, size, draws)
    views = foreground(normalise(views, settings), mask, settings, draws).permute(0, 2, 3, 1).contiguous()
    back = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=order.device))
    torch.index_select(views, 0, back, out=out)


@functools.cache
def compiled():
    """render as torch.compile makes it, shared by the process: a recipe of a size and a batch size is compiled once."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)  # a sweep has many of them
    return torch.compile(render, dynamic=False)


def numbers_needed(settings, size: int) -> int:
    """How many uniform numbers an image the recipe takes: what a trial with zeros used."""
    draws, image = Draws(torch.zeros(64, 1)), torch.zeros(1, 4 if settings.mask else 3, size, size)
    foreground(*altered(image, torch.zeros(1, 3, size, size), settings, size, draws), settings, draws)
    return draws.used


def normalise(images: Tensor, settings) -> Tensor:
    """In place. Channel by channel with plain numbers: a tensor of means would have to be sent to the device, which waits for it."""
    for channel, mean, std in zip(images.unbind(1), settings.mean, settings.std, strict=True):
        channel.sub_(mean).div_(std)
    return images


def unnormalised(views: Tensor, settings) -> Tensor:
    """Back from normalised to [0, 1], for what must see the colours: float32, a tensor of its own."""
    images = views.float().clone()
    for channel, mean, std in zip(images.unbind(1), settings.mean, settings.std, strict=True):
        channel.mul_(std).add_(mean)
    return images.clamp_(0, 1)


def resized(images: Tensor, size: int) -> Tensor:
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)


def altered(images: Tensor, noise: Tensor | None, s, size: int, draws: Draws) -> tuple[Tensor, Tensor | None]:
    """The views in [0, 1], and what of them is foreground: [n, 1, size, size], or None where nothing is masked."""
    if s.order is not None:
        views = resized(images.float().div_(255), size)
        for step in s.order:
            views = STEPS[step](views, noise, s, size, draws)
        return views, None
    first = s.mask and s.mask_first
    images = move(faded(images, s, draws) if first else images, s, size, draws)
    images, mask = (images[:, :3].contiguous(), images[:, 3:]) if s.mask and not first else (images, None)
    for step in ("colour", "blur", "solarize", "sobel", "noise", "cutout"):
        images = STEPS[step](images, noise, s, size, draws)
    return images, mask


def move(images: Tensor, s, size: int, draws: Draws) -> Tensor:
    """Where pixels go; from here on the images are float in [0, 1]."""
    height, width = images.shape[-2:]
    if s.shift:
        down, right = (draws.uniform(-int(s.shift * side), int(s.shift * side) + 1).floor_().long() for side in (height, width))
        images = geometry.shift(images, down, right)
    images = crop(images.float().div_(255), None, s, size, draws)
    return turn(images, None, s, size, draws)


# One step each: (images, noise, settings, size, draws) -> images. What a recipe leaves at zero is not drawn either.


def crop(images: Tensor, noise: Tensor | None, s, size: int, draws: Draws) -> Tensor:
    """A crop resized to the views' size, and the flip that goes with it."""
    height, width = images.shape[-2:]
    mirrored = draws.happens(s.flip) if s.flip else None
    if s.crop_scale is not None:
        return geometry.crop_resize(images, geometry.draw_boxes(height, width, s.crop_scale, s.crop_ratio, draws), size, mirrored)
    images = resized(images, size)
    return images if mirrored is None else geometry.flip(images, mirrored)


def turn(images: Tensor, noise: Tensor | None, s, size: int, draws: Draws) -> Tensor:
    if s.quarter_turns:
        images = geometry.quarter_turns(images, draws.uniform(0, 4).floor_().long())
    if s.rotation:
        images = geometry.rotate(images, draws.uniform(-s.rotation, s.rotation))
    return images


def recolour(images: Tensor, noise: Tensor | None, s, size: int, draws: Draws) -> Tensor:
    if s.jitter:
        images = colour.jitter(images, colour.draw_jitter((s.brightness, s.contrast, s.saturation), s.hue, s.jitter, draws))
    if s.grey:
        images = colour.greyscale(images, draws.happens(s.grey))
    return images


def blur(images: Tensor, noise: Tensor | None, s, size: int, draws: Draws) -> Tensor:
    if not s.blur:
        return images
    sigma = draws.uniform(*s.blur_sigma) * draws.happens(s.blur)
    return filters.gaussian_blur(images, sigma, filters.kernel_size(s.blur_kernel, images.shape[-1]))


def solarize(images: Tensor, noise: Tensor | None, s, size: int, draws: Draws) -> Tensor:
    return colour.solarize(images, draws.happens(s.solarize)) if s.solarize else images


def sobel(images: Tensor, noise: Tensor | None, s, size: int, draws: Draws) -> Tensor:
    return filters.sobel(images, draws.happens(s.sobel)) if s.sobel else images


def disturb(images: Tensor, noise: Tensor | None, s, size: int, draws: Draws) -> Tensor:
    return images if noise is None else filters.add_noise(images, noise, draws.happens(s.noise) * s.noise_sigma)


def hide(images: Tensor, noise: Tensor | None, s, size: int, draws: Draws) -> Tensor:
    side = round(s.cutout_side * images.shape[-1])
    if not (s.cutout and side):
        return images
    top, left = (draws.uniform(0, images.shape[-1] - side + 1).floor_() for _ in range(2))
    return geometry.cutout(images, top, left, draws.happens(s.cutout) * side)


STEPS = {
    "crop": crop,
    "turn": turn,
    "colour": recolour,
    "blur": blur,
    "solarize": solarize,
    "sobel": sobel,
    "noise": disturb,
    "cutout": hide,
}


def faded(images: Tensor, s, draws: Draws) -> Tensor:
    """The images, in 0 to 255, without their fourth channel: the mean colour around what it shows, where the draw says so. Whatever
    happens to the views then happens to that colour too."""
    shown = torch.where(draws.happens(s.mask).view(-1, 1, 1), images[:, 3].float().div_(255), 1.0)
    images = images[:, :3].float()
    for channel, mean in zip(images.unbind(1), s.mean, strict=True):
        channel.sub_(255 * mean).mul_(shown).add_(255 * mean)
    return images


def foreground(images: Tensor, mask: Tensor | None, s, draws: Draws) -> Tensor:
    """In place: normalised images faded to the mean colour, which is 0, outside their mask, where the draw says so."""
    if mask is None:
        return images
    return images.mul_(torch.where(draws.happens(s.mask).view(-1, 1, 1, 1), mask, 1.0))
