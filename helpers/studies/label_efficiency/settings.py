"""What can be set in the study of label efficiency, and how its presets set it."""

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from helpers.core.sections import Positive, one_of
from helpers.evaluation.finetune import RECIPES as FINETUNING
from helpers.runs.config import Encoder, MethodChoice, Training, Views
from helpers.studies.settings import Above, StudySettings

READINGS = ("as_written", "patient")
VARIANTS = ("cpu", "quick", "quick-patient")  # to be committed, the main one first
SHOWN = ("fractions", "saved", "published")  # on the page of the study
ABOUT = "L1"  # the claim that it is about


class Settings(StudySettings):
    fractions: Annotated[list[float], Field(min_length=1)] = [0.01, 0.05, 0.1, 0.25, 1.0]  # of each class's labels
    draws: Positive = 3  # of each fraction below one, for every run its own
    reference: float = 0.1  # the fraction that claims are about
    checkpoints: list[Positive] = []  # contrastive epochs after which the encoder is read out, besides none and all
    label_epochs: Positive = 20  # over the labelled images, from scratch as well as from SimCLR
    label_steps: Positive = 300  # at least
    label_batch_size: Positive = 128
    label_rate: Above = 1e-3
    label_weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    label_recipe: one_of("recipe of fine-tuning", FINETUNING) = "plain"  # from scratch as well as from SimCLR
    seeds: Positive
    encoder: Encoder
    views: Views = Views(recipe="simclr_small")
    method: MethodChoice
    training: Training

    @field_validator("fractions")
    @classmethod
    def _shares(cls, value):
        for fraction in value:
            if not 0 < fraction <= 1:
                raise ValueError(f"{fraction:g} is no share of the labels: give numbers above 0 and up to 1, such as 0.1 for 10 %")
        return sorted(set(value))

    @model_validator(mode="after")
    def _possible(self):
        if self.reference not in self.fractions:
            raise ValueError(f"reference = {self.reference:g} is none of the fractions {self.fractions}: add it there")
        if late := [epoch for epoch in self.checkpoints if epoch >= self.training.epochs]:
            raise ValueError(
                f"checkpoints holds {late[0]}, and training.epochs is {self.training.epochs}: the last epoch is read out in any case"
            )
        return self


def about(s: Settings) -> str:
    """What was trained on what, for every figure's title."""
    return f"{s.images()}, {s.encoder.name}, {s.training.epochs} contrastive epochs; {s.scope}"
