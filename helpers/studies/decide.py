"""Seeds where they tell most: a study adds seeds to the cells of undecided claims, the best chance of a verdict a minute first.

It begins with the seeds of its preset, judges, and goes on until every claim is decided, hopeless, or the time is up. Levels of the
intervals hold over all these looks (judging/looks.py). What was added is in the records: a study that is opened again finds it there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from helpers.core.errors import UserError
from helpers.core.progress import line
from helpers.judging import looks
from helpers.judging.claims import SEEDS_NEEDED, Claim, Part, read_claims
from helpers.judging.evidence import leans_for, position, sharing
from helpers.runs import records
from helpers.runs.plan import Cell

AHEAD = (1, 2, 4)  # further seeds that are thought of at once: the next one alone may have no chance where the next two have


@dataclass(frozen=True)
class Option:
    """One more seed of everything a part of a claim compares."""

    claim: str
    part: str
    cells: tuple[Cell, ...]
    seconds: float
    worth: float  # chance of a verdict a second


def begun(study: str, cells: Sequence[Cell]) -> int:
    """With how many seeds claims are judged first; an error, before anything is trained, where there is nothing to decide, or too few
    seeds to begin with, or more than are ever looked at."""
    if study not in {claim.study for claim in read_claims().values()}:
        raise UserError(f"decide = true adds seeds to undecided claims, and {study} has none: leave it out.")
    seeds: dict[str, set[int]] = {}
    for cell in cells:
        seeds.setdefault(_without_seed(cell), set()).add(cell.config.seed)
    counts = {len(each) for each in seeds.values()}
    if max(counts, default=0) < SEEDS_NEEDED:
        few = max(counts, default=0)
        raise UserError(f"decide begins with {SEEDS_NEEDED} seeds, and here are {few}: raise the seeds, or set decide = false.")
    if max(counts) > looks.MOST:
        raise UserError(f"decide looks at no more than {looks.MOST} seeds, and here are {max(counts)}: lower them, or set decide = false.")
    return min(count for count in counts if count >= SEEDS_NEEDED)


def adopted(cells: Sequence[Cell]) -> list[Cell]:
    """The cells, and those at further seeds that were added before and have records."""
    found = list(cells)
    for cell in _last(cells).values():
        seed = cell.config.seed + 1
        while records.find((more := at_seed(cell, seed)).config.id) is not None:
            found.append(more)
            seed += 1
    return found


def at_seed(cell: Cell, seed: int) -> Cell:
    place = cell.place | ({"seed": seed} if "seed" in cell.place else {})
    return replace(cell, config=cell.config.model_copy(update={"seed": seed}), place=place)


def options(verdicts: pd.DataFrame, cells: Sequence[Cell], first: int) -> tuple[list[Option], list[str]]:
    """What could be trained next, the best first; and what no seed can be added to, in words."""
    claims, by_run = read_claims(), {}
    for cell in cells:  # a run may fill several places
        by_run.setdefault(cell.config.id, []).append(cell)
    found, stuck = [], []
    for row in verdicts[verdicts["verdict"] == "undecided"].itertuples():
        claim = claims[row.claim]
        if claim.scope == "paper" and row.scope != "paper" or (row.takes and pd.isna(row.needs)):
            continue  # no number of seeds decides it, and `takes` says what would
        parts = verdicts.attrs["parts"][claim.id]
        if any(part.lacking for part in parts):
            continue
        family = sum(part.estimate.rivals for part in parts if part.estimate)
        for part in parts:
            option = _option(claim, part, by_run, first, family)
            if isinstance(option, Option):
                found.append(option)
            elif option:
                stuck.append(option)
    return sorted(found, key=lambda option: -option.worth), stuck


def _option(claim: Claim, part: Part, by_run: dict[str, list[Cell]], first: int, family: int) -> Option | str | None:
    found = part.estimate
    if found is None or part.unfit or found.seeds >= looks.MOST:
        return None  # no number of seeds makes it to be judged
    if found.seeds < first:
        return f"{claim.id} gets no seeds: {part.name} has {found.seeds} of the {first} that this study begins with. Give it as many."
    if (
        found.error is None
        or position(claim.kind, claim.margin, found) == "supported"
        or looks.futile(claim.kind, claim.margin, found, first)
    ):
        return None
    last = list(_last([cell for run in part.runs for cell in by_run.get(run, ())]).values())
    if any(cell.config.seed != found.seeds - 1 for cell in last):
        return f"{claim.id} gets no seeds: what {part.name} compares has not run the same ones. Give its cells equally many."
    further = tuple(at_seed(cell, found.seeds) for cell in last)
    to_do = {cell.config.id for cell, more in zip(last, further, strict=True) if records.find(more.config.id) is None}
    seconds = sum(records.find(run).manifest["seconds"] for run in to_do)
    seeds = [min(found.seeds + ahead, looks.MOST) for ahead in AHEAD]
    count = 1 + found.spared if leans_for(claim.kind, claim.margin, found) else family
    share = sharing(found.level, count)
    chances = [
        looks.chance(claim.kind, claim.margin, found, n, looks.alpha(first, n) / share) / (n - found.seeds) for n in dict.fromkeys(seeds)
    ]
    return Option(claim.id, part.name, further, seconds, max(chances) / max(seconds, 1e-9))


def work(study, cells: pd.DataFrame, told: Callable[[list[Cell]], pd.DataFrame]) -> tuple[pd.DataFrame, list[Cell]]:
    """Add seeds until nothing is left that is worth one; (the rows, the cells that were added). `told` trains and gives all rows."""
    added: list[Cell] = []
    said: set[str] = set()
    if lacking := sum(records.find(cell.config.id) is None for cell in study.grid if cell.asked):
        line(f"Seeds are added once every run of the preset has its record: {lacking} lack theirs.")
        return cells, added
    while True:
        grid = [*study.grid, *added]
        found, stuck = options(study.verdicts(cells), grid, study.first)
        for words in dict.fromkeys(stuck):
            if words not in said:
                line(words)
        said |= {*stuck}
        left = study.time_left()
        best = next((option for option in found if left is None or option.seconds <= left), None)
        if best is None:
            if found:
                cheapest = min(found, key=lambda option: option.seconds)
                line(
                    f"The time budget is too small for one more seed of anything: {cheapest.claim} ({cheapest.part}) takes the least, about "
                    f"{cheapest.seconds / 60:.1f} minutes, and {left / 60:.1f} are left. Give it more and run again; nothing is lost."
                )
            return cells, added
        line(f"{best.claim}: one more seed of {best.part}, about {best.seconds / 60:.1f} minutes")
        there = {(cell.config.id, _without_seed(cell)) for cell in grid}
        added += [cell for cell in best.cells if (cell.config.id, _without_seed(cell)) not in there]
        cells = told(added)
        if lost := {cell.config.id for cell in best.cells if records.find(cell.config.id) is None}:  # stopped, or failed
            return cells[~cells["run"].isin(lost)], [cell for cell in added if cell.config.id not in lost]


def _without_seed(cell: Cell) -> str:
    place = {name: value for name, value in cell.place.items() if name != "seed"}
    return f"{sorted(place.items(), key=str)}"


def _last(cells: Sequence[Cell]) -> dict[str, Cell]:
    """The cell of the highest seed at each place."""
    found: dict[str, Cell] = {}
    for cell in cells:
        key = _without_seed(cell)
        if key not in found or cell.config.seed > found[key].config.seed:
            found[key] = cell
    return found
