"""Seeds where they tell most: a study adds seeds to the cells of undecided claims, the best chance of a verdict a minute first.

It begins with the seeds of its preset, judges, and goes on until every claim is decided, hopeless, or the time is up. Levels of the
intervals hold over all these looks (judging/looks.py). What was added is in the records: a study that is opened again finds it there.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from helpers.core.errors import UserError
from helpers.core.progress import line
from helpers.judging import looks
from helpers.judging.claims import SEEDS_NEEDED, Claim, Part, read_claims
from helpers.judging.evidence import position
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


def check(study: str, cells: Sequence[Cell]) -> None:
    """An error, before anything is trained, where there is nothing to decide, or too few seeds to begin with."""
    if study not in {claim.study for claim in read_claims().values()}:
        raise UserError(f"decide = true adds seeds to undecided claims, and {study} has none: leave it out.")
    counts: dict[str, set[int]] = {}
    for cell in cells:
        counts.setdefault(_without_seed(cell), set()).add(cell.config.seed)
    fewest = min(map(len, counts.values()), default=0)
    if max(map(len, counts.values()), default=0) < SEEDS_NEEDED:
        raise UserError(f"decide = true begins with {SEEDS_NEEDED} seeds, and here are {fewest}: raise the seeds, or leave decide out.")


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


def options(verdicts: pd.DataFrame, cells: Sequence[Cell]) -> tuple[list[Option], list[str]]:
    """What could be trained next, the best first; and what no seed can be added to, in words."""
    claims, by_run = read_claims(), {}
    for cell in cells:  # a run may fill several places
        by_run.setdefault(cell.config.id, []).append(cell)
    found, stuck = [], []
    for row in verdicts[verdicts["verdict"] == "undecided"].itertuples():
        claim = claims[row.claim]
        if claim.scope == "paper" and row.scope != "paper":
            continue
        for part in verdicts.attrs["parts"][claim.id]:
            option = _option(claim, part, by_run)
            if isinstance(option, Option):
                found.append(option)
            elif option:
                stuck.append(option)
    return sorted(found, key=lambda option: -option.worth), stuck


def _option(claim: Claim, part: Part, by_run: dict[str, list[Cell]]) -> Option | str | None:
    found = part.estimate
    if found is None or part.unfit or found.error is None or not SEEDS_NEEDED <= found.seeds < looks.MOST:
        return None  # no number of seeds makes it to be judged
    if position(claim.kind, claim.margin, found) == "supported" or looks.futile(claim.kind, claim.margin, found, SEEDS_NEEDED):
        return None
    last = list(_last([cell for run in part.runs for cell in by_run.get(run, ())]).values())
    if any(cell.config.seed != found.seeds - 1 for cell in last):
        return f"{claim.id} gets no seeds: what {part.name} compares has not run the same ones. Give its cells equally many."
    seconds = sum(records.find(run).manifest["seconds"] for run in {cell.config.id for cell in last})
    seeds = [min(found.seeds + ahead, looks.MOST) for ahead in AHEAD]
    chances = [
        looks.chance(claim.kind, claim.margin, found, n, looks.alpha(SEEDS_NEEDED, n)) / (n - found.seeds) for n in dict.fromkeys(seeds)
    ]
    return Option(claim.id, part.name, tuple(at_seed(cell, found.seeds) for cell in last), seconds, max(chances) / max(seconds, 1e-9))


def work(study, cells: pd.DataFrame, told: Callable[[list[Cell]], pd.DataFrame]) -> tuple[pd.DataFrame, list[Cell]]:
    """Add seeds until nothing is left that is worth one; (the rows, the cells that were added). `told` trains and gives all rows."""
    added: list[Cell] = []
    said: set[str] = set()
    if cells["record"].isna().any():
        line("Seeds are added once every run of the preset has its record.")
        return cells, added
    while True:
        found, stuck = options(study.verdicts(cells), [*study.grid, *added])
        for words in dict.fromkeys(stuck):
            if words not in said:
                line(words)
        said |= {*stuck}
        if not found:
            break
        best, left = found[0], study.time_left()
        if left is not None and best.seconds > left:
            line(
                f"The time budget is too small for one more seed of {best.claim} ({best.part}): it takes about {best.seconds / 60:.1f} minutes, "
                f"and {left / 60:.1f} are left. Give it more and run again; nothing is lost."
            )
            break
        line(f"{best.claim}: one more seed of {best.part}, about {best.seconds / 60:.1f} minutes")
        started = time.monotonic()
        added += best.cells
        cells = told(added)
        if cells["record"].isna().any():  # stopped, or failed: what has no record decides nothing
            return cells, added
        line(f"... took {(time.monotonic() - started) / 60:.1f} minutes")
    return cells, added


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
