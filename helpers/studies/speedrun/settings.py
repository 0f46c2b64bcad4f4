"""What can be set in the race to a kNN accuracy, and how its presets set it."""

from typing import Annotated, Any

from pydantic import Field

from helpers.core.sections import Positive
from helpers.studies.settings import StudySettings

READINGS = ("as_written",)
VARIANTS = ("cpu",)  # to be committed, the main one first
SHOWN = ("race_curves", "result")  # on the page of the study
PROTOCOL = "knn10"  # ten neighbours, cosine, unweighted: the published challenge's
RACED = "as raced"  # the candidate that changes nothing of the recipe


class Settings(StudySettings):
    target: Annotated[float, Field(gt=0, le=100)]  # percent of the test images, by PROTOCOL
    seeds: Positive
    recipe: dict[str, dict[str, Any]]  # encoder, views, method, training
    probe_every: Positive = 1
    validation: Positive  # training images that the candidates are read on
    trial_images: Positive | None = None  # training images of a candidate's trial, the held-out slice among them
    trial: dict[str, dict[str, Any]] = {}  # what shortens the recipe for a trial
    candidates: dict[str, dict[str, dict[str, Any]]] = {}  # name -> what it changes of the recipe


def merged(base: dict, changes: dict) -> dict:
    """The nested tables of `changes` laid over those of `base`."""
    both = {
        key: merged(base[key], value) if isinstance(base.get(key), dict) and isinstance(value, dict) else value
        for key, value in changes.items()
    }
    return base | both
