"""The grid of augmentations: a run a cell of two steps, and beside it the ablations of the full recipe."""

from dataclasses import asdict, dataclass
from itertools import product
from math import sqrt
from typing import Any

from helpers.core.errors import UserError, pick
from helpers.methods import method_options
from helpers.runs.config import RangeTest, RunConfig
from helpers.runs.plan import Cell
from helpers.studies.augmentation_grid.settings import COLOUR, GRID, LEFT_OUT, OPERATIONS, READ, TELLING, Settings
from helpers.views import RECIPES


@dataclass(frozen=True)
class Place:
    """One cell of the grid (first, second; the same twice on the diagonal) or one value of an ablation, with its seed."""

    part: str  # grid, or the ablation's name
    first: str = ""
    second: str = ""
    value: Any = None
    seed: int = 0


def _named(place: Place) -> str:
    return f"{place.first} then {place.second}" if place.part == "grid" else f"ablation {place.part} = {place.value!r}"


def cells(s: Settings) -> list[Cell]:
    """Every strength and value is checked here, before anything is trained."""
    found = []
    for place in places(s):
        asked = s.part in (None, "grid" if place.part == "grid" else "ablations")
        try:
            found.append(Cell(config_of(s, place), asdict(place), asked))
        except UserError as error:
            raise UserError(f"{_named(place)}: {error}") from error
    if not any(cell.asked for cell in found):
        raise UserError("There is nothing to train: part = 'ablations', and the preset has no ablations.")
    return found


def places(s: Settings) -> list[Place]:
    """Every run, the most telling first: crop and colour, their rows and columns, the rest, more seeds, the ablations."""
    pairs = sorted(product(s.operations, s.operations), key=lambda pair: sum(name not in TELLING for name in pair))
    places = [Place("grid", *pair) for pair in pairs]
    again = pairs if s.repeated is None else [(cell[0], cell[-1]) for cell in s.repeated if {*cell} <= {*s.operations}]
    places += [Place("grid", *pair, seed=seed) for seed in range(1, s.repeated_seeds) for pair in again]
    seeds = max(s.ablation_seeds.values(), default=1)
    places += [
        Place(name, value=value, seed=seed)
        for seed in range(seeds)
        for name, values in s.ablations.items()
        for value in values
        if seed < s.ablation_seeds.get(name, 1)
    ]
    return places


def config_of(s: Settings, place: Place) -> RunConfig:
    changes = _cell(s, place) if place.part == "grid" else pick("ablation", place.part, CHANGES)(s, place.value)
    return RunConfig(
        data=s.data(),
        encoder=s.encoder,
        views=changes.get("views", {"recipe": s.full}),
        method={"name": s.method.name, "options": s.method.options | changes.get("method", {})},
        training=s.training.model_dump() | changes.get("training", {}),
        # All cells of a seed begin from the same weights: one run tells what they are worth before training.
        evaluation=READ | ({"untrained": True} if (place.first, place.second) == TELLING else {}),
        seed=place.seed,
    )


def _cell(s: Settings, place: Place) -> dict:
    steps = [place.first] if place.first == place.second else [place.first, place.second]
    order = [pick("operation", name, OPERATIONS) for name in steps]
    return {"views": {"recipe": GRID, "options": s.strengths | {"order": order}}}


def _batch(s: Settings, value: int) -> dict:
    """The rate grows with the square root of the batch, as SimCLR has it for small ones; epochs stay, so steps are fewer."""
    t, scaled = s.training, {}
    if not isinstance(t.rate, RangeTest):
        scaled = {"rate": float(f"{t.rate * sqrt(value / t.batch_size):.4g}")}
    return {"training": {"batch_size": value} | scaled}


def _option(s: Settings, name: str, value) -> dict:
    """Nothing where the method has that value already, so that the run is one with the unchanged one's."""
    default = pick(f"option of {s.method.name}", name, method_options(s.method.name)).default
    return {} if value == s.method.options.get(name, default) else {"method": {name: value}}


def _recipe(s: Settings, **options) -> dict:
    """The full recipe with these options; what it has already is no change, so that the run is one with the unchanged one's."""
    held = pick("view recipe", s.full, RECIPES)
    return {"views": {"recipe": s.full, "options": {name: value for name, value in options.items() if getattr(held, name) != value}}}


def _strength(s: Settings, value: float) -> dict:
    scaled = {name: float(f"{strength * value:.4g}") for name, strength in COLOUR.items()}
    return _recipe(s, **scaled) if value else _recipe(s, jitter=0.0)


CHANGES = {
    "batch size": _batch,
    "temperature": lambda s, value: _option(s, "temperature", value),
    "projector width": lambda s, value: _option(s, "hidden", value),
    "colour strength": _strength,
    "left out": lambda s, value: _recipe(s, **pick("part of the recipe", value, LEFT_OUT)),
    "views": lambda s, value: _recipe(s, count=value),
}
