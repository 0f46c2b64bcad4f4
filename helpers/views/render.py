"""From a uint8 batch and random numbers to finished views: a function of tensors alone, so that torch.compile can take it whole."""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.views import colour, filters, geometry
from helpers.views.geometry import Draws


def render(out: Tensor, images: Tensor, rows: Tensor, order: Tensor, numbers: Tensor, noise: Tensor | None, settings, size: int) -> None:
    """Views of images[rows], normalised, the i-th of them into out[order[i]]; out: float32 [n, size, size, 3].

    Geometry, colours, filters, cutout, mask, in this order; `numbers` are the uniform ones of Draws, `noise` is normal like the views.
    Where the settings ask for masks, the images carry them as a fourth channel."""
    draws = Draws(numbers)
    views, mask = moved(images.index_select(0, rows), settings, size, draws)
    views = recolour(views, settings, draws)
    views = filtered(views, noise, settings, draws)
    views = hide(views, settings, draws)
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
    views, mask = moved(image, settings, size, draws)
    views = hide(filtered(recolour(views, settings, draws), views, settings, draws), settings, draws)
    foreground(views, mask, settings, draws)
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


def moved(images: Tensor, s, size: int, draws: Draws) -> tuple[Tensor, Tensor | None]:
    """The views, and what of them is foreground: [n, 1, size, size], or None where nothing is masked."""
    images = move(images, s, size, draws)
    return (images[:, :3].contiguous(), images[:, 3:]) if s.mask else (images, None)


def move(images: Tensor, s, size: int, draws: Draws) -> Tensor:
    """Where pixels go; from here on the images are float in [0, 1]."""
    height, width = images.shape[-2:]
    if s.shift:
        down, right = (draws.uniform(-int(s.shift * side), int(s.shift * side) + 1).floor_().long() for side in (height, width))
        images = geometry.shift(images, down, right)
    images = images.float().div_(255)
    mirrored = draws.happens(s.flip) if s.flip else None
    if s.crop_scale is not None:
        images = geometry.crop_resize(images, geometry.draw_boxes(height, width, s.crop_scale, s.crop_ratio, draws), size, mirrored)
    else:
        images = resized(images, size)
        if mirrored is not None:
            images = geometry.flip(images, mirrored)
    if s.quarter_turns:
        images = geometry.quarter_turns(images, draws.uniform(0, 4).floor_().long())
    if s.rotation:
        images = geometry.rotate(images, draws.uniform(-s.rotation, s.rotation))
    return images


def recolour(images: Tensor, s, draws: Draws) -> Tensor:
    if s.jitter:
        images = colour.jitter(images, colour.draw_jitter((s.brightness, s.contrast, s.saturation), s.hue, s.jitter, draws))
    if s.grey:
        images = colour.greyscale(images, draws.happens(s.grey))
    return images


def filtered(images: Tensor, noise: Tensor | None, s, draws: Draws) -> Tensor:
    if s.blur:
        sigma = draws.uniform(*s.blur_sigma) * draws.happens(s.blur)
        images = filters.gaussian_blur(images, sigma, filters.kernel_size(s.blur_kernel, images.shape[-1]))
    if s.solarize:
        images = colour.solarize(images, draws.happens(s.solarize))
    if s.sobel:
        images = filters.sobel(images, draws.happens(s.sobel))
    if noise is not None:
        images = filters.add_noise(images, noise, draws.happens(s.noise) * s.noise_sigma)
    return images


def hide(images: Tensor, s, draws: Draws) -> Tensor:
    size = images.shape[-1]
    side = round(s.cutout_side * size)
    if not (s.cutout and side):
        return images
    top, left = (draws.uniform(0, size - side + 1).floor_() for _ in range(2))
    return geometry.cutout(images, top, left, draws.happens(s.cutout) * side)


def foreground(images: Tensor, mask: Tensor | None, s, draws: Draws) -> Tensor:
    """In place: normalised images faded to the mean colour, which is 0, outside their mask, where the draw says so."""
    if mask is None:
        return images
    return images.mul_(torch.where(draws.happens(s.mask).view(-1, 1, 1, 1), mask, 1.0))
