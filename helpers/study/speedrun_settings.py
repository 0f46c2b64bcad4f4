"""What can be set in the race to a kNN accuracy, and the configs its presets come to."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from helpers.core.errors import pick
from helpers.study.config import Positive, RunConfig, Section

READINGS = ("as_written",)
PROTOCOL = "knn10"  # ten neighbours, cosine, unweighted: the published challenge's
RACED = "as raced"  # the candidate that changes nothing of the recipe


class SpeedrunSettings(Section):
    """One variant of the race: the preset's values, with whatever the parameters cell or papermill put in their place."""

    scope: str  # embedded | reduced | paper
    dataset: str
    train_images: Positive | None = None
    test_images: Positive | None = None
    target: Annotated[float, Field(gt=0, le=100)]  # percent of the test images, by PROTOCOL
    seeds: Positive
    recipe: dict[str, dict[str, Any]]  # encoder, views, method, training
    probe_every: Positive = 1
    validation: Positive  # training images that the candidates are read on
    trial_images: Positive | None = None  # training images of a candidate's trial, the held-out slice among them
    trial: dict[str, dict[str, Any]] = {}  # what shortens the recipe for a trial
    candidates: dict[str, dict[str, dict[str, Any]]] = {}  # name -> what it changes of the recipe

    @model_validator(mode="after")
    def _possible(self):
        race_config(self, seed=0)
        for name in self.candidates:
            trial_config(self, name)
        return self


def race_config(s: SpeedrunSettings, seed: int) -> RunConfig:
    """A raced run: all of train, read on test."""
    data = {"dataset": s.dataset, "train_images": s.train_images, "test_images": s.test_images}
    return RunConfig(data=data, evaluation={"probe": PROTOCOL, "probe_every": s.probe_every, "maps": None}, seed=seed, **s.recipe)


def trial_config(s: SpeedrunSettings, name: str) -> RunConfig:
    """A candidate's short run: trained without a slice of train and read on that slice. The test set is not looked at."""
    changes = {} if name == RACED else pick("candidate", name, s.candidates)
    data = {"dataset": s.dataset, "train_images": s.trial_images or s.train_images, "validation": s.validation}
    return RunConfig(data=data, evaluation={"probe_every": 0, "maps": None}, **merged(merged(s.recipe, s.trial), changes))


def merged(base: dict, changes: dict) -> dict:
    """The nested tables of `changes` laid over those of `base`."""
    both = {
        key: merged(base[key], value) if isinstance(base.get(key), dict) and isinstance(value, dict) else value
        for key, value in changes.items()
    }
    return base | both
