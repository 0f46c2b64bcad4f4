"""Neighbourhoods: Sobel edges, Gaussian noise, Gaussian blur. Images are float in [0, 1]."""

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.views.colour import grey
from helpers.views.geometry import separable

STEEPEST = 20**0.5  # the largest Sobel gradient that pixels in [0, 1] can make


def sobel(images: Tensor, on: Tensor) -> Tensor:
    """The size of the luma's gradient in all three channels, scaled into [0, 1], where `on`; edges repeat at the border."""
    padded = F.pad(grey(images), (1, 1, 1, 1), mode="replicate")
    smooth_y = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    smooth_x = padded[..., :-2] + 2 * padded[..., 1:-1] + padded[..., 2:]
    gradient = torch.hypot(smooth_y[..., 2:] - smooth_y[..., :-2], smooth_x[:, :, 2:] - smooth_x[:, :, :-2]).div_(STEEPEST)
    return torch.where(on.view(-1, 1, 1, 1), gradient, images)


def add_noise(images: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """In place: noise (standard normal, like the images) of deviation sigma[n] added to every value, then clamped."""
    return images.addcmul_(noise, sigma.view(-1, 1, 1, 1)).clamp_(0, 1)


def kernel_size(fraction: float, size: int) -> int:
    """The odd number of taps nearest below fraction x size, at least 3, and no wider than reflection allows."""
    return min(max(3, int(fraction * size) // 2 * 2 + 1), 2 * size - 1)


def _reflections(taps: int, size: int, device: torch.device) -> Tensor:
    """[taps, size, size]: for each tap the 0/1 matrix that fetches its neighbour, reflected at the border."""
    pixel = torch.arange(size, device=device)
    offset = torch.arange(taps, device=device) - taps // 2
    source = (pixel + offset[:, None]).abs()
    source = (size - 1) - ((size - 1) - source).abs()
    return (source.unsqueeze(2) == pixel).float()


def gaussian_blur(images: Tensor, sigma: Tensor, taps: int) -> Tensor:
    """Each image blurred with its own sigma (pixels; 0 leaves it exactly alone), `taps` wide, reflected at the border.

    The blur of an axis is one banded matrix an image, so it runs as the same two batched products as a resize."""
    distance = torch.arange(taps, device=images.device) - taps // 2
    # A deviation of a thousandth makes every tap but the middle one exactly 0: the identity.
    kernel = torch.exp(-0.5 * (distance / sigma.clamp(min=1e-3)[:, None]) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    height, width = images.shape[-2:]
    columns = (kernel @ _reflections(taps, width, images.device).view(taps, -1)).view(-1, width, width)
    if height == width:
        return separable(images, columns, columns)
    rows = (kernel @ _reflections(taps, height, images.device).view(taps, -1)).view(-1, height, height)
    return separable(images, rows, columns)
