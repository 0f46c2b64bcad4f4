"""From uint8 batches to views: one pass for each part of a recipe."""

import warnings

import torch
from torch import Tensor

from helpers.core.errors import UserError
from helpers.views.parts import Part, parts_of
from helpers.views.render import compiled, normalise, render, resized
from helpers.views.saliency import saliency
from helpers.views.settings import ViewSettings

# How many values are worked on at a time. On a CPU what an operation touches should stay in cache: 256 images of 32 px were
# faster than 64, and than 512 in a fresh process. On a GPU it only bounds the memory.
CHUNK = {"cpu": 256 * 3 * 32 * 32, "cuda": 2**26}


class Views:
    """A recipe at an image size: views(images, generator) draws, views.plain(images) is evaluation's unaltered view.

    `compiled` makes them through torch.compile: the same views in a few kernels, for a device that waits for launches."""

    compiled = False

    def __init__(self, settings: ViewSettings, size: int):
        if isinstance(size, bool) or not isinstance(size, int) or size < 4:
            raise UserError(f"size = {size!r}: views need a whole number of pixels, at least 4.")
        self.settings, self.size = settings, size
        self._parts = parts_of(settings, size)

    def at(self, size: int) -> "Views":
        """The same recipe at another size."""
        views = Views(self.settings, size)
        views.compiled = self.compiled
        return views

    @property
    def total(self) -> int:
        """How many views of each image there are; settings.count of them are large."""
        return self.settings.total

    @property
    def sizes(self) -> list[int]:
        """The side of each view, in the order they come in."""
        return [self.size] * self.settings.count + [self._parts[-1].size] * self.settings.small

    @torch.no_grad()
    def __call__(self, images: Tensor, generator: torch.Generator) -> list[Tensor]:
        """Views of a uint8 batch [N, 3, H, W]: the large ones, then the small; float32 [N, 3, side, side], normalised, channels last."""
        _check(images)
        if generator.device.type != images.device.type:
            raise UserError(f"Images on {images.device.type}, generator on {generator.device.type}: make both on one device.")
        with torch.autocast(images.device.type, enabled=False):
            masked = _with_masks(images) if any(part.settings.mask for part in self._parts) else None
            made = [self._made(part, masked if part.settings.mask else images, generator) for part in self._parts]
        small = made.pop() if self.settings.small else []
        large = [made[view % len(made)][view // len(made)] for view in range(self.settings.count)]
        return [*large, *small]

    def _made(self, part: Part, images: Tensor, generator: torch.Generator) -> list[Tensor]:
        """All views of a part are made as one batch of count x N, chunk by chunk; the views returned are slices of one buffer."""
        total, places = part.count * len(images), part.places
        chunk = _at_a_time(images.device, part.size**2) // places * places
        # Filled up to a multiple of the hue's places, so that every place is equally likely in a batch of any size.
        out = torch.empty(-(-total // places) * places, part.size, part.size, 3, device=images.device)
        for start in range(0, len(out), chunk):
            self._fill(out[start : start + chunk], start, images, part, generator)
        return list(out[:total].permute(0, 3, 1, 2).unflatten(0, (part.count, len(images))))

    def _fill(self, out: Tensor, start: int, images: Tensor, part: Part, generator: torch.Generator) -> None:
        """Views number start, start + 1, ... of the concatenated batch into `out`, [n, size, size, 3].

        They are made in a shuffled order, so that chance says which of them share a place of the hue (colour.jitter)."""
        count, device = len(out), images.device
        order = torch.randperm(count, generator=generator, device=device)
        numbers = torch.rand(part.numbers, count, generator=generator, device=device)
        noise = None
        if part.settings.noise and part.settings.noise_sigma and part.settings.takes("noise"):
            noise = torch.randn(count, 3, part.size, part.size, generator=generator, device=device)
        rows = (order + start).remainder_(len(images))
        given = (out, images, rows, order, numbers, noise, part.settings, part.size)
        if self.compiled:
            try:
                return compiled()(*given)
            except torch._dynamo.exc.TorchDynamoException as error:
                self.compiled = False
                warnings.warn(f"torch.compile failed for the views ({type(error).__name__}); going on without it.", stacklevel=2)
        render(*given)

    @torch.no_grad()
    def plain(self, images: Tensor) -> Tensor:
        """The images themselves: resized to `size` where needed, normalised, channels last."""
        _check(images)
        with torch.autocast(images.device.type, enabled=False):
            plain = resized(images.float().div_(255), self.size)
            return normalise(plain, self.settings).contiguous(memory_format=torch.channels_last)


def _check(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise UserError(f"Views take uint8 images [N, 3, height, width]; got {images.dtype} {list(images.shape)}.")


def _at_a_time(device: torch.device, pixels: int) -> int:
    """How many images of so many pixels are worked on at a time."""
    return max(16, CHUNK.get(device.type, CHUNK["cuda"]) // (3 * pixels))


def _with_masks(images: Tensor) -> Tensor:
    """The images, uint8, with what stands out in them as a fourth channel, so that it goes wherever their pixels go."""
    height, width = images.shape[-2:]
    masks = [saliency(some.float().div_(255)).mul_(255).round_().byte() for some in images.split(_at_a_time(images.device, height * width))]
    return torch.cat([images, torch.cat(masks)], dim=1)
