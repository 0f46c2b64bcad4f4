"""What can be set in the grid of augmentations, and the runs its presets come to."""

from dataclasses import dataclass
from itertools import product
from math import sqrt
from typing import Any

from pydantic import field_validator, model_validator

from helpers.core.errors import UserError, pick
from helpers.methods import method_options
from helpers.study.config import Encoder, MethodChoice, Positive, RangeTest, RunConfig, Section, Training
from helpers.study.contest_settings import among
from helpers.views import RECIPES

READINGS = ("as_written",)
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


class AugmentationSettings(Section):
    """One variant of the study: the preset's values, with whatever the parameters cell or papermill put in their place."""

    scope: str  # embedded | reduced | paper
    part: str | None = None  # grid | ablations: what is trained now; None: both. All that has a record is drawn
    dataset: str
    train_images: Positive | None = None
    test_images: Positive | None = None
    image_size: Positive | None = None
    operations: list[str] = list(OPERATIONS)
    strengths: dict[str, Any] = {}  # settings of the views that differ from the recipe "composition"
    repeated: list[list[str]] = []  # cells with more seeds than one: ["Crop", "Color"], or ["Crop"] for a diagonal
    repeated_seeds: Positive = 1  # of those
    full: str = "simclr_small"  # the recipe that the ablations change
    ablations: dict[str, list[Any]] = {}  # ablation -> its values
    ablation_seeds: dict[str, Positive] = {}  # ablation -> seeds, where more than one
    encoder: Encoder
    method: MethodChoice
    training: Training
    readout: str = "linear"  # the protocol the claims are judged by

    @field_validator("part")
    @classmethod
    def _part(cls, value):
        return value if value is None else among("part", [value], PARTS)[0]

    @field_validator("operations")
    @classmethod
    def _operations(cls, value):
        if not value:
            raise ValueError(f"a grid needs at least one operation; there are {', '.join(OPERATIONS)}")
        return among("operation", value, tuple(OPERATIONS))

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

    @field_validator("readout")
    @classmethod
    def _readout(cls, value):
        return among("readout", [value], ("linear", "knn10"))[0]

    @model_validator(mode="after")
    def _possible(self):
        for cell in self.repeated:
            among("operation", cell, tuple(OPERATIONS))
            if not 1 <= len(cell) <= 2:
                raise ValueError(f"repeated holds {cell}: name one operation or two")
        among("ablation", list(self.ablation_seeds), ABLATIONS)
        if not asked(self):
            raise ValueError("there is nothing to train: part = 'ablations', and the preset has no ablations")
        for place in asked(self):  # every strength and value is checked before anything is trained
            try:
                config_of(self, place)
            except UserError as error:
                raise ValueError(f"{_named(place)}: {error}") from error
        return self


def _fits(ablation: str, value) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    whole = ablation in ("temperature", "colour strength") or isinstance(value, int)
    return number and whole and (value > 0 or (value == 0 and ablation == "colour strength"))


def about(s: AugmentationSettings) -> str:
    """What was trained on what, for every figure's title."""
    images = "all images" if s.train_images is None else f"{s.train_images:,} images"
    return f"{s.dataset}, {images}, {s.encoder.name}, {s.training.epochs} epochs; {s.scope}"


@dataclass(frozen=True)
class Place:
    """One cell of the grid (first, second; the same twice on the diagonal) or one value of an ablation, with its seed."""

    part: str  # grid, or the ablation's name
    first: str = ""
    second: str = ""
    value: Any = None
    seed: int = 0


def _named(place: Place) -> str:
    return f"{place.first} then {place.second}" if place.part == "grid" else f"ablation {place.part} = {place.value!r}"


def plan(s: AugmentationSettings) -> list[Place]:
    """Every run, the most telling first: crop and colour, their rows and columns, the rest, more seeds, the ablations."""
    pairs = sorted(product(s.operations, s.operations), key=lambda pair: sum(name not in TELLING for name in pair))
    places = [Place("grid", *pair) for pair in pairs]
    again = [(cell[0], cell[-1]) for cell in s.repeated if {*cell} <= {*s.operations}]
    places += [Place("grid", *pair, seed=seed) for seed in range(1, s.repeated_seeds) for pair in again]
    seeds = max(s.ablation_seeds.values(), default=1)
    places += [
        Place(name, value=value, seed=seed)
        for seed in range(seeds)
        for name, values in s.ablations.items()
        for value in values
        if seed < s.ablation_seeds.get(name, 1)
    ]
    return places


def asked(s: AugmentationSettings) -> list[Place]:
    """The places of the part that is to be trained now."""
    return [place for place in plan(s) if s.part in (None, "grid" if place.part == "grid" else "ablations")]


def config_of(s: AugmentationSettings, place: Place) -> RunConfig:
    changes = _cell(s, place) if place.part == "grid" else pick("ablation", place.part, CHANGES)(s, place.value)
    data = {"dataset": s.dataset, "train_images": s.train_images, "test_images": s.test_images, "image_size": s.image_size}
    return RunConfig(
        data=data,
        encoder=s.encoder,
        views=changes.get("views", {"recipe": s.full}),
        method={"name": s.method.name, "options": s.method.options | changes.get("method", {})},
        training=s.training.model_dump() | changes.get("training", {}),
        # All cells of a seed begin from the same weights: one run tells what they are worth before training.
        evaluation=READ | ({"untrained": True} if (place.first, place.second) == TELLING else {}),
        seed=place.seed,
    )


def _cell(s: AugmentationSettings, place: Place) -> dict:
    steps = [place.first] if place.first == place.second else [place.first, place.second]
    order = [pick("operation", name, OPERATIONS) for name in steps]
    return {"views": {"recipe": GRID, "options": s.strengths | {"order": order}}}


def _batch(s: AugmentationSettings, value: int) -> dict:
    """The rate grows with the square root of the batch, as SimCLR has it for small ones; epochs stay, so steps are fewer."""
    t, scaled = s.training, {}
    if not isinstance(t.rate, RangeTest):
        scaled = {"rate": float(f"{t.rate * sqrt(value / t.batch_size):.4g}")}
    return {"training": {"batch_size": value} | scaled}


def _option(s: AugmentationSettings, name: str, value) -> dict:
    """Nothing where the method has that value already, so that the run is one with the unchanged one's."""
    default = pick(f"option of {s.method.name}", name, method_options(s.method.name)).default
    return {} if value == s.method.options.get(name, default) else {"method": {name: value}}


def _recipe(s: AugmentationSettings, **options) -> dict:
    """The full recipe with these options; what it has already is no change, so that the run is one with the unchanged one's."""
    held = pick("view recipe", s.full, RECIPES)
    return {"views": {"recipe": s.full, "options": {name: value for name, value in options.items() if getattr(held, name) != value}}}


def _strength(s: AugmentationSettings, value: float) -> dict:
    scaled = {name: float(f"{strength * value:.4g}") for name, strength in COLOUR.items()}
    return _recipe(s, **scaled) if value else _recipe(s, jitter=0.0)


CHANGES = {
    "batch size": _batch,
    "temperature": lambda s, value: _option(s, "temperature", value),
    "projector width": lambda s, value: _option(s, "hidden", value),
    "colour strength": _strength,
    "left out": lambda s, value: _recipe(s, **pick("part of the recipe", value, LEFT_OUT)),
    "views": lambda s, value: _recipe(s, count=value),
}
