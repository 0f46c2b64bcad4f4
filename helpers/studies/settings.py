"""What the settings of every study have in common: whose images, at which scale, and names that are checked against what there is."""

from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, Field

from helpers.core.errors import unknown
from helpers.core.sections import Positive, Section, one_of
from helpers.evaluation.knn import protocol_name
from helpers.views import RECIPES

BACKBONES = ("ResNet", "ConvNeXt", "ViT")
READOUTS = ("linear", *(protocol_name(k, temperature) for k in (10, 20, 200) for temperature in (None, 0.1)))


def among(kind: str, names: list[str], choices) -> list[str]:
    for name in names:
        if name not in choices:
            raise unknown(kind, name, choices)
    return names


def covered(name: str, given: Iterable[str], asked: Iterable[str]) -> None:
    if absent := [each for each in asked if each not in given]:
        raise ValueError(f"{name} has no entry for {', '.join(absent)}: give one, or leave it out of the study")


def some_of(kind: str, choices, fewest: int = 1):
    """The type of a list of names, each of them known."""

    def checked(names: list[str]) -> list[str]:
        if len(names) < fewest:
            raise ValueError(f"name at least one {kind}; there are {', '.join(choices)}")
        return among(kind, names, choices)

    return Annotated[list[str], AfterValidator(checked)]


Count = Annotated[int, Field(ge=0)]
Batch = Annotated[int, Field(ge=2)]
Above = Annotated[float, Field(gt=0)]
Readout = one_of("readout", READOUTS)
ViewRecipe = one_of("view recipe", RECIPES)


class StudySettings(Section):
    """One variant of a study: the preset's values, with whatever the parameters cell or papermill put in their place."""

    scope: str  # embedded | reduced | paper
    dataset: str
    train_images: Positive | None = None
    test_images: Positive | None = None
    image_size: Positive | None = None
    decide: bool = False  # add seeds to what is undecided, where they tell most a minute, until it is decided, hopeless or out of time

    def prepared(self) -> "StudySettings":
        """The settings once what they name is there to be read; most need nothing."""
        return self

    def data(self) -> dict:
        """The data section of its runs."""
        return {name: getattr(self, name) for name in ("dataset", "train_images", "test_images", "image_size")}

    def images(self, all_of_them: str = "all images") -> str:
        """How many images of what, for a figure's title."""
        return f"{self.dataset}, {all_of_them if self.train_images is None else f'{self.train_images:,} images'}"
