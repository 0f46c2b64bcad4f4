"""What can be set in the study of lightweight architectures, and how its presets set it."""

from typing import Any

from pydantic import field_validator, model_validator

from helpers.core.sections import Positive, one_of
from helpers.evaluation.finetune import RECIPES as FINETUNING
from helpers.runs.config import Encoder, MethodChoice, Training, Views
from helpers.studies.settings import Above, Batch, Count, StudySettings, among, covered, some_of

TECHNIQUES = ("RotNet", "MoCo v2", "Split-Brain", "SimCLR", "BYOL")
NETS = ("EfficientNet-lite0", "MobileNetV2", "ResNet-18", "ShuffleNetV2", "SqueezeNet")
PLAIN = ("VGG-11",)  # without skip connections
READINGS = ("as_written", "cifar10")
VARIANTS = ("cpu", "quick")  # to be committed, the main one first
SHOWN = ("grid", "grid_table", "cost_fronts")  # on the page of the study
ABOUT = "W8"  # the claim that it is about


class Settings(StudySettings):
    train_split: str = "train"  # of the pretext, whose labels are not looked at
    label_split: str | None = None  # of the labelled images downstream; None: the same images
    epochs: Positive
    batch_size: Batch
    techniques: some_of("technique", TECHNIQUES) = list(TECHNIQUES)
    nets: some_of("net", NETS + PLAIN) = list(NETS)
    plain_nets: some_of("net", NETS + PLAIN, fewest=0) = list(PLAIN)
    seeds: Positive
    plain_seeds: Count  # of the plain nets, which no claim is about
    checkpoint_every: Positive  # epochs between two downstream evaluations of the frozen encoder
    finetune_every: Positive | None = None  # epochs between two fine-tunings; None: the last epoch alone
    finetune_epochs: Count
    finetune_seeds: Count = 1  # of the seeds, those that are fine-tuned as well
    finetune_rate: Above = 1e-3
    finetune_recipe: one_of("recipe of fine-tuning", FINETUNING) = "plain"
    finetune_steps: Count = 0  # at least, however few labelled images there are
    map_images: Positive = 500  # test images in the t-SNE maps
    readout: one_of("readout", ("linear", "finetune", "knn10")) = "linear"  # the protocol the claims are judged by
    region: str | None = None  # whose electricity is used (ISO 3166-1 alpha-3); None: the paper's intensity
    carbon_intensity: Above | None = None  # kg CO2eq a kWh, in place of a region's
    encoders: dict[str, dict[str, Any]]  # net -> name, stem, options
    recipes: dict[str, dict[str, Any]]  # technique -> method, views, training
    rates: dict[str, Above] = {}  # net -> learning rate, for nets that need another than the recipes'

    @field_validator("rates")
    @classmethod
    def _rates(cls, value):
        among("net", list(value), NETS + PLAIN)
        return value

    @model_validator(mode="after")
    def _whole(self):
        covered("encoders", self.encoders, self.nets + self.plain_nets)
        covered("recipes", self.recipes, self.techniques)
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
