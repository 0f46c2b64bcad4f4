"""The race's tables. Each function returns (frame, ids of the runs behind it); what was not run stands there, marked missing."""

from pathlib import Path

import pandas as pd

from helpers.core.devices import device_words
from helpers.judging.statistics import summary
from helpers.report.report import MISSING
from helpers.runs.plan import collect
from helpers.runs.sweep import sweep
from helpers.studies.open import preset_values
from helpers.studies.speedrun import rival
from helpers.studies.speedrun import runs as grid
from helpers.studies.speedrun.race import PARTS, breakdown, device_of, finish, invalid, published, raced, time_to_target
from helpers.studies.speedrun.settings import FRONTIER, PROTOCOL, RACED, Settings

Table = tuple[pd.DataFrame, list[str]]


def candidate_table(cells: pd.DataFrame, s: Settings) -> Table:
    """Each candidate: what it changes of the raced recipe, the kNN on the held-out slice after each rung, and what the last took."""
    trials = cells[cells["part"] == "trial"] if len(cells) else cells
    rows = []
    for name in [RACED, *s.candidates] if s.rungs else []:
        row = {"candidate": name, "changes": "nothing" if name == RACED else in_words(s.candidates[name])}
        made = {
            each.rung: each.record
            for each in trials[trials["recipe"] == name].itertuples()
            if each.record and PROTOCOL in each.record.evaluations
        }
        row |= {_rung(s, rung): made[rung].evaluations[PROTOCOL]["top1"] if rung in made else None for rung in range(len(s.rungs))}
        last = made[max(made)] if made else None
        row["epochs"] = str(last.config["training"]["epochs"]) if last else MISSING
        row |= {"seconds": last.manifest["training_seconds"] if last else None}
        rows.append(row | {"TFLOP": last.manifest["training_flops"] / 1e12 if last else None, "note": "" if last else "missing"})
    columns = ["candidate", "changes", *(_rung(s, rung) for rung in range(len(s.rungs))), "epochs", "seconds", "TFLOP", "note"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame, [record.id for record in trials["record"] if record is not None] if len(trials) else []


def _rung(s: Settings, rung: int) -> str:
    return f"held-out kNN (%) at {100 * s.rungs[rung]:.3g} % of the length"


def in_words(changes: dict, path: str = "") -> str:
    """A nested table of settings on one line."""
    inner = {f"{path}{key}": value for key, value in changes.items()}
    told = (in_words(value, f"{key}.") if isinstance(value, dict) else f"{key} = {value}" for key, value in inner.items())
    return ", ".join(filter(None, told))


def choice(candidates: pd.DataFrame) -> str:
    """One sentence: whether the raced recipe led on the held-out slice, in the last rung that was run."""
    rungs = [column for column in candidates if column.startswith("held-out") and candidates[column].notna().any()]
    if not rungs or RACED not in set(candidates.dropna(subset=rungs[-1])["candidate"]):
        return "The raced recipe has no trial here, so nothing says that it was the one to choose."
    done = candidates.dropna(subset=rungs[-1])
    own = done.loc[done["candidate"] == RACED, rungs[-1]].item()
    ahead = done.loc[done[rungs[-1]] > own, "candidate"].tolist()
    if ahead:
        return f"The raced recipe ({own:.2f} %) was not the best on the held-out slice: ahead of it {', '.join(ahead)}."
    return f"The raced recipe led on the held-out slice: {own:.2f} % among the last {len(done)} of {len(candidates)} recipes tried."


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


def frontier_table() -> Table:
    """The same race in more and more time, lightly's SimCLR beside it: a row a budget."""
    theirs, rows, runs, races = rival.recorded(), [], [], frontier()
    for preset, s, cells in races:
        valid = raced(cells)
        runs += [record.id for record in valid]
        reached = summary([record.metrics["knn"].iloc[-1] for record in valid])
        seconds = summary([record.metrics["elapsed_seconds"].iloc[-1] for record in valid])
        beside = summary([read["knn"] for found in theirs for read in found["reads"] if round(read["seconds"] / 60) == s.minutes])
        rows.append(
            {
                "preset": preset,
                "minutes": s.minutes,
                "kNN at the end (%)": reached.mean,
                "low": reached.low,
                "high": reached.high,
                "n": reached.n,
                "seconds at the end": seconds.mean,
                "target (%)": s.target,
                "state": _state(valid, s, reached.mean, seconds.mean),
                "best of all races in that time": _best_within(s.minutes, races),
                "lightly (%)": beside.mean,
                "its n": beside.n,
                "device": ", ".join(sorted({device_of(record) for record in valid})),
                "its device": ", ".join(sorted({device_words(found["device"]) for found in theirs})),
            }
        )
    return pd.DataFrame(rows), runs


def _best_within(minutes: float, races: list) -> str:
    """The last reading within that time of the race, of whatever budget and machine, that then stood highest: the mean of its runs. The
    highest of a few means on test flatters a little; each budget's own race does not."""
    best = ""
    top = float("-inf")
    for preset, _, cells in races:
        read = [record.metrics.dropna(subset="knn") for record in raced(cells)]
        read = [rows[rows["elapsed_seconds"] <= 60 * minutes] for rows in read]
        if not read or any(rows.empty for rows in read):
            continue
        found, after = summary([rows["knn"].iloc[-1] for rows in read]), summary([rows["elapsed_seconds"].iloc[-1] for rows in read]).mean
        if found.mean > top:
            top, reach = found.mean, "" if found.low is None else f" [{found.low:.1f}, {found.high:.1f}]"
            best = f"{found.mean:.1f} %{reach}, n = {found.n}, {preset} after {after:.0f} s"
    return best or MISSING


def _state(valid: list, s: Settings, reached: float | None, seconds: float | None) -> str:
    """Whether a budget and its target were kept, and by how much not."""
    if len(valid) < s.seeds:
        return f"{s.seeds - len(valid)} of {s.seeds} runs missing"
    late = seconds - 60 * s.minutes
    over = f"; {late:.0f} s late" if late > 0 else ""
    return ("target met" if reached >= s.target else f"{s.target - reached:.1f} points short of the target") + over


def frontier() -> list[tuple[str, Settings, pd.DataFrame]]:
    """(preset, its settings, its raced runs as far as there are records) of each budget."""
    found = []
    for preset in FRONTIER:
        s = Settings(**preset_values("speedrun", preset, "as_written"))
        races = grid.races(s)
        found.append((preset, s, collect(races, sweep([cell.config for cell in races], train=False))))
    return found


def ahead() -> str:
    """How much sooner ours stands where lightly's SimCLR stands at the end of its time, on a device of the same name."""
    theirs = rival.recorded()
    if not theirs:
        return "lightly's SimCLR has not been measured: `python -m helpers.studies.speedrun.rival`."
    reads, devices = [found["reads"][-1] for found in theirs], {device_words(found["device"]) for found in theirs}
    level, spent = summary([read["knn"] for read in reads]).mean, summary([read["seconds"] for read in reads]).mean
    said = f"lightly's SimCLR reaches {level:.1f} % in {spent / 60:.0f} minutes (n = {len(theirs)}; {', '.join(sorted(devices))})"
    for preset, _, cells in frontier():
        valid = [record for record in raced(cells) if devices == {device_of(record)}]
        found = [finish(record, level) for record in valid]
        if valid and all(found):
            took = summary([each.seconds for each in found]).mean
            return f"{said}; ours is first read above that after {took:.0f} s (preset {preset}, n = {len(valid)}): {spent / took:.0f} times sooner."
    return f"{said}, and no run of ours on that device stands above it."


def answer(folder: Path) -> str:
    """What came out, in one sentence, from the table of the frontier in a variant's folder."""
    rows = pd.read_csv(folder / "frontier.csv").dropna(subset="kNN at the end (%)").to_dict("records")
    reached: dict[str, list[str]] = {}
    for row in rows:
        took = row["seconds at the end"] / 60
        reached.setdefault(row["device"], []).append(f"{row['kNN at the end (%)']:.1f} % (n = {row['n']}) in {took:.0f}")
    beside = [f"{row['lightly (%)']:.1f} % in {row['minutes']:g}" for row in rows if row["lightly (%)"] == row["lightly (%)"]]
    where = " on " + rows[-1]["its device"] if beside and "its device" in rows[-1] else ""
    rest = f"; lightly's SimCLR {', '.join(beside)} minutes{where}" if beside else ""
    told = "; ".join(f"{', '.join(found)} minutes on {device}" for device, found in reached.items())
    return f"kNN on CIFAR-10 without labels: {told}{rest}." if rows else "No race has been run."
