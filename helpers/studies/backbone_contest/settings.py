"""What can be set in the backbone contest, and how its presets set it."""

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from helpers.core.sections import Positive, one_of
from helpers.models import resolve_stem
from helpers.runs.config import Encoder, MethodChoice
from helpers.studies.settings import BACKBONES, Above, Batch, Count, Readout, StudySettings, among, covered, some_of

OPTIMIZERS = ("LAMB", "RAdam @3/8", "AdamW @3/8", "AdamW @1/10")
REFERENCE = "RAdam @3/8"  # the column that decides
ALONE, TRIPLE = "contrast", "contrast + rotation + inpainting"
RELEASED = f"{TRIPLE} (as released)"  # the same three in the form of the authors' later code (helpers.methods.sit)
READINGS = ("as_written", "fair", "as_run")
VARIANTS = ("cpu", "cpu-fair", "quick", "quick-fair", "quick-as_run")  # to be committed, the main one first
SHOWN = ("accuracy_by_backbone", "optimizers", "headline")  # on the page of the study
ABOUT = "C1"  # the claim that it is about


class Settings(StudySettings):
    epochs: Positive
    batch_size: Batch
    temperature: Above
    backbones: some_of("backbone", BACKBONES) = list(BACKBONES)
    optimizers: some_of("optimizer", OPTIMIZERS) = list(OPTIMIZERS)
    seeds: Positive  # of the RAdam column, which decides C1
    optimizer_seeds: Count  # of the other columns
    fairness_seeds: Count  # of SiT's three tasks on the ViT; the ResNet gets no more than optimizer_seeds
    released_seeds: Count = 0  # of the three tasks on the ViT in the form that SiT's authors released
    sensitivity_seeds: Count  # of the sweep over wrong rates
    sensitive: one_of("backbone", BACKBONES) = "ResNet"  # the backbone that is trained at them
    sensitivity_factors: list[Above] = [0.1, 1.0, 10.0]
    range_seeds: Positive
    range_steps: Annotated[int, Field(ge=10)]  # of each of the two sweeps
    default_rate: Above = 0.1  # where a range test has no minimum
    lamb_rate: Above = 0.0025
    lamb_weight_decay: Annotated[float, Field(ge=0)] = 1.5
    adamw_weight_decay: Annotated[float, Field(ge=0)] = 0.01
    probe_every: Count
    probe_bank: Positive | None = None
    read_every: Positive | None = None  # epochs between two readings on the way: does the order hold as training goes on?
    map_images: Positive = 1000  # test images in the t-SNE maps
    features: one_of("share of runs", ("compared", "all")) = "compared"  # which runs keep the features that CKA compares
    encoders: dict[str, dict[str, Any]]  # backbone -> name, stem, options
    heads: dict[str, dict[str, Any]]  # backbone -> options of the projector
    readout: Readout = "linear"  # the protocol the claims are judged by
    headline: dict[str, Any] | None = None  # one longer run, beside its untrained encoder

    @field_validator("encoders", "heads")
    @classmethod
    def _per_backbone(cls, value):
        among("backbone", list(value), BACKBONES)
        return value

    @model_validator(mode="after")
    def _whole(self):
        covered("encoders", self.encoders, self.backbones)
        covered("heads", self.heads, self.backbones)
        for backbone in self.backbones:
            encoder = Encoder(**self.encoders[backbone])
            if self.image_size is not None:
                resolve_stem(encoder.name, self.image_size, encoder.stem, encoder.options.get("patch"))
            MethodChoice(name="simclr", options=self.heads[backbone])
        return self
