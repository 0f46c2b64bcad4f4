"""Tables and figures of one variant of a study, written beside an index that names the runs behind each."""

from __future__ import annotations

import base64
import html
import io
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from helpers.core.errors import UserError, pick
from helpers.core.files import shown, write_json, write_text
from helpers.report.style import SETTINGS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISSING = "—"
DIGITS = re.compile(r"-?\d+\.\d{2,}")
FEW = 4000  # colours of a picture, with those at the edges of lines and letters, below which it holds no photograph
MARKS = 1000  # colours below which a transparent picture holds nothing but marks


_drawings_alone = False


@contextmanager
def drawings_alone() -> Iterator[None]:
    global _drawings_alone
    _drawings_alone = True
    try:
        yield
    finally:
        _drawings_alone = False


class Report:
    """A folder of tables (CSV, Markdown) and figures (SVG), with index.json.

    A figure is kept once, as a drawing: sharp at any size, its words are text, and its numbers can be compared one by one. A notebook
    carries its own picture of it. Within drawings_alone() nothing is made for notebooks: for comparing, not for looking."""

    def __init__(self, folder: Path):
        self.folder, self.pictures = Path(folder), not _drawings_alone
        self.entries: dict[str, dict] = {}
        self.displays: dict[str, object] = {}

    def table(self, name: str, frame: pd.DataFrame, caption: str, runs: Iterable[str] = ()):
        """Write a table and return what a notebook shows of it."""
        from IPython.display import HTML  # here, as a machine that only trains opens studies without Jupyter

        runs = self._admit(name, caption, runs)
        write_text(self.folder / f"{name}.csv", frame.to_csv(index=False, lineterminator="\n", float_format=as_printed))
        under = f"\n\nRuns: {', '.join(f'`{run}`' for run in runs)}" if runs else ""
        write_text(self.folder / f"{name}.md", f"**{caption}**\n\n{markdown(frame)}{under}\n")
        self._enter(name, {"kind": "table", "caption": caption, "files": [f"{name}.csv", f"{name}.md"], "runs": runs})
        self.displays[name] = HTML(_html(frame, caption, runs))
        return self.show(name)

    def figure(self, name: str, figure: Figure, alt: str, runs: Iterable[str] = ()):
        """Write a figure with its alt text inside and return what a notebook shows of it."""
        import matplotlib  # where something is drawn: a run's start does not wait for it
        from IPython.display import Image

        runs = self._admit(name, alt, runs)
        png, svg = io.BytesIO(), io.BytesIO()
        with matplotlib.rc_context(SETTINGS), warnings.catch_warnings():
            # A class may be named in letters that this machine's fonts lack: a box stands for them, the table beside names it.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            # Without dates and versions, the same figure gives the same file. The drawing comes first: a figure is laid out as it is
            # drawn, and a second time not quite as the first.
            figure.savefig(svg, format="svg", metadata={"Title": alt, "Date": None, "Creator": None})
            if self.pictures:
                figure.savefig(png, format="png", metadata={"Software": None})
        write_text(self.folder / f"{name}.svg", lean(svg.getvalue().decode()))
        self._enter(name, {"kind": "figure", "alt": alt, "files": [f"{name}.svg"], "runs": runs})
        if not self.pictures:
            return None
        self.displays[name] = Image(data=lighter(png.getvalue()), format="png", alt=alt, width=int(100 * figure.get_figwidth()))
        return self.show(name)

    def show(self, name: str):
        """A table or figure written before, for display in a notebook."""
        return pick("table or figure", name, self.displays)

    def files(self) -> list[str]:
        """Everything written, in order, as paths that may be printed."""
        names = [file for entry in self.entries.values() for file in entry["files"]]
        return [shown(self.folder / name) for name in [*names, "index.json"]] if names else []

    def _admit(self, name: str, words: str, runs: Iterable[str]) -> list[str]:
        if not re.fullmatch(r"[a-z0-9_]+", name):
            raise UserError(
                f"{name!r} cannot name a table or figure: use lower-case letters, digits and underscores, as in 'accuracy_by_backbone'."
            )
        if not words.strip():
            raise UserError(f"{name} needs words: a caption for a table, alt text for a figure.")
        if isinstance(runs, str):
            raise UserError(f"The runs of {name} must be a list of ids, not one string.")
        return list(dict.fromkeys(runs))

    def _enter(self, name: str, entry: dict) -> None:
        self.entries[name] = entry
        write_json(self.folder / "index.json", [{"name": each, **found} for each, found in self.entries.items()])


def lean(svg: str) -> str:
    """A drawing in fewer bytes: its title is all that it says of itself (index.json names its runs), places to a tenth of a point, the
    font named once, no indentation, pictures slimmed."""
    svg = re.sub(r' transform="rotate\(-?0 [^"]*"| id="[a-zA-Z0-9.]+_\d+"|<metadata>.*?</metadata>', "", svg, flags=re.DOTALL)
    svg = re.sub(r'(?<= style=")[^"]+', lambda found: re.sub(r"([:;]) ", r"\1", found[0]), svg)
    svg = re.sub(r"\n\s+", "\n", svg)
    svg = re.sub(
        r'(?<=[ \n][dxy]=")[^"]+', lambda path: DIGITS.sub(lambda found: f"{float(found[0]):.1f}".removesuffix(".0"), path[0]), svg
    )
    if families := re.findall(r"font-family:[^;\"]+", svg):  # formulas name the first of them alone
        svg = re.sub(r";?font-family:[^;\"]+", "", svg).replace("<svg ", f'<svg style="{max(families, key=len)}" ', 1)
    return re.sub(r"(?<=data:image/png;base64,)[A-Za-z0-9+/=\s]+", lambda found: slimmed(found[0]), svg)


def slimmed(encoded: str) -> str:
    """A picture inside a drawing: without the transparency that it does not use, in 256 colours, which are nearly all that a thumbnail has.
    Only photographs on a transparent ground keep every pixel: a palette with transparency is coarser."""
    from PIL import Image

    given = base64.b64decode(encoded)
    picture, small = Image.open(io.BytesIO(given)), io.BytesIO()
    if picture.mode == "RGBA" and picture.getextrema()[3] == (255, 255):
        picture = picture.convert("RGB")
    if picture.mode == "RGB":
        picture = picture.quantize(256, kmeans=3, dither=Image.Dither.NONE)
    elif picture.getcolors(MARKS):
        picture = picture.quantize(255, Image.Quantize.FASTOCTREE)
    picture.save(small, "PNG", optimize=True)
    return base64.b64encode(min(given, small.getvalue(), key=len)).decode()


def lighter(png: bytes) -> bytes:
    """A picture in few colours, as a notebook shows it, at a quarter of the bytes: 32 do for lines and words, photographs get 128.

    Of a drawing they are those furthest apart: chosen by how often they occur, blue and green of a few thin lines became one.
    """
    from PIL import Image

    picture = Image.open(io.BytesIO(png)).convert("RGB")
    colours, kind = (32, Image.Quantize.MAXCOVERAGE) if picture.getcolors(FEW) else (128, Image.Quantize.MEDIANCUT)
    small = io.BytesIO()
    picture.quantize(colours, kind).save(small, "PNG", optimize=True)
    return min(png, small.getvalue(), key=len)


def as_printed(value: float) -> str:
    """A number as tables in CSV print it: ten digits, all of which another machine finds too. Further ones are its rounding alone."""
    return repr(float(f"{value:.10g}"))


def cell(column: str, value: object) -> str:
    """A value as a table shows it: published numbers as published, ours with two decimals, small ones with three digits."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return MISSING
    if not isinstance(value, float):
        return str(value)
    if "published" in str(column):
        return f"{value:g}"
    return f"{value:.2f}" if value == 0 or 0.1 <= abs(value) < 1e5 else f"{value:.3g}"


def markdown(frame: pd.DataFrame) -> str:
    """A frame as a Markdown table; numeric columns lean right."""
    columns = list(map(str, frame.columns))
    rule = ["---:" if pd.api.types.is_numeric_dtype(frame.iloc[:, index]) else "---" for index in range(len(columns))]
    rows = [
        [cell(name, value).replace("|", "\\|").replace("\n", " ") for name, value in zip(columns, row, strict=True)] for row in _rows(frame)
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in [columns, rule, *rows])


def _rows(frame: pd.DataFrame) -> list[tuple]:
    return list(frame.itertuples(index=False, name=None))


def _html(frame: pd.DataFrame, caption: str, runs: list[str]) -> str:
    numeric = [pd.api.types.is_numeric_dtype(frame.iloc[:, index]) for index in range(frame.shape[1])]
    head = "".join(
        f'<th scope="col" style="text-align: {"right" if number else "left"}">{html.escape(str(name))}</th>'
        for name, number in zip(frame.columns, numeric, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td align="{"right" if number else "left"}">{html.escape(cell(name, value))}</td>'
            for name, number, value in zip(frame.columns, numeric, row, strict=True)
        )
        + "</tr>"
        for row in _rows(frame)
    )
    under = f"<details><summary>{len(runs)} runs behind this table</summary>{html.escape(', '.join(runs))}</details>" if runs else ""
    title = f'<caption style="caption-side: top; text-align: left; font-weight: bold">{html.escape(caption)}</caption>'
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{under}"
