"""The settings of a recipe, checked."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from helpers.core.errors import UserError, unknown
from helpers.core.sections import Section

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Strength = Annotated[float, Field(ge=0)]

# What `order` may name, and the settings that make each do something: all of one group.
STEPS = {
    "crop": (("crop_scale",), ("flip",)),
    "turn": (("quarter_turns",), ("rotation",)),
    "colour": (("jitter", "brightness"), ("jitter", "contrast"), ("jitter", "saturation"), ("jitter", "hue"), ("grey",)),
    "blur": (("blur",),),
    "solarize": (("solarize",),),
    "sobel": (("sobel",),),
    "noise": (("noise", "noise_sigma"),),
    "cutout": (("cutout", "cutout_side"),),
}

SHARED = ("count", "alternate", "small", "small_side", "small_scale", "mean", "std")  # what belongs to a recipe and not to a view


class ViewSettings(Section):
    """Every strength and probability of a recipe. What is left at zero costs nothing."""

    model_config = ConfigDict(allow_inf_nan=False)

    count: int = Field(2, ge=1, description="large views of each image")
    alternate: dict[str, Any] = Field({}, description="settings that differ in every second large view, by name")
    order: tuple[str, ...] | None = Field(None, description="these steps alone, one after the other; None: all, in the usual order")
    small: int = Field(0, ge=0, description="small views of each image besides the large ones")
    small_side: Annotated[float, Field(gt=0, le=1)] = Field(96 / 224, description="their side as a fraction of the large ones'")
    small_scale: tuple[Share, Share] = Field((0.05, 0.14), description="range of their crop's share of the area")
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
    mask: Share = Field(0.0, description="probability that a large view shows the foreground alone, the mean colour around it")
    mask_first: bool = Field(False, description="the background is removed before crop and colours, and not after them")
    mean: tuple[float, float, float] = (0.4914, 0.4822, 0.4465)  # CIFAR-10's
    std: tuple[Positive, Positive, Positive] = (0.247, 0.2435, 0.2616)

    @model_validator(mode="after")
    def _ordered(self):
        for name in ("crop_scale", "crop_ratio", "blur_sigma", "small_scale"):
            limits = getattr(self, name)
            if limits is not None and limits[0] > limits[1]:
                raise UserError(f"{name} = {limits}: the first number must not exceed the second.")
        for name in ("crop_scale", "small_scale"):
            limits = getattr(self, name)
            if limits is not None and limits[0] == 0:
                raise UserError(f"{name} = {limits}: a crop must keep some of the image; begin above 0.")
        return self

    @model_validator(mode="after")
    def _steps(self):
        for step in self.order or ():
            if step not in STEPS:
                raise unknown("step of order", step, STEPS)
            if not any(all(getattr(self, name) for name in group) for group in STEPS[step]):
                needed = ", or ".join(" and ".join(group) for group in STEPS[step])
                raise UserError(f"order names {step!r}, which does nothing as it is set: it needs {needed}.")
        if self.order is not None and (self.mask or self.shift or self.small):
            raise UserError("With an order of steps, mask, shift and small views are not possible: set them to 0, or leave order out.")
        return self

    @model_validator(mode="after")
    def _alternates(self):
        allowed = [name for name in type(self).model_fields if name not in SHARED]
        for name in self.alternate:
            if name in SHARED:
                raise UserError(f"alternate cannot change {name!r}, which all views of a recipe share. Set it beside alternate.")
            if name not in allowed:
                raise unknown("setting of alternate views", name, allowed)
        if self.alternate:
            try:
                self.second()
            except UserError as error:
                raise UserError("In alternate: " + str(error).removeprefix("ViewSettings: ")) from error
        return self

    def second(self) -> "ViewSettings":
        """The settings of every second large view."""
        return ViewSettings(**(self.model_dump() | self.alternate | {"alternate": {}}))

    def takes(self, step: str) -> bool:
        """Whether that step is part of these views, as far as the order goes."""
        return self.order is None or step in self.order

    @property
    def total(self) -> int:
        """How many views of each image there are, large and small."""
        return self.count + self.small
