"""What can be set in the study of label efficiency, and the run that each seed comes to."""

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from helpers.core.errors import UserError
from helpers.study.config import Encoder, LabelDraws, MethodChoice, Positive, RunConfig, Section, Training, Views
from helpers.study.labels import check
from helpers.study.material import material

READINGS = ("as_written", "patient")


class LabelEfficiencySettings(Section):
    """One variant of the study: the preset's values, with whatever the parameters cell or papermill put in their place."""

    scope: str  # embedded | reduced | paper
    dataset: str
    train_images: Positive | None = None
    test_images: Positive | None = None
    image_size: Positive | None = None
    fractions: Annotated[list[float], Field(min_length=1)] = [0.01, 0.05, 0.1, 0.25, 1.0]  # of each class's labels
    draws: Positive = 3  # of each fraction below one, for every run its own
    reference: float = 0.1  # the fraction that claims are about
    checkpoints: list[Positive] = []  # contrastive epochs after which the encoder is read out, besides none and all
    label_epochs: Positive = 20  # over the labelled images, from scratch as well as from SimCLR
    label_steps: Positive = 300  # at least
    label_batch_size: Positive = 128
    label_rate: Annotated[float, Field(gt=0)] = 1e-3
    label_weight_decay: Annotated[float, Field(ge=0)] = 1e-5
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
        config_of(self, 0)  # what cannot be run is said before anything is
        return self


def config_of(s: LabelEfficiencySettings, seed: int) -> RunConfig:
    """The one run of a seed: SimCLR, and everything that is read out before, on the way and after."""
    labels = LabelDraws(
        fractions=s.fractions,
        draws=s.draws,
        reference=s.reference,
        on_the_way=sorted(set(s.checkpoints)),
        epochs=s.label_epochs,
        steps=s.label_steps,
        batch_size=s.label_batch_size,
        rate=s.label_rate,
        weight_decay=s.label_weight_decay,
        pictures=seed == 0,
    )
    return RunConfig(
        data={"dataset": s.dataset, "train_images": s.train_images, "test_images": s.test_images, "image_size": s.image_size},
        encoder=s.encoder,
        views=s.views,
        method=s.method,
        training=s.training,
        evaluation={"probe_every": 0, "maps": None, "cka": False, "labels": labels},
        seed=seed,
    )


def checked(s: LabelEfficiencySettings) -> None:
    """Read the images and see that every fraction leaves each class a label, before anything is trained."""
    config = config_of(s, 0)
    images = material(config.data)
    check(config.evaluation.labels, images)
    if config.training.batch_size > len(images.train_indices):
        raise UserError(
            f"training.batch_size = {config.training.batch_size} is larger than the {len(images.train_indices)} training images. Lower it."
        )


def about(s: LabelEfficiencySettings) -> str:
    """What was trained on what, for every figure's title."""
    images = "all images" if s.train_images is None else f"{s.train_images:,} images"
    return f"{s.dataset}, {images}, {s.encoder.name}, {s.training.epochs} contrastive epochs; {s.scope}"
