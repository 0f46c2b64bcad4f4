"""What can be set in the study of lightweight architectures, and how its presets set it."""

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from helpers.study.config import Encoder, MethodChoice, Positive, Section, Training, Views
from helpers.study.contest_settings import among

TECHNIQUES = ("RotNet", "MoCo v2", "Split-Brain", "SimCLR", "BYOL")
NETS = ("EfficientNet-lite0", "MobileNetV2", "ResNet-18", "ShuffleNetV2", "SqueezeNet")
PLAIN = ("VGG-11",)  # without skip connections
READOUTS = ("linear", "finetune", "knn10")
READINGS = ("as_written", "cifar10")
Count = Annotated[int, Field(ge=0)]


class LightweightSettings(Section):
    """One variant of the study: the preset's values, with whatever the parameters cell or papermill put in their place."""

    scope: str  # embedded | reduced | paper
    dataset: str
    train_split: str = "train"  # of the pretext, whose labels are not looked at
    label_split: str | None = None  # of the labelled images downstream; None: the same images
    train_images: Positive | None = None
    test_images: Positive | None = None
    image_size: Positive | None = None
    epochs: Positive
    batch_size: Annotated[int, Field(ge=2)]
    techniques: Annotated[list[str], Field(min_length=1)] = list(TECHNIQUES)
    nets: Annotated[list[str], Field(min_length=1)] = list(NETS)
    plain_nets: list[str] = list(PLAIN)
    seeds: Positive
    plain_seeds: Count  # of the plain nets, which no claim is about
    checkpoint_every: Positive  # epochs between two downstream evaluations of the frozen encoder
    finetune_every: Positive | None = None  # epochs between two fine-tunings; None: the last epoch alone
    finetune_epochs: Count
    finetune_seeds: Count = 1  # of the seeds, those that are fine-tuned as well
    finetune_rate: Annotated[float, Field(gt=0)] = 1e-3
    map_images: Positive = 500  # test images in the t-SNE maps
    readout: str = "linear"  # the protocol the claims are judged by
    region: str | None = None  # whose electricity is used (ISO 3166-1 alpha-3); None: the paper's intensity
    carbon_intensity: Annotated[float, Field(gt=0)] | None = None  # kg CO2eq a kWh, in place of a region's
    encoders: dict[str, dict[str, Any]]  # net -> name, stem, options
    recipes: dict[str, dict[str, Any]]  # technique -> method, views, training
    rates: dict[str, Annotated[float, Field(gt=0)]] = {}  # net -> learning rate, for nets that need another than the recipes'

    @field_validator("techniques")
    @classmethod
    def _techniques(cls, value):
        return among("technique", value, TECHNIQUES)

    @field_validator("nets", "plain_nets")
    @classmethod
    def _nets(cls, value):
        return among("net", value, NETS + PLAIN)

    @field_validator("rates")
    @classmethod
    def _rates(cls, value):
        among("net", list(value), NETS + PLAIN)
        return value

    @field_validator("readout")
    @classmethod
    def _readout(cls, value):
        return among("readout", [value], READOUTS)[0]

    @model_validator(mode="after")
    def _whole(self):
        for name, given, asked in (("encoders", self.encoders, self.nets + self.plain_nets), ("recipes", self.recipes, self.techniques)):
            if absent := [each for each in asked if each not in given]:
                raise ValueError(f"{name} has no entry for {', '.join(absent)}: give one, or leave it out of the study")
        for net in self.nets + self.plain_nets:
            Encoder(**self.encoders[net])
        for technique in self.techniques:
            recipe = self.recipes[technique]
            for part in recipe:
                among("part of a recipe", [part], ("method", "views", "training"))
            MethodChoice(**recipe["method"]), Views(**recipe["views"]), Training(**recipe["training"])
        if self.readout == "finetune" and not (self.finetune_epochs and self.finetune_seeds):
            raise ValueError("readout = 'finetune' needs finetune_epochs and finetune_seeds of at least 1")
        return self
