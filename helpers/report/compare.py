"""What is written beside what should be: tables cell by cell, figures number by number. Every difference says where it lies."""

import base64
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from helpers.core.files import read_json

NEAR = 0.11  # points of a page that a figure's coordinates may differ by: they are written to a tenth, and rounding may take one over
SHADES = 2  # of 255 that a picture's pixels may differ by
NUMBER = re.compile(r"(?<![\w#.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.])")
MADE = re.compile(r"(?<=[\"#])[a-z]{1,8}[0-9a-f]{10}\b")  # ids that matplotlib makes from what they stand for, to the last digit
BLOCK = re.compile(r"<!-- begin: ([\w-]+) -->\n(.*?)<!-- end: \1 -->", re.DOTALL)
PICTURE = re.compile(r"data:image/png;base64,\s*([A-Za-z0-9+/=\s]+)")


@dataclass(frozen=True)
class Difference:
    where: str  # the row and the column, or the line
    written: str
    given: str

    def __str__(self) -> str:
        return f"{self.where}: written {self.written or 'nothing'}, the records give {self.given or 'nothing'}"


def of_csv(written: str, given: str) -> list[Difference]:
    """Cells of a table that differ. Numbers are the same when ten digits are, so those that print fewer have to be the same."""
    old, new = ([tuple(row) for row in csv.reader(io.StringIO(text))] for text in (written, given))
    if not old or not new or old[0] != new[0]:
        return [Difference("the heading", ", ".join(old[0] if old else ()), ", ".join(new[0] if new else ()))] if old != new else []
    return list(_of_rows(old[1:], new[1:], [old[0]] * len(old), 1, "row"))


def of_text(written: str, given: str) -> list[Difference]:
    """Lines that differ, and of the rows of Markdown tables the cells."""
    old, new = written.splitlines(), given.splitlines()
    return list(_of_rows([_cells(line) for line in old], [_cells(line) for line in new], _headings(old), 1, "line"))


def of_blocks(written: str, given: str) -> list[Difference]:
    """Differences within the generated blocks of a page, named by their block."""
    old, new = ({name: text for name, text in BLOCK.findall(page)} for page in (written, given))
    return [
        Difference(f"block {name!r}, {found.where}", found.written, found.given)
        for name in new
        for found in of_text(old.get(name, ""), new[name])
    ]


def of_figure(written: str, given: str) -> list[Difference]:
    """Where two SVGs of the same drawing differ first: in what is drawn, or in a number by more than rounding."""
    old, new = _Drawing(written), _Drawing(given)
    if old.text != new.text:
        at = next(
            (n for n, pair in enumerate(zip(old.text, new.text, strict=False)) if pair[0] != pair[1]), min(len(old.text), len(new.text))
        )
        return [Difference(f"element {at}", *(_short(part.text[at]) if at < len(part.text) else "" for part in (old, new)))]
    for n, (one, two) in enumerate(zip(old.numbers, new.numbers, strict=True)):
        if abs(float(one) - float(two)) > NEAR:
            return [Difference(f"number {n + 1} of {len(old.numbers)}", one, two)]
    for n, (one, two) in enumerate(zip(old.pictures, new.pictures, strict=True)):
        if not _alike(one, two):
            return [Difference(f"picture {n + 1} of {len(old.pictures)}", "other pixels", "these")]
    return []


def of_index(written: Path, given: Path, without: Sequence[str] = ()) -> list[Difference]:
    """Tables and figures that one index names and the other does not, and those with other words or other runs behind them."""
    old, new = ({entry.pop("name"): entry for entry in read_json(path)} for path in (written, given))
    names = [name for name in dict.fromkeys([*old, *new]) if name not in without]
    found = [
        Difference(name, *("an entry" if name in index else "" for index in (old, new))) for name in names if (name in old) != (name in new)
    ]
    for name in names:
        if name in old and name in new:
            keys = [key for key in dict.fromkeys([*old[name], *new[name]]) if old[name].get(key) != new[name].get(key)]
            found += [Difference(f"{name}, {key}", *_apart(old[name].get(key), new[name].get(key))) for key in keys]
    return found


def _apart(old: object, new: object) -> tuple[str, str]:
    """What of two values to show: of lists those entries that the other lacks."""
    if isinstance(old, list) and isinstance(new, list) and set(old) != set(new):
        return ", ".join(x for x in old if x not in new) or "none of these", ", ".join(x for x in new if x not in old) or "none of these"
    return _short(str(old)), _short(str(new))


def _of_rows(old: list[tuple], new: list[tuple], headings: list[Sequence[str]], first: int, kind: str) -> Iterator[Difference]:
    """Rows are brought together first, so that one that was added or taken out does not make all that follow differ."""
    keys = [[tuple(map(_same, row)) for row in rows] for rows in (old, new)]
    for same, a, b, c, d in SequenceMatcher(None, *keys, autojunk=False).get_opcodes():
        if same == "equal":
            continue
        for n in range(max(b - a, d - c)):
            one, two = old[a + n] if a + n < b else None, new[c + n] if c + n < d else None
            at = a + n if one is not None else b
            heading = headings[at] if at < len(headings) else ()
            where = f"{kind} {at + first}"
            if one is None or two is None or len(one) != len(two) or len(one) == 1:
                yield Difference(where, *(_short(" | ".join(row)) if row is not None else "" for row in (one, two)))
                continue
            for column, (was, is_) in enumerate(zip(one, two, strict=True)):
                if _same(was) != _same(is_):
                    name = heading[column] if column < len(heading) else str(column + 1)
                    yield Difference(f"{where} ({_named(two)}), column {name!r}", _short(was), _short(is_))


def _same(value: str) -> str:
    try:
        return f"{float(value):.10g}"
    except ValueError:
        return value


def _named(row: Sequence[str]) -> str:
    """A row by the words it begins with, two at most."""
    words = [value for value in row if value and not NUMBER.fullmatch(value)][:2]
    return _short(", ".join(words) or row[0])


def _short(text: str, most: int = 100) -> str:
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 1] + "…"


def _cells(line: str) -> tuple[str, ...]:
    if not (line.startswith("| ") and line.endswith(" |")):
        return (line,)
    return tuple(line[2:-2].split(" | "))


def _headings(lines: list[str]) -> list[tuple[str, ...]]:
    """The heading of the table that each line is in, () outside of tables."""
    found, heading = [], ()
    for n, line in enumerate(lines):
        if not line.startswith("|"):
            heading = ()
        elif re.fullmatch(r"\|( -+:? \|)+", line) and n:
            heading = _cells(lines[n - 1])
        found.append(heading)
    return found


class _Drawing:
    """An SVG taken apart: its elements without numbers, its numbers, its pictures. Made ids count by the order they appear in."""

    def __init__(self, text: str):
        self.pictures = [re.sub(r"\s", "", found) for found in PICTURE.findall(text)]
        text = PICTURE.sub("PICTURE", text)
        order: dict[str, str] = {}
        text = MADE.sub(lambda found: order.setdefault(found.group(), f"made{len(order)}"), text)
        self.numbers = NUMBER.findall(text)
        self.text = NUMBER.sub("N", text).split("<")


def _alike(one: str, two: str) -> bool:
    import numpy as np
    from PIL import Image

    if one == two:
        return True
    a, b = (np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"), dtype=int) for data in (one, two))
    return a.shape == b.shape and bool(np.abs(a - b).max() <= SHADES)
