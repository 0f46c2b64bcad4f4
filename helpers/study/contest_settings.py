"""What can be set in the backbone contest, and how its presets set it."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, field_validator, model_validator

from helpers.core.errors import unknown
from helpers.evaluation.knn import protocol_name
from helpers.models import resolve_stem
from helpers.study.config import Encoder, MethodChoice, Positive, Section

BACKBONES = ("ResNet", "ConvNeXt", "ViT")
OPTIMIZERS = ("LAMB", "RAdam @3/8", "AdamW @3/8", "AdamW @1/10")
READOUTS = ("linear", *(protocol_name(k, temperature) for k in (10, 20, 200) for temperature in (None, 0.1)))
READINGS = ("as_written", "as_run", "fair")
Count = Annotated[int, Field(ge=0)]


def among(kind: str, names: list[str], choices: tuple[str, ...]) -> list[str]:
    for name in names:
        if name not in choices:
            raise unknown(kind, name, choices)
    return names


Backbones = Annotated[list[str], Field(min_length=1), AfterValidator(lambda names: among("backbone", names, BACKBONES))]
Readout = Annotated[str, AfterValidator(lambda name: among("readout", [name], READOUTS)[0])]


class ContestSettings(Section):
    """One variant of the study: the preset's values, with whatever the parameters cell or papermill put in their place."""

    scope: str  # embedded | reduced | paper
    dataset: str
    train_images: Positive | None = None
    test_images: Positive | None = None
    image_size: Positive | None = None
    epochs: Positive
    batch_size: Annotated[int, Field(ge=2)]
    temperature: Annotated[float, Field(gt=0)]
    backbones: Backbones = list(BACKBONES)
    optimizers: Annotated[list[str], Field(min_length=1)] = list(OPTIMIZERS)
    seeds: Positive  # of the RAdam column, which decides C1
    optimizer_seeds: Count  # of the other columns
    fairness_seeds: Count  # of SiT's three tasks on the ViT; the ResNet gets no more than optimizer_seeds
    sensitivity_seeds: Count  # of the sweep over wrong rates
    sensitivity_factors: list[Annotated[float, Field(gt=0)]] = [0.1, 1.0, 10.0]
    range_seeds: Positive
    range_steps: Annotated[int, Field(ge=10)]  # of each of the two sweeps
    default_rate: Annotated[float, Field(gt=0)] = 0.1  # where a range test has no minimum
    lamb_rate: Annotated[float, Field(gt=0)] = 0.0025
    lamb_weight_decay: Annotated[float, Field(ge=0)] = 1.5
    adamw_weight_decay: Annotated[float, Field(ge=0)] = 0.01
    probe_every: Count
    probe_bank: Positive | None = None
    map_images: Positive = 1000  # test images in the t-SNE maps
    encoders: dict[str, dict[str, Any]]  # backbone -> name, stem, options
    heads: dict[str, dict[str, Any]]  # backbone -> options of the projector
    readout: Readout = "linear"  # the protocol the claims are judged by
    headline: dict[str, Any] | None = None  # one longer run, beside its untrained encoder

    @field_validator("optimizers")
    @classmethod
    def _optimizers(cls, value):
        return among("optimizer", value, OPTIMIZERS)

    @field_validator("encoders", "heads")
    @classmethod
    def _per_backbone(cls, value):
        among("backbone", list(value), BACKBONES)
        return value

    @model_validator(mode="after")
    def _whole(self):
        for name, given in (("encoders", self.encoders), ("heads", self.heads)):
            absent = [backbone for backbone in self.backbones if backbone not in given]
            if absent:
                raise ValueError(f"{name} has no entry for {', '.join(absent)}: give one, or leave the backbone out of backbones")
        for backbone in self.backbones:
            encoder = Encoder(**self.encoders[backbone])
            if self.image_size is not None:
                resolve_stem(encoder.name, self.image_size, encoder.stem, encoder.options.get("patch"))
            MethodChoice(name="simclr", options=self.heads[backbone])
        return self
