"""The race's tables. Each function returns (frame, ids of the runs behind it); what was not run stands there, marked missing."""

from pathlib import Path

import pandas as pd

from helpers.report.report import MISSING
from helpers.studies.speedrun.race import PARTS, breakdown, device_of, finish, invalid, published, raced, time_to_target
from helpers.studies.speedrun.settings import PROTOCOL, RACED, Settings

Table = tuple[pd.DataFrame, list[str]]


def candidate_table(cells: pd.DataFrame, s: Settings) -> Table:
    """Each candidate's short run: what it changes of the raced recipe, the kNN on the held-out slice, and what it spent."""
    rows, trials = [], cells[cells["part"] == "trial"]
    for row in trials.itertuples():
        made = row.record
        rows.append(
            {
                "candidate": row.recipe,
                "changes": "nothing" if row.recipe == RACED else in_words(s.candidates[row.recipe]),
                "held-out kNN (%)": made.evaluations[PROTOCOL]["top1"] if made else None,
                "epochs": made.config["training"]["epochs"] if made else None,
                "TFLOP": made.manifest["training_flops"] / 1e12 if made else None,
                "note": "" if made else "missing",
            }
        )
    frame = pd.DataFrame(rows, columns=["candidate", "changes", "held-out kNN (%)", "epochs", "TFLOP", "note"])
    return frame, [record.id for record in trials["record"] if record is not None]


def in_words(changes: dict, path: str = "") -> str:
    """A nested table of settings on one line."""
    inner = {f"{path}{key}": value for key, value in changes.items()}
    return ", ".join(in_words(value, f"{key}.") if isinstance(value, dict) else f"{key} = {value}" for key, value in inner.items())


def choice(candidates: pd.DataFrame) -> str:
    """One sentence: whether the raced recipe led on the held-out slice."""
    done = candidates.dropna(subset="held-out kNN (%)")
    if RACED not in set(done["candidate"]):
        return "The raced recipe has no trial yet, so nothing says that it was the one to choose."
    own = done.loc[done["candidate"] == RACED, "held-out kNN (%)"].item()
    ahead = done.loc[done["held-out kNN (%)"] > own, "candidate"].tolist()
    if ahead:
        return f"The raced recipe ({own:.2f} %) was not the best on the held-out slice: ahead of it {', '.join(ahead)}."
    return f"The raced recipe led on the held-out slice: {own:.2f} % among {len(done)} recipes tried, one short run each."


def race_table(cells: pd.DataFrame, target: float) -> Table:
    """Every raced run: when it first stood at the target, and where it ended."""
    rows, runs = [], []
    for row in cells[cells["part"] == "race"].itertuples():
        record, found, state = row.record, None, "missing"
        if record is not None:
            runs.append(record.id)
            found = None if (state := invalid(record)) else finish(record, target)
            state = f"invalid: {state}; delete its folder to race it again" if state else "reached" if found else "never reached"
        rows.append(
            {
                "seed": int(row.seed),
                "seconds to target": found.seconds if found else None,
                "epoch": str(found.epoch) if found else MISSING,
                "kNN there (%)": found.knn if found else None,
                "kNN at the end (%)": record.evaluations[PROTOCOL]["top1"] if record else None,
                "state": state,
                "device": device_of(record) if record else "",
                "run": row.run,
            }
        )
    return pd.DataFrame(rows), runs


def same_race(s: Settings) -> bool:
    """Whether net, data and target are the published challenge's, whatever the recipe and the machine."""
    theirs, encoder = published(), s.recipe["encoder"]
    whole = s.dataset == theirs["dataset"] and s.train_images is None and s.test_images is None
    return whole and s.target == theirs["target"] and [encoder["name"], encoder.get("stem")] == theirs["encoder"]


def result_table(cells: pd.DataFrame, s: Settings) -> Table:
    """Ours beside the published challenge. Another net, set or target is not the same race, and says so."""
    theirs, valid = published(), raced(cells)
    found, why = time_to_target(cells, s.target)
    encoder = s.recipe["encoder"]
    ours = {
        "who": "ours",
        "net": f"{encoder['name']} ({encoder.get('stem', 'auto')})",
        "data": s.dataset,
        "target (%)": f"{s.target:g}",
        "seconds": found.mean,
        "low": found.low,
        "high": found.high,
        "n": len(valid),
        "device": device_of(valid[0]) if valid else "",
        "note": "; ".join(filter(None, [why, "" if same_race(s) else "not the same race: its own net, data or target"])),
    }
    anchor = {
        "who": theirs["who"],
        "net": theirs["net"],
        "data": theirs["dataset"],
        "target (%)": f"{theirs['target']:g}",
        "seconds": theirs["seconds"],
        "low": None,
        "high": None,
        "n": theirs["runs"],
        "device": theirs["device"],
        "note": theirs["note"],
    }
    return pd.DataFrame([ours, anchor]), [record.id for record in valid]


def breakdown_table(cells: pd.DataFrame, target: float) -> Table:
    """Wall seconds up to the target by what they were spent on."""
    valid = raced(cells)
    rows = []
    for record in valid:
        spent = breakdown(record, target)
        until = "target" if finish(record, target) else "end, target never reached"
        rows.append({"seed": record.config["seed"], **spent, "whole": sum(spent.values()), "until": until})
    return pd.DataFrame(rows, columns=["seed", *PARTS, "whole", "until"]), [record.id for record in valid]


def answer(folder: Path) -> str:
    """What came out, in one sentence, from the table of results in a variant's folder."""
    ours, theirs = pd.read_csv(folder / "result.csv").to_dict("records")
    took = f"{ours['seconds']:.0f} s [{ours['low']:.0f}, {ours['high']:.0f}]" if ours["seconds"] == ours["seconds"] else "not reached"
    note = f" ({ours['note']})" if isinstance(ours["note"], str) else ""
    return (
        f"{ours['target (%)']:g} % kNN with {ours['net']} on {ours['data']}: {took} on {ours['device']}; "
        f"published {theirs['target (%)']:g} % in {theirs['seconds']:.0f} s on {theirs['device']}{note}."
    )
