"""Compute everything committed in results/ and the README anew from the records, and name what differs: python -m helpers.commands.verify.

Needs neither data nor a GPU. Not compared: PNG files and executed notebooks, which hold the same tables and figures once more, and
results/bench/, which is measured and not drawn from records.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from helpers.commands import readme
from helpers.core.errors import answered
from helpers.core.files import REPOSITORY, read_json, results_dir, write_json
from helpers.gpu_day import page as gpu_day_page
from helpers.pages.blocks import command, read_table, variants, with_parameter
from helpers.pages.redraw import Redrawn, away_from_data, in_turns, redraw
from helpers.report import compare
from helpers.runs.records import runs_dir
from helpers.runs.seals import broken, folders, sealed_in

SHOWN = 12  # differences of one file that are told one by one
COMPARED: dict[str, Callable] = {".csv": compare.of_csv, ".md": compare.of_text, ".svg": compare.of_figure}


@dataclass
class Findings:
    problems: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, differences: list) -> None:
        self.problems += [f"{name}: {difference}" for difference in differences[:SHOWN]]
        if len(differences) > SHOWN:
            self.problems.append(f"{name}: and {len(differences) - SHOWN} more differences")

    def count(self, kind: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1


@answered
def main(arguments: list[str] | None = None, notebooks: Path = REPOSITORY / "notebooks", page: Path = REPOSITORY / "README.md") -> int:
    """The exit code: 0 everything is what the records give, 1 something is not, 2 something cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m helpers.commands.verify", description="Check the results against the records.")
    parser.parse_args(arguments)
    started = time.monotonic()
    found = verify(notebooks, page)
    for text in found.left_out:
        print(f"Not checked: {text}")
    for text in found.problems:
        print(f"Differs: {text}", file=sys.stderr)
    for text in found.advice:
        print(text, file=sys.stderr)
    checked = ", ".join(f"{count} {kind}" for kind, count in found.counts.items())
    state = f"{len(found.problems)} differences" if found.problems else "Everything is what the records give"
    print(f"{state} ({checked}; {time.monotonic() - started:.0f} s).")
    return 1 if found.problems else 0


def verify(notebooks: Path, page: Path) -> Findings:
    found, here = Findings(), results_dir()
    check_records(found)
    with tempfile.TemporaryDirectory(prefix="verify-") as place:
        fresh = Path(place)
        _link_records(runs_dir(), fresh / "runs")
        _link_measured(fresh)
        done = in_turns(redraw, variants(), notebooks, fresh)
        for each in done:
            found.count("variants")
            check_variant(here / each.study / each.variant, fresh / each.study / each.variant, each, found)
        _fill(here, fresh)
        check_pages(page, fresh, found)
        check_days(found)
    return found


def check_days(found: Findings) -> None:
    """The page of each day on a GPU beside what its folder's files give."""
    for folder in gpu_day_page.days():
        found.count("generated pages")
        path = folder / gpu_day_page.REPORT
        written = path.read_text(encoding="utf-8") if path.is_file() else ""
        found.add(f"results/gpu_day/{folder.name}/{path.name}", compare.of_text(written, gpu_day_page.page(folder)))


def check_records(found: Findings) -> None:
    """Every record as it was sealed, and a record for every run that a table or figure names."""
    ids = {folder.name for folder in folders(runs_dir())}
    found.counts["records"] = len(ids)
    found.problems += broken(runs_dir())
    sealed = sealed_in(runs_dir())
    for folder in variants():
        index = read_json(folder / "index.json") if (folder / "index.json").is_file() else []
        wanted = list(dict.fromkeys(run for entry in index if entry["name"] not in ("cost", "verdicts") for run in entry["runs"]))
        missing = [run for run in wanted if run not in ids | _not_yet(folder) and ("-range-" not in run or run in sealed)]
        found.problems += [f"results/runs/{run} is gone, and results/{_name(folder)} rests on it" for run in missing]


def _not_yet(folder: Path) -> set[str]:
    """The runs that a variant's own cost table says it lacked when it was drawn."""
    if not (folder / "cost.csv").is_file():
        return set()
    costs = read_table(folder / "cost.csv", ("run", "seconds"))
    return set(costs.loc[costs["seconds"].isna(), "run"])


def check_variant(folder: Path, fresh: Path, done: Redrawn, found: Findings) -> None:
    """A variant's files beside those that its records gave."""
    name = f"results/{_name(folder)}"
    if done.problem:
        found.problems.append(f"{name} cannot be drawn from its records: {done.problem}")
        return
    found.left_out += [f"{name}, {figure}: {why}" for figure, why in done.skipped.items()]
    before = len(found.problems)
    written, given = ({path.name for path in place.iterdir() if path.suffix in COMPARED} for place in (folder, fresh))
    skipped = {f"{figure}{suffix}" for figure in done.skipped for suffix in COMPARED}
    for file in sorted(written | given - skipped):
        if file in skipped:
            continue
        if file not in given or file not in written:
            found.problems.append(f"{name}/{file}: " + ("no table or figure of its study any more" if file in written else "is not there"))
            continue
        found.count({".csv": "tables", ".md": "pages", ".svg": "figures"}[Path(file).suffix])
        texts = ((place / file).read_text(encoding="utf-8") for place in (folder, fresh))
        found.add(f"{name}/{file}", COMPARED[Path(file).suffix](*texts))
    if (folder / "index.json").is_file():
        found.add(f"{name}/index.json", compare.of_index(folder / "index.json", fresh / "index.json", list(done.skipped)))
    if len(found.problems) > before:
        line = with_parameter(command(folder.parent.name, folder.name), "-p train false")
        found.advice.append(f"If the records of {name} are as they should be and the code has changed, draw it again: `{line}`")


def check_pages(page: Path, fresh: Path, found: Findings) -> None:
    """README, ledger and the other pages beside what the redrawn results give."""
    with away_from_data(fresh):
        wanted = readme.pages(page)
    for path, text in wanted.items():
        written = path if path == page else results_dir() / path.relative_to(fresh)
        found.count("generated pages")
        name = path.name if path == page else f"results/{path.relative_to(fresh).as_posix()}"
        if not written.is_file():
            found.problems.append(f"{name}: is not there; `make claims` writes it")
        else:
            compared = compare.of_blocks if path == page else COMPARED[path.suffix]
            found.add(name, compared(written.read_text(encoding="utf-8"), text))


def _link_records(runs: Path, place: Path) -> None:
    """The records under another roof: a damaged one that reading sets aside stays where it is."""
    place.mkdir(parents=True)
    for folder in folders(runs):
        (place / folder.name).symlink_to(folder.resolve())


def _link_measured(fresh: Path) -> None:
    """What stands beside a study's variants and is drawn from as records are, such as what another library reached."""
    drawn = variants()
    for study in {folder.parent for folder in drawn}:
        for path in study.iterdir():
            if path.is_dir() and path not in drawn:
                place = fresh / _name(path)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(path.resolve())


def _fill(here: Path, fresh: Path) -> None:
    """What is not drawn from records, beside what was: the pages name it. Entries of what was left out come from the committed index."""
    for path in (path for path in here.iterdir() if path.name != "runs" and not (fresh / path.name).exists()):
        (fresh / path.name).symlink_to(path.resolve())
    for folder in variants():
        place = fresh / _name(folder)
        if not (place / "index.json").is_file():  # it could not be drawn
            shutil.rmtree(place, ignore_errors=True)
            place.symlink_to(folder.resolve())
            continue
        for path in folder.iterdir():
            if path.is_file() and not (place / path.name).exists():
                (place / path.name).symlink_to(path.resolve())
        names = {entry["name"] for entry in read_json(place / "index.json")}
        more = (
            [entry for entry in read_json(folder / "index.json") if entry["name"] not in names] if (folder / "index.json").is_file() else []
        )
        write_json(place / "index.json", read_json(place / "index.json") + more)


def _name(folder: Path) -> str:
    return f"{folder.parent.name}/{folder.name}"


if __name__ == "__main__":
    sys.exit(main())
