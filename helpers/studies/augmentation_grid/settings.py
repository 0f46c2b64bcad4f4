"""What can be set in the grid of augmentations, and how its presets set it."""

from typing import Any

from pydantic import field_validator, model_validator

from helpers.core.sections import Positive, one_of
from helpers.runs.config import Encoder, MethodChoice, Training
from helpers.studies.settings import StudySettings, among, some_of

READINGS = ("as_written",)
VARIANTS = ("cpu", "quick")  # to be committed, the main one first
SHOWN = ("grid", "ablations")  # on the page of the study
ABOUT = "A1"  # the claim that it is about
PARTS = ("grid", "ablations")
# The published names, in the published order, and the step of a recipe that each is.
OPERATIONS = {"Crop": "crop", "Cutout": "cutout", "Color": "colour", "Sobel": "sobel", "Noise": "noise", "Blur": "blur", "Rotate": "turn"}
TELLING = ("Crop", "Color")  # the pair that the claims are about
GRID = "composition"
COLOUR = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}  # at strength 1, as SimCLR defines it
LEFT_OUT = {
    "nothing": {},
    "crop": {"crop_scale": None},
    "flip": {"flip": 0.0},
    "colours": {"jitter": 0.0},
    "grey": {"grey": 0.0},
    "blur": {"blur": 0.0},
}
# The settings of each step that a study may change: those that say how much.
STRENGTHS = {
    "crop": ("crop_scale", "crop_ratio", "flip"),
    "turn": ("quarter_turns", "rotation"),
    "colour": ("jitter", "brightness", "contrast", "saturation", "hue", "grey"),
    "blur": ("blur", "blur_sigma", "blur_kernel"),
    "sobel": ("sobel",),
    "noise": ("noise", "noise_sigma"),
    "cutout": ("cutout", "cutout_side"),
}
ABLATIONS = ("batch size", "temperature", "projector width", "colour strength", "left out", "views")
READ = {"probe_every": 0, "maps": None, "cka": False}


class Settings(StudySettings):
    part: one_of("part", PARTS) | None = None  # what is trained now; None: both. All that has a record is drawn
    operations: some_of("operation", OPERATIONS) = list(OPERATIONS)
    strengths: dict[str, Any] = {}  # settings of the views that differ from the recipe "composition"
    repeated: list[list[str]] | None = None  # cells with more seeds: ["Crop", "Color"], or ["Crop"] for a diagonal; None: all
    repeated_seeds: Positive = 1  # of those
    full: str = "simclr_small"  # the recipe that the ablations change
    ablations: dict[str, list[Any]] = {}  # ablation -> its values
    ablation_seeds: dict[str, Positive] = {}  # ablation -> seeds, where more than one
    encoder: Encoder
    method: MethodChoice
    training: Training
    readout: one_of("readout", ("linear", "knn10")) = "linear"  # the protocol the claims are judged by

    @field_validator("strengths")
    @classmethod
    def _strengths(cls, value):
        among("strength", list(value), tuple(name for names in STRENGTHS.values() for name in names))
        if value.get("crop_scale", ()) is None:
            raise ValueError("crop_scale = None leaves a flip alone of the crop: leave Crop out of operations, or give its range")
        return value

    @field_validator("ablations")
    @classmethod
    def _ablations(cls, value):
        among("ablation", list(value), ABLATIONS)
        for name, values in value.items():
            if wrong := [each for each in values if name != "left out" and not _fits(name, each)]:
                raise ValueError(f"{name} = {wrong[0]!r} cannot be: give numbers above 0" + (", or 0" if name == "colour strength" else ""))
        return value

    @model_validator(mode="after")
    def _possible(self):
        for cell in self.repeated or []:
            among("operation", cell, tuple(OPERATIONS))
            if not 1 <= len(cell) <= 2:
                raise ValueError(f"repeated holds {cell}: name one operation or two")
        among("ablation", list(self.ablation_seeds), ABLATIONS)
        return self


def _fits(ablation: str, value) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = ablation in ("temperature", "colour strength") or isinstance(value, int)
    return number and whole and (value > 0 or (value == 0 and ablation == "colour strength"))


def about(s: Settings) -> str:
    """What was trained on what, for every figure's title."""
    return f"{s.images()}, {s.encoder.name}, {s.training.epochs} epochs; {s.scope}"
