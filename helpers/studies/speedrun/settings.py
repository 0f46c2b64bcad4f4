"""What can be set in the race to a kNN accuracy, and how its presets set it."""

from typing import Annotated, Any

from pydantic import Field, field_validator

from helpers.core.errors import UserError
from helpers.core.sections import Positive
from helpers.runs.recipes import recipe
from helpers.studies.settings import Above, StudySettings

READINGS = ("as_written",)
VARIANTS = ("cpu60", "cpu15", "cpu", "cpu1")  # to be committed, the main one first
FRONTIER = ("cpu1", "cpu", "cpu15", "cpu60")  # the same race in more and more time
SHOWN = ("frontier_curves", "frontier")  # on the page of the study
PROTOCOL = "knn10"  # ten neighbours, cosine, unweighted: the published challenge's
RACED = "as raced"  # the candidate that changes nothing of the recipe

Share = Annotated[float, Field(gt=0, le=1)]


class Settings(StudySettings):
    target: Annotated[float, Field(gt=0, le=100)]  # percent of the test images, by PROTOCOL
    minutes: Above | None = None  # of wall time that the recipe is meant to take, from the start of the process to its last reading
    seeds: Positive
    recipe: dict[str, dict[str, Any]]  # encoder, views, method, training; `like` names a recipe that these are laid over
    probe_every: Positive = 1
    validation: Positive  # training images that the candidates are read on
    trial_images: Positive | None = None  # training images of a candidate's trial, the held-out slice among them
    trial: dict[str, dict[str, Any]] = {}  # what is different in trials
    rungs: list[Share] = []  # lengths of a candidate's trials as shares of its epochs: after each, some go on to the next
    keep: Share = 0.5  # share of the candidates that do
    candidates: dict[str, dict[str, dict[str, Any]]] = {}  # name -> what it changes of the recipe

    @field_validator("recipe", mode="before")
    @classmethod
    def _named(cls, value):
        if not isinstance(value, dict) or "like" not in value:
            return value
        return recipe(value["like"], **{section: changes for section, changes in value.items() if section != "like"})

    @field_validator("rungs")
    @classmethod
    def _rising(cls, value):
        if value != sorted(set(value)):
            raise UserError(f"rungs = {value}: name the lengths from the shortest to the longest, each once.")
        return value
