"""results/README.md, the page of all results, and the README's own two generated blocks."""

from pathlib import Path

import pandas as pd

from helpers import studies
from helpers.core.files import results_dir
from helpers.judging import competence
from helpers.pages import coverage_page, ledger, methods_page, speed, study_page
from helpers.pages.blocks import cost, entry, missing, state, variants
from helpers.report import marks
from helpers.report.report import markdown

FIRST = ("label_efficiency", "fractions")  # the figure of the README

VERDICTS = f"""\
A claim is *supported* when its whole 95 % interval lies beyond the margin, *contradicted* when it lies on the other side, and otherwise
*undecided*, with the reason. Of several comparisons all must support a claim, and any may contradict it, at a level that they share. What
has not learned is not judged: each side of a comparison of trained nets must be clear of {competence.MARGIN:g} points above its own
untrained net, must not have fallen from its own best, and its embedding must use more directions than a floor that grows with its width;
else the claim is undecided and names it, unless failing is what it is about. Figures mark such runs with {marks.UNLEARNED}, tables in
words. A fall is seen only where a run was read on the way, and directions only of runs that recorded them: those that did not are in
doubt. Where a difference was read on the way, it stands there at a quarter, a half and all of the training. Where seeds are added until a
claim is decided, each look has its own level, which then stands beside the interval; what was decided stands, unless further seeds show
that what it compares has not learned. Fewer than three seeds never decide, nor does a part of the runs that were asked for. A verdict holds
for its scope only: *embedded* (drawn images), *reduced* (real images, cut down) or *paper* (the paper's own sizes). Claims and margins
stand in the `claims.toml` of each study."""
PLACES = """\
Each variant's folder, `STUDY/VARIANT/` (the preset, with the reading behind it unless that is `as_written`), holds the executed
notebook, each table as `.csv` and `.md`, each figure as `.svg`, `index.json` with the runs behind each of them, and `claims.csv`. A run
is a folder in `runs/`: `record.json` (the config that was asked for, the manifest of what it resolved to, on which code, packages, data
and device, in what time and at what energy, and the evaluations), `metrics.csv` (a row an epoch) and `arrays.npz.xz` (what figures and
intervals are computed from; `numpy.load(lzma.open(...))` reads it). `sha256sum -c SHA256SUMS` in `runs/` checks them all."""
SPEED = """\
Source images a second of whole training steps at default settings, all competitors in turns on the same machine. *Of the bound*: over
the bare step on views that lie ready, in the fastest setting found for that net. *Standard*: a `DataLoader` whose worker processes run
torchvision's transforms on single images, then fp32. *lightly*: its own transforms, head and loss, as its examples use them. *Plain*:
our code in fp32 without anything that makes it fast. On two cores the rivals' workers and their training step fight for the cores, so
their figures spread widely between rounds (each case's page shows it): *plain*, which has no workers, is the steadier yardstick."""


def page() -> str:
    parts = [
        "# Results",
        "Written by `make claims` from what lies here. `make verify` computes all of it anew from the records and names any difference.",
        table_of_studies(""),
        f"## The executed notebooks\n\n{notebooks()}",
        f"## The ledger\n\n{ledger.summary()}\n\n{VERDICTS}\n\n{coverage_page.sentence()}",
        f"## Speed\n\n{SPEED}\n\n{speed.speed()}",
        f"## On a GPU\n\n{speed.gpu_day()}",
        f"## The methods\n\n{methods_page.block()}",
        f"## What lies where\n\n{PLACES}",
    ]
    return "\n\n".join(parts) + "\n"


def table_of_studies(place: str = "results/") -> str:
    """Every study with its answer in one sentence; `place` leads to the results."""
    rows = [
        {"study": f"[{study_page.opening(name)[0]}]({place}{name}/README.md)", "answer": study_page.answer(name)}
        for name in studies.names()
    ]
    return markdown(pd.DataFrame(rows))


def main_figure() -> str:
    study, name = FIRST
    folder = results_dir() / study / study_page.main_variant(study)
    if not (folder / f"{name}.svg").is_file():
        return missing(study, folder.name)
    return f"![{entry(folder, name)['alt']}](results/{study}/{folder.name}/{name}.svg)"


def notebooks() -> str:
    rows = []
    for folder in variants():
        book = folder / f"{folder.parent.name}.ipynb"
        if book.is_file():
            here = f"{folder.parent.name}/{folder.name}"
            rows.append(
                {
                    "study": f"[{folder.parent.name}]({folder.parent.name}/README.md)",
                    "variant": folder.name,
                    "state": state(book),
                    **cost(folder / "cost.csv"),
                    "read": f"[notebook]({here}/{book.name}), [tables and figures]({here})",
                }
            )
    return markdown(pd.DataFrame(rows)) if rows else "*No executed notebook yet.*"


def pages() -> dict[Path, str]:
    """results/README.md and the page of each study."""
    own = {results_dir() / name / "README.md": study_page.page(name) for name in studies.names() if (results_dir() / name).is_dir()}
    return {results_dir() / "README.md": page()} | own


BLOCKS = {"studies": table_of_studies, "main-figure": main_figure}
