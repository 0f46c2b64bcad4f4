"""The runs of the race: candidates that are tried on a slice of train, and the recipe raced on all of it."""

from helpers.core.errors import pick
from helpers.runs import records
from helpers.runs.config import RunConfig
from helpers.runs.plan import Cell
from helpers.runs.recipes import merged
from helpers.runs.sweep import Outcome, sweep
from helpers.studies.speedrun.race import race as race  # these runs are raced, each in a process of its own, and in no campaign
from helpers.studies.speedrun.settings import PROTOCOL, RACED, Settings


def cells(s: Settings) -> list[Cell]:
    return trials(s) + races(s)


def trials(s: Settings) -> list[Cell]:
    """The trials of the first rung, and of each further one whose candidates are known: those that did best in the one before."""
    names, found = [RACED, *s.candidates], []
    for rung in range(len(s.rungs)):
        tried = {name: trial_config(s, name, rung) for name in names}
        found += [Cell(config, _place(s, "trial", name) | {"rung": rung}) for name, config in tried.items()]
        accuracy = {name: _accuracy(config) for name, config in tried.items()} if rung + 1 < len(s.rungs) else {}
        if not accuracy or None in accuracy.values():
            break
        names = survivors(accuracy, s.keep)
    return found


def survivors(accuracy: dict[str, float], keep: float) -> list[str]:
    """The better ones of the candidates, and the recipe that is raced in any case, in the order they came in."""
    best = sorted(accuracy, key=accuracy.get, reverse=True)[: max(1, round(keep * len(accuracy)))]
    return [name for name in accuracy if name in best or name == RACED]


def search(s: Settings, **how) -> tuple[list[Cell], Outcome]:
    """The trials of all rungs, trained where they are missing; `how` is sweep's."""
    for _ in range(max(1, len(s.rungs))):
        outcome = sweep([cell.config for cell in trials(s)], **how, references=False)
    return trials(s), outcome


def races(s: Settings) -> list[Cell]:
    return [Cell(race_config(s, seed), _place(s, "race", RACED)) for seed in range(s.seeds)]


def _place(s: Settings, part: str, recipe: str) -> dict:
    return {"part": part, "backbone": s.recipe["encoder"]["name"], "recipe": recipe}


def race_config(s: Settings, seed: int) -> RunConfig:
    """A raced run: all of train, read on test."""
    data = {"dataset": s.dataset, "train_images": s.train_images, "test_images": s.test_images}
    return RunConfig(
        data=data, evaluation={"probe": PROTOCOL, "probe_every": s.probe_every, "maps": None, "cka": False}, seed=seed, **s.recipe
    )


def trial_config(s: Settings, name: str, rung: int = 0) -> RunConfig:
    """A candidate's short run: trained without a slice of train and read on that slice. The test set is not looked at."""
    changes = {} if name == RACED else pick("candidate", name, s.candidates)
    data = {"dataset": s.dataset, "train_images": s.trial_images or s.train_images, "validation": s.validation}
    kept = {
        section: values for section, values in s.recipe.items() if "name" not in changes.get(section, {})
    }  # another method: its own options
    sections = merged(merged(kept, changes), s.trial)
    epochs = max(1, round(s.rungs[rung] * sections["training"]["epochs"]))
    sections = merged(sections, {"training": {"epochs": epochs}})
    return RunConfig(data=data, evaluation={"probe_every": 0, "maps": None, "cka": False}, **sections)


def _accuracy(config: RunConfig) -> float | None:
    """What a candidate reached on the held-out slice, where it has been tried."""
    record = records.find(config.id)
    return record.evaluations[PROTOCOL]["top1"] if record and PROTOCOL in record.evaluations else None  # one that diverged has no reading
