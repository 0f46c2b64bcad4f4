"""The four weathers of `corruptions`. Images are float [n,c,H,W], 0 to 255."""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from helpers.evaluation.corruptions_blur import dragged, side_scale, uniform, zoomed

LUMA = (0.299, 0.587, 0.114)

# What the published frost is made of, measured on crops of 32 pixels of its photographs at the size they are used at. A row each: red,
# green and blue on average, the deviations of a crop's average from that, the deviations within a crop, the power of the frequency with
# which neighbours differ as much, and how lopsided values are. Five are drawn from; the second and the third are the same photograph.
FROSTS = (
    ((76.7, 148.1, 164.8), (17.2, 9.4, 7.7), (21.2, 13.1, 12.6), -0.88, 0.07),
    ((198.4, 202.9, 212.2), (8.3, 9.1, 9.6), (17.7, 18.1, 18.6), -0.72, -0.17),
    ((198.4, 202.9, 212.2), (8.3, 9.1, 9.6), (17.7, 18.1, 18.6), -0.72, -0.17),
    ((143.8, 158.7, 171.4), (10.0, 9.9, 10.7), (25.8, 25.9, 26.9), -0.55, -0.02),
    ((102.8, 114.1, 125.9), (16.4, 15.8, 14.9), (34.9, 34.5, 33.8), -0.65, 0.06),
)


def snow(images: Tensor, level: tuple[float, ...], generator: torch.Generator) -> Tensor:
    """A paler scene behind flakes: the highest values of a noise, enlarged, dragged downwards, and once more turned by half a turn.

    Flakes are drawn as for 32 pixels and then grow with the image: of a noise that were itself enlarged more, fewer would be high enough.
    """
    mean, deviation, size, least, radius, sigma, kept = level
    scale, sides = side_scale(images), images.shape[2:]
    layer = torch.randn(len(images), 1, *(round(side / scale) for side in sides), generator=generator, device=images.device)
    layer = zoomed(layer.mul_(deviation).add_(mean), size)
    flakes = layer.masked_fill(layer < least, 0).clamp_(0, 1).mul_(255)
    if flakes.shape[2:] != sides:
        flakes = F.interpolate(flakes, size=sides, mode="bilinear", antialias=True)
    flakes = dragged(flakes.add_(1e-3).floor_(), uniform(images, -135, -45, generator), radius * scale, sigma * scale)
    grey = sum(share * images[:, channel, None] for channel, share in enumerate(LUMA))
    pale = torch.maximum(images, grey.mul_(1.5).add_(127.5))
    return images.lerp(pale, 1 - kept).add_(flakes).add_(flakes.flip(2, 3))


@functools.lru_cache(8)
def _frosts(device: torch.device) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(column, device=device) for column in zip(*FROSTS, strict=True))


def frost_texture(images: Tensor, generator: torch.Generator) -> Tensor:
    """A stand-in for a crop of a frosted window for each image: noise whose spectrum falls as in one of the photographs."""
    count, (height, width), device = len(images), images.shape[2:], images.device
    kind = torch.randint(len(FROSTS), (count,), generator=generator, device=device)
    colour, drift, rough, power, lean = (column[kind] for column in _frosts(device))
    frequency = torch.hypot(torch.fft.fftfreq(height, device=device)[:, None], torch.fft.fftfreq(width, device=device))
    frequency[0, 0] = torch.inf  # a falling power makes that 0: the average is drawn for itself
    gain = frequency ** power[:, None, None]
    gain = gain / gain.square().mean((1, 2), keepdim=True).sqrt()
    noise = torch.randn(count, height, width, generator=generator, device=device)
    grain = torch.fft.irfft2(torch.fft.rfft2(noise) * gain[..., : width // 2 + 1], s=(height, width))
    lean = lean[:, None, None]
    grain = (grain + lean * (grain.square() - 1)) / (1 + 2 * lean.square()).sqrt()
    level = colour + drift * torch.randn(count, 1, generator=generator, device=device)
    return (level[..., None, None] + rough[..., None, None] * grain[:, None]).clamp_(0, 255)


def frost(images: Tensor, level: tuple[float, float], generator: torch.Generator) -> Tensor:
    """A frozen window before the scene."""
    return (level[0] * images).add_(frost_texture(images, generator), alpha=level[1])


def plasma(images: Tensor, decay: float, generator: torch.Generator) -> Tensor:
    """[n,1,H,W] from 0 to 1: clouds by midpoint displacement on a torus, whose side is the next power of two.

    Each halving of the grid takes means of four neighbours, first in the middles of squares, then in those of their sides, and displaces
    them by up to the square of a swing that `decay` divides. The whole map spans 0 to 1, the part that an image gets seldom does.
    """
    step = 1 << (max(images.shape[2:]) - 1).bit_length()
    field = torch.zeros(len(images), step, step, device=images.device)
    swing = 100.0

    def displaced(total: Tensor) -> Tensor:
        return total / 4 + uniform(images, -(swing**2), swing**2, generator, total.shape[1:])

    while step > 1:
        half = step // 2
        corners = field[:, ::step, ::step]
        above = corners + corners.roll(-1, 2)  # of a square, its upper two
        middles = displaced(above + above.roll(-1, 1))
        field[:, half::step, half::step] = middles
        field[:, ::step, half::step] = displaced(above + middles + middles.roll(1, 1))
        field[:, half::step, ::step] = displaced(corners + corners.roll(-1, 1) + middles + middles.roll(1, 2))
        step, swing = half, swing / decay
    least, most = field.amin((1, 2), keepdim=True), field.amax((1, 2), keepdim=True)
    return ((field - least) / (most - least))[:, None, : images.shape[2], : images.shape[3]]


def fog(images: Tensor, level: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Clouds of light before the scene, then all dimmed so that the brightest possible value is the scene's own brightest."""
    thick, decay = level
    brightest = images.amax((1, 2, 3), keepdim=True)
    lit = images + 255 * thick * plasma(images, decay, generator)
    return lit.mul_(brightest / (brightest + 255 * thick))


def brightness(images: Tensor, added: float, generator: torch.Generator) -> Tensor:
    """The value of hue, saturation and value raised: all channels grow by the factor that the largest grows by; black becomes grey."""
    value = images.amax(1, keepdim=True)
    raised = (value + 255 * added).clamp_(max=255)
    return torch.where(value > 0, images * (raised / value.clamp(min=1)), raised)


WEATHER = {
    "snow": (
        snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
    ),
    "frost": (frost, ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))),
    "fog": (fog, ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75))),
    "brightness": (brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
}
