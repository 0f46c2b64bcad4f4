"""From uint8 batches to views: the settings of a recipe, the recipes by name, and the one pass that makes all views."""

import warnings
from typing import Annotated

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from helpers.core.errors import UserError, pick, unknown
from helpers.views import colour
from helpers.views.render import compiled, normalise, numbers_needed, render, resized

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Strength = Annotated[float, Field(ge=0)]

# How many values are worked on at a time. On a CPU what an operation touches should stay in cache: 256 images of 32 px were
# faster than 64, and than 512 in a fresh process. On a GPU it only bounds the memory.
CHUNK = {"cpu": 256 * 3 * 32 * 32, "cuda": 2**26}


class ViewSettings(BaseModel):
    """Every strength and probability of a recipe. What is left at zero costs nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    count: int = Field(2, ge=1, description="views of each image")
    crop_scale: tuple[Share, Share] | None = Field(None, description="range of the crop's share of the area; None: no crop")
    crop_ratio: tuple[Positive, Positive] = Field((3 / 4, 4 / 3), description="range of the crop's width to height")
    shift: Share = Field(0.0, le=0.5, description="largest move, as a fraction of the side, filled by reflection")
    flip: Share = Field(0.0, description="probability of a left-right flip")
    quarter_turns: bool = Field(False, description="turn by 0, 90, 180 or 270 degrees, equally likely, pixels exact")
    rotation: float = Field(0.0, ge=0, le=180, description="largest angle in degrees, either way")
    jitter: Share = Field(0.0, description="probability of the colour jitter (the next four)")
    brightness: Strength = Field(0.0, description="factor within 1 +- this")
    contrast: Strength = Field(0.0, description="factor within 1 +- this")
    saturation: Strength = Field(0.0, description="factor within 1 +- this")
    hue: float = Field(0.0, ge=0, le=0.5, description="shift within +- this share of the colour circle")
    grey: Share = Field(0.0, description="probability of greyscale")
    blur: Share = Field(0.0, description="probability of Gaussian blur")
    blur_sigma: tuple[Positive, Positive] = Field((0.1, 2.0), description="range of the blur's deviation in pixels")
    blur_kernel: Share = Field(0.1, description="the blur's width as a fraction of the side")
    solarize: Share = Field(0.0, description="probability of inverting values from 0.5 up")
    sobel: Share = Field(0.0, description="probability of edges instead of the image")
    noise: Share = Field(0.0, description="probability of Gaussian noise")
    noise_sigma: Strength = Field(0.1, description="the noise's deviation")
    cutout: Share = Field(0.0, description="probability of a grey square")
    cutout_side: Share = Field(0.5, description="the square's side as a fraction of the image's")
    mean: tuple[float, float, float] = (0.4914, 0.4822, 0.4465)  # CIFAR-10's
    std: tuple[Positive, Positive, Positive] = (0.247, 0.2435, 0.2616)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, values):
        for name in values if isinstance(values, dict) else ():
            if name not in cls.model_fields:
                raise unknown("view setting", name, cls.model_fields)
        return values

    @model_validator(mode="after")
    def _ordered(self):
        for name in ("crop_scale", "crop_ratio", "blur_sigma"):
            limits = getattr(self, name)
            if limits is not None and limits[0] > limits[1]:
                raise UserError(f"{name} = {limits}: the first number must not exceed the second.")
        if self.crop_scale is not None and self.crop_scale[0] == 0:
            raise UserError(f"crop_scale = {self.crop_scale}: a crop must keep some of the image; begin above 0.")
        return self


_SMALL = dict(jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, grey=0.2, flip=0.5)

RECIPES = {
    # SimCLR as published for ImageNet: colour strength 1, blur over a tenth of the image half of the time.
    "simclr": ViewSettings(
        crop_scale=(0.08, 1), flip=0.5, jitter=0.8, brightness=0.8, contrast=0.8, saturation=0.8, hue=0.2, grey=0.2, blur=0.5
    ),
    # For 32 to 96 px: colour strength 0.5 and no blur, as SimCLR's own CIFAR-10 experiments. Crops keep at least a fifth
    # of the area: 8 % of a 32 px image is a 9 px patch, in which little of the object is left.
    "simclr_small": ViewSettings(crop_scale=(0.2, 1), **_SMALL),
    # The backbone contest's: small-image colours, but the full crop range.
    "contest": ViewSettings(crop_scale=(0.08, 1), **_SMALL),
    # One unaltered view; count=2 where a method wants a pair.
    "none": ViewSettings(count=1),
    # The usual training of supervised nets on small images: moved by up to an eighth (4 px of 32), flipped.
    "supervised": ViewSettings(count=1, shift=0.125, flip=0.5),
}


class Views:
    """A recipe at an image size: views(images, generator) draws, views.plain(images) is evaluation's unaltered view.

    `compiled` makes them through torch.compile: the same views in a few kernels, for a device that waits for launches."""

    compiled = False

    def __init__(self, settings: ViewSettings, size: int):
        if isinstance(size, bool) or not isinstance(size, int) or size < 4:
            raise UserError(f"size = {size!r}: views need a whole number of pixels, at least 4.")
        self.settings, self.size = settings, size
        self._numbers = numbers_needed(settings, size)
        strengths = (settings.brightness, settings.contrast, settings.saturation)
        self._places = colour.hue_places(strengths, settings.hue) if settings.jitter else 1

    @torch.no_grad()
    def __call__(self, images: Tensor, generator: torch.Generator) -> list[Tensor]:
        """`count` views of a uint8 batch [N, 3, H, W], each float32 [N, 3, size, size], normalised, channels last.

        All views are made as one batch of count x N, chunk by chunk; the views returned are slices of one buffer."""
        _check(images)
        if generator.device.type != images.device.type:
            raise UserError(f"Images on {images.device.type}, generator on {generator.device.type}: make both on one device.")
        total, places = self.settings.count * len(images), self._places
        chunk = max(16, CHUNK.get(images.device.type, CHUNK["cuda"]) // (3 * self.size**2)) // places * places
        # Filled up to a multiple of the hue's places, so that every place is equally likely in a batch of any size.
        out = torch.empty(-(-total // places) * places, self.size, self.size, 3, device=images.device)
        with torch.autocast(images.device.type, enabled=False):
            for start in range(0, len(out), chunk):
                self._fill(out[start : start + chunk], start, images, generator)
        return list(out[:total].permute(0, 3, 1, 2).unflatten(0, (self.settings.count, len(images))))

    def _fill(self, out: Tensor, start: int, images: Tensor, generator: torch.Generator) -> None:
        """Views number start, start + 1, ... of the concatenated batch into `out`, [n, size, size, 3].

        They are made in a shuffled order, so that chance says which of them share a place of the hue (colour.jitter)."""
        count, device = len(out), images.device
        order = torch.randperm(count, generator=generator, device=device)
        numbers = torch.rand(self._numbers, count, generator=generator, device=device)
        noise = None
        if self.settings.noise and self.settings.noise_sigma:
            noise = torch.randn(count, 3, self.size, self.size, generator=generator, device=device)
        rows = (order + start).remainder_(len(images))
        given = (out, images, rows, order, numbers, noise, self.settings, self.size)
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


def make_views(name: str, size: int, **overrides) -> Views:
    """The recipe by name at an image size, with any of its settings changed: make_views("contest", 32, grey=0)."""
    recipe = pick("recipe", name, RECIPES)
    try:
        return Views(ViewSettings(**{**recipe.model_dump(), **overrides}), size)
    except ValidationError as error:
        raise UserError(f"Recipe {name!r}: " + " ".join(map(_in_words, error.errors()))) from error


def _in_words(problem: dict) -> str:
    message = problem["msg"].removeprefix("Value error, ")
    if not problem["loc"]:
        return message
    field = ".".join(map(str, problem["loc"]))
    return f"{field} = {problem['input']!r}: {message[0].lower()}{message[1:]}."


def _check(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise UserError(f"Views take uint8 images [N, 3, height, width]; got {images.dtype} {list(images.shape)}.")
