"""What the generated blocks of the README say: read from results/, never typed, never invented."""

import json
import textwrap
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from helpers.core.errors import RecordError
from helpers.core.files import read_json, results_dir, shown
from helpers.judging.claims import COLUMNS, read_claims, verdict_table
from helpers.pages import methods_page
from helpers.pages.speed import gpu_day, link, speed
from helpers.report.report import MISSING, markdown
from helpers.studies.open import PRESETS, preset_values

STUDY, MAIN = "backbone_contest", "cpu"
LIGHT = "lightweight_architectures"
GRID = "augmentation_grid"
SCENES = "aid_remote_sensing"
LABELS = "label_efficiency"
READINGS = {"": "as written", "fair": "fair", "as_run": "as run", "cifar10": "CIFAR-10", "patient": "patient"}
EXPECTED = {
    STUDY: ("cpu", "cpu-fair", "cpu-as_run"),
    LIGHT: ("cpu",),
    GRID: ("cpu",),
    SCENES: ("cpu",),
    LABELS: ("cpu", "cpu-patient"),
}  # asked for in the README even before they are computed
REASON = 120  # characters of a reason in the README; the ledger has all of it


def command(study: str, variant: str) -> str:
    """What to type to compute a variant."""
    preset, _, reading = variant.partition("-")
    return f"make study NAME={study} PRESET={preset}" + (f' ARGS="-p reading {reading}"' if reading else "")


def title(variant: str) -> str:
    preset, _, reading = variant.partition("-")
    return f"Preset `{preset}`, reading *{READINGS.get(reading, reading)}*"


def missing(variant: str, what: str = "Not computed yet", study: str = STUDY) -> str:
    return f"*{what}: `{command(study, variant)}`*"


def variants(study: str = "*") -> list[Path]:
    """Folders of executed variants. The demo's are not part of the repository, so nothing committed may rest on them."""
    found = [path for path in results_dir().glob(f"{study}/*") if path.name.partition("-")[0] in PRESETS and path.is_dir()]
    order = [*PRESETS, *READINGS]
    kept = [path for path in found if path.name.partition("-")[0] != "demo" and not path.name.endswith("-custom")]
    return sorted(
        kept, key=lambda path: (path.parent.name, *(order.index(part) if part in order else 9 for part in path.name.partition("-")[::2]))
    )


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Some columns of a table that a study wrote, or an error that says how to get it back."""
    try:
        return pd.read_csv(path, dtype={"published": str, "claim": str} if "claim" in columns else None)[list(columns)]
    except (OSError, ValueError, KeyError) as error:
        raise RecordError(f"Cannot read {shown(path)} ({error}). Execute its study again; finished runs are kept.") from error


def entry(folder: Path, name: str) -> dict:
    """What index.json says of a table or figure."""
    found = [each for each in read_json(folder / "index.json") if each.get("name") == name]
    if not found:
        raise RecordError(f"{shown(folder / 'index.json')} does not name {name}. Execute its study again; finished runs are kept.")
    return found[0]


def interval(row) -> str:
    """A mean with its interval, or why there is none."""
    if pd.isna(row["ours"]):
        return "missing" if pd.isna(row.get("note")) else str(row["note"])
    return f"{row['ours']:.2f}" + ("" if pd.isna(row["low"]) else f" [{row['low']:.2f}, {row['high']:.2f}]")


def main_table() -> str:
    folder = results_dir() / STUDY / MAIN
    if not (folder / "optimizers.csv").is_file():
        return missing(MAIN)
    wanted = ("backbone", "optimizer", "published", "ours", "low", "high", "n", "interval over", "note", "encoder", "stem")
    frame = read_table(folder / "optimizers.csv", wanted)
    frame.insert(3, "ours [95 %]", [interval(row) for _, row in frame.iterrows()])
    frame = frame.drop(columns=["ours", "low", "high", "note"])
    behind = f"[table with all columns and the runs behind it]({link(folder / 'optimizers.md')})"
    return f"**{entry(folder, 'optimizers')['caption']}** {title(MAIN)}; {behind}.\n\n{markdown(frame)}"


def figure(study: str, name: str) -> str:
    folder = results_dir() / study / MAIN
    picture = folder / f"{name}.svg"
    return f"![{entry(folder, name)['alt']}]({link(picture)})" if picture.is_file() else missing(MAIN, study=study)


def light_table() -> str:
    """The published 5 x 5 table beside ours."""
    folder = results_dir() / LIGHT / MAIN
    path = folder / "grid_table.csv"
    if not path.is_file():
        return missing(MAIN, study=LIGHT)
    behind = f"[every cell with its interval, frozen and fine-tuned, and the runs behind it]({link(folder / 'accuracy.md')})"
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return f"**{entry(folder, 'grid_table')['caption']}** {title(MAIN)}; {behind}.\n\n{markdown(frame)}"


def table(study: str, name: str, variant: str = MAIN) -> str:
    """A table as its study wrote it."""
    folder = results_dir() / study / variant
    path = folder / f"{name}.csv"
    if not path.is_file():
        return missing(variant, study=study)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    return f"**{entry(folder, name)['caption']}** {title(variant)}; [runs behind it]({link(folder / f'{name}.md')}).\n\n{markdown(frame)}"


def headline() -> str:
    path = results_dir() / STUDY / MAIN / "headline.csv"
    if not path.is_file():
        return missing(MAIN)
    if read_table(path, ("ours",))["ours"].isna().all():
        return missing(MAIN, "Not run yet")
    frame = read_table(path, ("protocol", "untrained", "ours", "low", "high", "gain", "interval over", "encoder", "stem"))
    frame.insert(2, "ours [95 %]", [interval(row) for _, row in frame.iterrows()])
    return f"**{entry(path.parent, 'headline')['caption']}**\n\n{markdown(frame.drop(columns=['ours', 'low', 'high']))}"


def read_verdicts(path: Path) -> pd.DataFrame:
    """A claims.csv, once each of its claims is known to exist still."""
    frame = read_table(path, COLUMNS)
    retired = sorted(set(frame["claim"]) - set(read_claims()))
    if retired:
        raise RecordError(
            f"{shown(path)} judges {', '.join(retired)}, which claims.toml no longer has. "
            f"Judge again, nothing is trained: `{command(path.parent.parent.name, path.parent.name)}`"
        )
    return frame


def count(frame: pd.DataFrame) -> str:
    found = Counter(frame["verdict"])
    return ", ".join(f"{found[verdict]} {verdict}" for verdict in ("supported", "contradicted", "undecided") if found[verdict])


def verdicts(study: str) -> str:
    parts = []
    for variant in dict.fromkeys([*EXPECTED[study], *(path.name for path in variants(study))]):
        path = results_dir() / study / variant / "claims.csv"
        if not path.is_file():
            parts.append(f"**{title(variant)}.** {missing(variant, study=study)}")
            continue
        frame = read_verdicts(path)
        table = verdict_table(frame)[["claim", "says", "published", "ours [95 %]", "verdict", "reason"]]
        table["reason"] = [textwrap.shorten(str(reason), REASON, placeholder=" …") for reason in table["reason"]]
        scope = ", ".join(f"*{scope}*" for scope in frame["scope"].unique())
        parts.append(f"**{title(variant)}, scope {scope}:** {count(frame)}.\n\n{markdown(table)}")
    return "\n\n".join(parts) + "\n\nEvery verdict with its whole reason: [results/claims.md](results/claims.md)."


def race() -> str:
    """Seconds to the target in every executed variant of the race, beside the published challenge."""
    parts = []
    for folder in variants("speedrun"):
        if (folder / "result.csv").is_file():
            wanted = ("who", "net", "data", "target (%)", "seconds", "low", "high", "n", "device", "note")
            frame = read_table(folder / "result.csv", wanted).rename(columns={"seconds": "ours"})
            frame.insert(4, "seconds [95 %]", [interval(row) for _, row in frame.iterrows()])
            parts.append(f"**{title(folder.name)}.**\n\n{markdown(frame.drop(columns=['ours', 'low', 'high']))}")
    return "\n\n".join(parts) or f"*Not computed yet: `{command('speedrun', MAIN)}`*"


def notebooks() -> str:
    rows = []
    for folder in variants():
        book = folder / f"{folder.parent.name}.ipynb"
        if book.is_file():
            rows.append(
                {
                    "study": folder.parent.name,
                    "variant": folder.name,
                    "state": _state(book),
                    **_cost(folder / "cost.csv"),
                    "read": f"[notebook]({link(book)})",
                    "tables and figures": f"[{folder.name}/]({link(folder)})",
                }
            )
    return markdown(pd.DataFrame(rows)) if rows else missing(MAIN, "No executed notebook yet")


def _state(book: Path) -> str:
    """An execution that was cut off has a first cell that says so; one whose sweep was stopped lacks runs in its cost table."""
    try:
        stopped = json.loads(book.read_text(encoding="utf-8"))["cells"][0].get("id") == "stopped"
        return "stopped early" if stopped or _lacking(book.with_name("cost.csv")) else "whole"
    except (ValueError, KeyError, IndexError) as error:
        raise RecordError(f"Cannot read {shown(book)} ({error}). Execute its study again; finished runs are kept.") from error


def _lacking(costs: Path) -> bool:
    return costs.is_file() and bool(read_table(costs, ("run", "seconds"))["seconds"].isna().any())


def _cost(path: Path) -> dict:
    if not path.is_file():
        return {"runs": MISSING, "hours of runs": MISSING}
    frame = read_table(path, ("run", "seconds"))
    done = frame["seconds"].notna().sum()
    return {"runs": f"{done} of {len(frame)}" if done < len(frame) else str(done), "hours of runs": f"{frame['seconds'].sum() / 3600:.2f}"}


def presets() -> str:
    rows = []
    for preset in PRESETS:
        values = preset_values(STUDY, preset, "as_written")
        nets = [f"{net['name']} ({net['stem']})" for net in values["encoders"].values()]
        rows.append(
            {
                "preset": f"`{preset}`",
                "scope": values["scope"],
                "dataset": values["dataset"],
                "training images": str(values.get("train_images", "all")),
                "test images": str(values.get("test_images", "all")),
                "epochs": values["epochs"],
                "batch": values["batch_size"],
                "seeds": values["seeds"],
                "encoders (stems)": ", ".join(nets),
            }
        )
    return markdown(pd.DataFrame(rows))


BLOCKS: dict[str, Callable[[], str]] = {
    "main-table": main_table,
    "main-figure": partial(figure, STUDY, "accuracy_by_backbone"),
    "headline": headline,
    "verdicts": partial(verdicts, STUDY),
    "lightweight-figure": partial(figure, LIGHT, "grid"),
    "lightweight-costs": partial(figure, LIGHT, "cost_fronts"),
    "lightweight-table": light_table,
    "lightweight-verdicts": partial(verdicts, LIGHT),
    "grid-figure": partial(figure, GRID, "grid"),
    "grid-ablations": partial(figure, GRID, "ablations"),
    "grid-verdicts": partial(verdicts, GRID),
    "scenes-figure": partial(figure, SCENES, "forensic"),
    "scenes-pretexts": partial(figure, SCENES, "pretexts"),
    "scenes-verdicts": partial(verdicts, SCENES),
    "labels-figure": partial(figure, LABELS, "fractions"),
    "labels-table": partial(table, LABELS, "published"),
    "labels-saved": partial(table, LABELS, "saved"),
    "labels-patient": partial(table, LABELS, "saved", "cpu-patient"),
    "labels-verdicts": partial(verdicts, LABELS),
    "speed": speed,
    "gpu-day": gpu_day,
    "race": race,
    "methods": methods_page.block,
    "notebooks": notebooks,
    "presets": presets,
}
