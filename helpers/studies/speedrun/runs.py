"""The runs of the race: candidates that are tried on a slice of train, and the recipe raced on all of it."""

from helpers.core.errors import pick
from helpers.runs.config import RunConfig
from helpers.runs.plan import Cell
from helpers.studies.speedrun.race import race as race  # these runs are raced, each in a process of its own, and in no campaign
from helpers.studies.speedrun.settings import PROTOCOL, RACED, Settings, merged


def cells(s: Settings) -> list[Cell]:
    return trials(s) + races(s)


def trials(s: Settings) -> list[Cell]:
    return [Cell(trial_config(s, name), _place(s, "trial", name)) for name in [RACED, *s.candidates]]


def races(s: Settings) -> list[Cell]:
    return [Cell(race_config(s, seed), _place(s, "race", RACED)) for seed in range(s.seeds)]


def _place(s: Settings, part: str, recipe: str) -> dict:
    return {"part": part, "backbone": s.recipe["encoder"]["name"], "recipe": recipe}


def race_config(s: Settings, seed: int) -> RunConfig:
    """A raced run: all of train, read on test."""
    data = {"dataset": s.dataset, "train_images": s.train_images, "test_images": s.test_images}
    return RunConfig(data=data, evaluation={"probe": PROTOCOL, "probe_every": s.probe_every, "maps": None}, seed=seed, **s.recipe)


def trial_config(s: Settings, name: str) -> RunConfig:
    """A candidate's short run: trained without a slice of train and read on that slice. The test set is not looked at."""
    changes = {} if name == RACED else pick("candidate", name, s.candidates)
    data = {"dataset": s.dataset, "train_images": s.trial_images or s.train_images, "validation": s.validation}
    return RunConfig(data=data, evaluation={"probe_every": 0, "maps": None}, **merged(merged(s.recipe, s.trial), changes))
