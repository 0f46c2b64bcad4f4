"""What generated pages say of variants, tables and verdicts: read from results/, never typed, never invented."""

import json
import textwrap
from collections import Counter
from pathlib import Path

import pandas as pd

from helpers import studies
from helpers.core.errors import RecordError
from helpers.core.files import read_json, results_dir, shown
from helpers.judging.claims import COLUMNS, read_claims
from helpers.judging.tables import TAKES, verdict_table
from helpers.pages import prices
from helpers.report.report import MISSING
from helpers.studies.variants import presets_of

REASON = 120  # characters of a reason on a study's page; the ledger has all of it


def command(study: str, variant: str) -> str:
    """What to type to compute a variant."""
    preset, _, reading = variant.partition("-")
    return f"make study NAME={study} PRESET={preset}" + (f' ARGS="-p reading {reading}"' if reading else "")


def with_parameter(line: str, parameter: str) -> str:
    """A `make study` line with one more parameter."""
    return line[:-1] + f' {parameter}"' if line.endswith('"') else f'{line} ARGS="{parameter}"'


def words(variant: str) -> str:
    """preset cpu, reading as written."""
    preset, _, reading = variant.partition("-")
    return f"preset {preset}, reading {reading.replace('_', ' ') or 'as written'}"


def title(variant: str) -> str:
    preset, _, reading = variant.partition("-")
    return f"Preset `{preset}`, reading *{reading.replace('_', ' ') or 'as written'}*"


def missing(study: str, variant: str, what: str = "Not computed yet") -> str:
    return f"*{what}: `{command(study, variant)}`*"


def variants(study: str = "*") -> list[Path]:
    """Folders of executed variants. The demo's are not part of the repository, so nothing committed may rest on them."""
    found = [
        path for path in results_dir().glob(f"{study}/*") if path.name.partition("-")[0] in presets_of(path.parent.name) and path.is_dir()
    ]
    kept = [path for path in found if path.name.partition("-")[0] != "demo" and not path.name.endswith("-custom")]
    return sorted(kept, key=lambda path: (path.parent.name, *_place(path)))


def _place(path: Path) -> tuple:
    preset, _, reading = path.name.partition("-")
    known = list(studies.part(path.parent.name, "settings").READINGS) if path.parent.name in studies.names() else []
    reading = reading or "as_written"
    return [*presets_of(path.parent.name)].index(preset), known.index(reading) if reading in known else len(known), reading


def missing_variants(study: str) -> list[str]:
    """Those that the study wants to be computed and nobody has."""
    return [name for name in studies.part(study, "settings").VARIANTS if not (results_dir() / study / name).is_dir()]


def read_table(path: Path, columns: tuple[str, ...] | None = None) -> pd.DataFrame:
    """A table that a study wrote, or some of its columns; or an error that says how to get it back."""
    try:
        frame = pd.read_csv(path, dtype={"published": str, "claim": str} if columns and "claim" in columns else None)
        return frame[list(columns)] if columns else frame
    except (OSError, ValueError, KeyError) as error:
        raise RecordError(f"Cannot read {shown(path)} ({error}). Execute its study again; finished runs are kept.") from error


def entry(folder: Path, name: str) -> dict:
    """What index.json says of a table or figure."""
    found = [each for each in read_json(folder / "index.json") if each.get("name") == name]
    if not found:
        raise RecordError(f"{shown(folder / 'index.json')} does not name {name}. Execute its study again; finished runs are kept.")
    return found[0]


def found_verdicts(folder: Path) -> pd.DataFrame:
    """A variant's claims.csv, once each of its claims is known to exist still."""
    frame = read_table(folder / "claims.csv", COLUMNS)
    if retired := sorted(set(frame["claim"]) - set(read_claims())):
        raise RecordError(
            f"{shown(folder / 'claims.csv')} judges {', '.join(retired)}, which no claims.toml has any longer. "
            f"Judge again, nothing is trained: `{command(folder.parent.name, folder.name)}`"
        )
    return frame


def priced_verdicts(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The verdicts in words, and beside what would decide a claim what that costs."""
    found = verdict_table(verdicts)
    asked = [
        "" if pd.isna(row.needs) or pd.isna(row.runs) else prices.cost(row.runs.split(), int(row.needs)) for row in verdicts.itertuples()
    ]
    return found.assign(**{TAKES: [f"{words} ({price})" if price else words for words, price in zip(found[TAKES], asked, strict=True)]})


def short_verdicts(folder: Path) -> pd.DataFrame:
    """The verdicts as a page shows them, reasons cut short."""
    found = priced_verdicts(found_verdicts(folder))[
        ["claim", "says", "published", "ours [95 %]", "margin", "seeds", "verdict", TAKES, "reason"]
    ]
    return found.assign(reason=[textwrap.shorten(str(reason), REASON, placeholder=" …") for reason in found["reason"]])


def count(frame: pd.DataFrame) -> str:
    found = Counter(frame["verdict"])
    return ", ".join(f"{found[verdict]} {verdict}" for verdict in ("supported", "contradicted", "undecided") if found[verdict])


def state(book: Path) -> str:
    """An execution that was cut off has a first cell that says so; one whose sweep was stopped lacks runs in its cost table."""
    try:
        stopped = json.loads(book.read_text(encoding="utf-8"))["cells"][0].get("id") == "stopped"
        return "stopped early" if stopped or _lacking(book.with_name("cost.csv")) else "whole"
    except (ValueError, KeyError, IndexError) as error:
        raise RecordError(f"Cannot read {shown(book)} ({error}). Execute its study again; finished runs are kept.") from error


def _lacking(costs: Path) -> bool:
    return costs.is_file() and bool(read_table(costs, ("run", "seconds"))["seconds"].isna().any())


def cost(path: Path) -> dict:
    if not path.is_file():
        return {"runs": MISSING, "hours of runs": MISSING}
    frame = read_table(path, ("run", "seconds"))
    done = frame["seconds"].notna().sum()
    return {"runs": f"{done} of {len(frame)}" if done < len(frame) else str(done), "hours of runs": f"{frame['seconds'].sum() / 3600:.2f}"}
