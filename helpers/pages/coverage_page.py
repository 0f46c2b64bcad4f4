"""The page of how often intervals and verdicts are right on drawn scores, results/judging/coverage.md, and its sentence on the results' page."""

from pathlib import Path

import pandas as pd

from helpers.core.files import results_dir
from helpers.judging.looks import MOST, alpha
from helpers.pages.blocks import read_table
from helpers.report.report import markdown

TABLES = ("intervals", "campaigns", "bounds")
ABOUT = """\
Written by `make coverage`; nothing here comes from a run. Two nets of {right} % accuracy are drawn on {images:,} test images, in so many
seeds. The seeds' deviation is none, or 0.3, 1 or 3 times that of one seed's accuracy by its images alone; an image is *alike* in every
seed (a correlation of 0.6 before the threshold) or drawn *anew*. Every figure has a Monte Carlo error, in the last column, for a true 95 %."""
INTERVALS = """\
How often the 95 % interval of the difference holds the truth, its mean width in points, how often the one at 99 % does, and the same of
the widened bootstrap that stood here before, which counted the images' noise twice. How much of the variance is the seeds' must be
guessed from the seeds: beyond 95 % the guess is made on the safe side, so that few seeds miss less than said."""
CAMPAIGNS = """\
Whole campaigns, from scores over estimates to the judge: {first} seeds, and one more after each look without a verdict, up to {most}.
*Wrong* is any verdict where the truth lies on the margin, else the opposite one. *Hopeless*: after the look from which no later one had a
chance of a tenth; the campaigns were continued all the same, to see what giving up would have lost."""
BOUNDS = """\
The level of each look, by the number of seeds: {levels}. Beside it a t mixture, valid for any number of looks, on the same t statistics:
how many campaigns end at the first look, how many ever, and with how many seeds on average. The levels spent by seeds decide sooner."""


def folder() -> Path:
    return results_dir() / "judging"


def page(tables: dict[str, pd.DataFrame]) -> str:
    from helpers.judging.coverage import BEGINS, IMAGES, RIGHT

    levels = ", ".join(f"{n}: {100 * alpha(BEGINS, n):.2f} %" for n in range(BEGINS, MOST + 1))
    parts = ["# What intervals and verdicts are worth"]
    parts.append(ABOUT.format(right=" and ".join(f"{100 * each:g}" for each in RIGHT), images=IMAGES))
    for name, title, text in (
        ("intervals", "Intervals", INTERVALS),
        ("campaigns", "Campaigns that look again", CAMPAIGNS.format(first=BEGINS, most=MOST)),
        ("bounds", "Levels of the looks", BOUNDS.format(levels=levels)),
    ):
        parts += [f"## {title}", text, markdown(tables[name])]
    return "\n\n".join(parts) + "\n"


def csv_text(table: pd.DataFrame) -> str:
    return table.round(3).to_csv(index=False, lineterminator="\n")


def files(tables: dict[str, pd.DataFrame]) -> dict[Path, str]:
    """What `make coverage` writes."""
    names = {"intervals": "coverage.csv", "campaigns": "campaigns.csv", "bounds": "bounds.csv"}
    return {folder() / names[name]: csv_text(tables[name]) for name in TABLES} | {folder() / "coverage.md": page(tables)}


def sentence() -> str:
    """For the page of all results, from the tables as they lie there."""
    if not (folder() / "coverage.csv").is_file():
        return "*How often the intervals are right was not simulated yet: `make coverage`*"
    held, ended = read_table(folder() / "coverage.csv"), read_table(folder() / "campaigns.csv")
    on_margin = ended.loc[ended["deviations away"] == 0, "wrong (%)"]
    return (
        f"On drawn scores whose truth is known the intervals hold it in {held['covers (%)'].min():.1f} to {held['covers (%)'].max():.1f} % "
        f"({len(held)} cases, each ± {held['± (%)'].max():.1f}; the former ones up to {held['before (%)'].max():.1f} %); of campaigns that "
        f"add seeds until they decide, at most {on_margin.max():.1f} % decide what lies on the margin: [how](judging/coverage.md)."
    )
