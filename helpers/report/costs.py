"""Tables that every study has: what its runs cost, and how a rate came about. Each returns (frame, ids of the runs behind it)."""

import pandas as pd

from helpers.runs import records
from helpers.runs.config import RunConfig

Table = tuple[pd.DataFrame, list[str]]
PLACE = ("part", "backbone", "pretext", "optimizer", "recipe", "first", "second", "value")  # what tells a cell of some study from another


def cost_table(cells: pd.DataFrame) -> Table:
    """Seconds and energy of every run; where nothing was measured the energy is an estimate and says so."""
    rows, runs = [], []
    for row in cells.drop_duplicates("run").itertuples():
        record = row.record if hasattr(row.record, "manifest") else None
        manifest = record.manifest if record else {}
        energy = manifest.get("energy") or {}
        device = manifest.get("device") or {}
        rows.append(
            {
                "run": row.run,
                **{name: getattr(row, name) for name in PLACE if name in cells},
                "seed": int(row.seed),
                "seconds": manifest.get("seconds"),
                "energy (Wh)": energy.get("watt_hours"),
                "energy is": energy.get("method") or ("" if record else "missing"),
                "device": device.get("name", "") if isinstance(device, dict) else str(device),
            }
        )
        runs += [row.run] if record else []
    for record in trials_of(cells).values():
        energy, device = record.manifest.get("energy") or {}, record.manifest.get("device") or {}
        rows.append(
            {"run": record.id, "seed": record.config["seed"], "seconds": record.manifest.get("seconds"), "device": device.get("name", "")}
            | {"part": "trial of a rate", "energy (Wh)": energy.get("watt_hours"), "energy is": energy.get("method")}
            | {name: "" for name in PLACE if name in cells and name != "part"}
        )
        runs.append(record.id)
    return framed(rows), runs


def trials_of(cells: pd.DataFrame) -> dict:
    """The trials behind the rates of these runs, by their id."""
    found = {}
    for record in cells["record"]:
        if getattr(record, "manifest", {}).get("resolved", {}).get("trials"):
            tried = (records.find(trial.id) for trial in RunConfig(**record.config).rate_trials())
            found |= {each.id: each for each in tried if each is not None}
    return found


def found_by(resolved: dict) -> str:
    if not resolved:
        return "missing"
    if tried := resolved.get("trials"):
        ends = {"lowest": min(map(float, tried)), "highest": max(map(float, tried))}
        at_end = [f", the {name} tried" for name, rate in ends.items() if rate == resolved["rate"]]
        return "trials" + "".join(at_end)
    if not resolved.get("range_test"):
        return "given, no range test"
    return "range test" if resolved.get("rate_at_minimum") else f"no minimum, {resolved.get('from', 'default')}"


def framed(rows: list[dict]) -> pd.DataFrame:
    """Missing numbers as NaN, so that columns stay numeric."""
    frame = pd.DataFrame(rows)
    numbers = {"published", "ours", "low", "high", "sd", "max rate", "rate at lowest loss", "published max rate", "seconds", "energy (Wh)"}
    for column in frame:
        values = [value for value in frame[column] if value is not None]
        if column in numbers or (values and all(isinstance(value, float) for value in values)):
            frame[column] = frame[column].astype(float)
    return frame
