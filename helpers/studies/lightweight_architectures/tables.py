"""The lightweight study's tables. Each function returns (frame, ids of the runs behind it); what was not run stands there, marked missing.

Runs that collapsed are left out of means and counted in the note; see arms.
"""

from collections import Counter

import numpy as np
import pandas as pd

from helpers.insight import by_accuracy, most_confused
from helpers.judging.arms import Arm, accuracy, confusion_of, has_collapsed
from helpers.report.costs import found_by, trials_of
from helpers.studies.lightweight_architectures.cells import (
    NETS,
    OTHERS,
    READOUTS,
    TECHNIQUES,
    best_checkpoint,
    entrant,
    grid,
    plain_nets,
    published,
    published_grid,
    untrained,
    with_all,
)
from helpers.studies.lightweight_architectures.claims import explained
from helpers.studies.lightweight_architectures.costs import cost_rows

OF_NET = ("parameters (M)", "MACs (M)", "forward (MFLOP)", "latency (ms)")
OF_RUN = (
    "training (images/s)",
    "peak memory (MB)",
    "run (TFLOP)",
    "training (h)",
    "energy (Wh)",
    "CO2 (kg)",
    "CO2 by rated power (kg)",
)
SOURCES = ("technique", "net", "both together", "seeds", "total")
OF_SOURCE = ("sum of squares", "degrees of freedom", "F", "p", "share (%)")
TRAIN = "ours, on the labelled images"
Table = tuple[pd.DataFrame, list[str]]


def accuracy_table(cells: pd.DataFrame, readouts=("linear", "finetune")) -> Table:
    """Every technique on every net by every readout: the last checkpoint, with the maximum over checkpoints, as published, beside it;
    and, where runs kept it, the accuracy on the labelled images that the readout was trained on."""
    rows, runs = [], []
    for technique, net, arm in _arms(cells):
        for readout in readouts:
            found, over = accuracy(arm, readout)
            before, _ = accuracy(untrained(cells, technique, net), f"{readout}_untrained")
            rows.append(
                {
                    "technique": technique,
                    "net": net,
                    "readout": READOUTS.get(readout, readout),
                    "published (maximum)": float(published_grid().loc[technique, net]) if net in NETS else np.nan,
                    "ours, last": _number(found.mean),
                    "low": _number(found.low),
                    "high": _number(found.high),
                    "n": found.n,
                    "interval over": over,
                    TRAIN: _number(_on_the_labelled(arm, readout)),
                    "ours, maximum": _number(best_checkpoint(arm, readout)),
                    "untrained": _number(before.mean),
                    "gain": _number(found.mean) - _number(before.mean),
                    "encoder": _encoder(cells, net),
                    "note": _note(arm, readout, found.n),
                }
            )
        runs += arm.runs
    frame = pd.DataFrame(rows)
    return (frame.drop(columns=TRAIN) if frame[TRAIN].isna().all() else frame), runs


def rate_table(cells: pd.DataFrame) -> Table:
    """The maximum rate of each cell and where it comes from; of rates that were tried, linear accuracy on the held-out images."""
    rows, runs = [], []
    for technique, net, arm in _arms(cells):
        resolved = next((record.manifest.get("resolved", {}) for record in arm.records.values()), {})
        tried = {f"at {rate}": _number(value) for rate, value in resolved.get("trials", {}).items()}
        where = found_by(resolved) if tried else resolved.get("from", "missing")
        rows.append({"technique": technique, "net": net, "rate": _number(resolved.get("rate")), "from": where} | tried)
        runs += arm.runs
    return pd.DataFrame(rows), [*runs, *trials_of(cells)]


def grid_table(cells: pd.DataFrame, readout: str = "linear") -> Table:
    """The paper's table 1: ours at the last checkpoint, ± half its interval over seeds, and after the bar the published figure."""
    nets = [*NETS, *plain_nets(cells)]
    rows = []
    for technique in TECHNIQUES:
        row = {"technique": technique}
        for net in nets:
            arm = entrant(cells, technique, net)
            found, _ = accuracy(arm, readout)
            ours = "missing" if not found.n else f"{found.mean:.1f}" + (f" ± {found.high - found.mean:.1f}" if found.n > 1 else "")
            theirs = f" | {published_grid().loc[technique, net]:.0f}" if net in NETS else ""
            row[_headed(cells, net)] = ours + (f" ({arm.flag})" if arm.flag else "") + theirs
        rows.append(row)
    before = {_headed(cells, net): _tenth(accuracy(untrained(cells, "BYOL", net), f"{readout}_untrained")[0].mean) for net in nets}
    return pd.DataFrame([*rows, {"technique": "untrained"} | before]), _runs(cells)


def block_table(cells: pd.DataFrame) -> Table:
    """RotNet and Split-Brain read at the last block and at the best one, which was chosen on held-out training images."""
    rows, runs = [], []
    for technique, net, arm in _arms(cells, OTHERS):
        arm = with_all(arm, "linear", "linear_block")
        last, best = (accuracy(arm, readout)[0] for readout in ("linear", "linear_block"))
        found = [record.evaluations["linear_block"] for record in arm.sound if "linear_block" in record.evaluations]
        places = [f"{each['block']} ({list(each['blocks']).index(each['block']) + 1} of {len(each['blocks'])})" for each in found]
        rows.append(
            {
                "technique": technique,
                "net": net,
                "last block": _number(last.mean),
                "best block": _number(best.mean),
                "low": _number(best.low),
                "high": _number(best.high),
                "gain": _number(best.mean) - _number(last.mean),
                "which": ", ".join(f"{place} x {count}" for place, count in Counter(places).most_common()),
                "n": best.n,
                "note": _note(arm, "linear_block", best.n),
            }
        )
        runs += arm.runs
    return pd.DataFrame(rows), runs


def collapse_table(cells: pd.DataFrame) -> Table:
    """The end of every run's embedding: spread (1: even directions, 0: all one), effective rank, gradient at the first layer."""
    rows, runs = [], []
    for row in cells.drop_duplicates("run").itertuples():
        record = row.record if hasattr(row.record, "metrics") else None
        end = record.metrics.iloc[-1] if record is not None and len(record.metrics) else {}
        rows.append(
            {
                "run": row.run,
                "technique": row.pretext,
                "net": row.backbone,
                "seed": int(row.seed),
                "spread": _number(end.get("spread")),
                "effective rank": _number(end.get("effective_rank")),
                "first-layer gradient": _number(end.get("first_layer_gradient")),
                "loss": _number(end.get("loss")),
                "frozen accuracy": _number(record.evaluations.get("linear", {}).get("top1")) if record else np.nan,
                "flag": "missing" if record is None else "collapsed" if has_collapsed(record) else "",
            }
        )
        runs += [row.run] if record else []
    return pd.DataFrame(rows), runs


def anova_table(cells: pd.DataFrame, readout: str = "linear") -> Table:
    """Two-way analysis of variance over the grid, every run at what it reached; the published table beside it, which has one value a cell
    and so cannot tell an interaction from noise."""
    theirs = [float(each) for each in explained(published_grid().to_numpy())]
    shares = dict(zip(("technique", "net", "both together"), (100 * each / sum(theirs) for each in theirs), strict=True))
    arms = grid(cells)
    seeds = sorted(set.intersection(*(set(arm.records) for arm in arms)))
    measured = [[arm.records[seed].evaluations.get(readout, {}).get("top1") for arm in arms] for seed in seeds]
    complete = bool(seeds) and all(value is not None for row in measured for value in row)
    found = _analysed(np.array(measured).reshape(len(seeds), len(TECHNIQUES), len(NETS))) if complete else {}
    rows = [{"source": name, **found.get(name, {}), "published share (%)": shares.get(name, np.nan)} for name in SOURCES]
    frame = pd.DataFrame(rows, columns=["source", *OF_SOURCE, "published share (%)"])
    lost = sum(has_collapsed(arm.records[seed]) for arm in arms for seed in seeds)
    frame["note"] = (
        (f"{len(seeds)} seeds" + (f", {lost} runs collapsed" if lost else "")) if found else "missing runs: not every cell is there"
    )
    return frame, _runs(cells)


def _analysed(tables: np.ndarray) -> dict[str, dict]:
    """{source: its line} of accuracies [seeds, techniques, nets]; with one seed the interaction is the error."""
    from scipy.stats import f as f_distribution

    seeds, techniques, nets = tables.shape
    squares = [seeds * float(each) for each in explained(tables.mean(axis=0))] + [float(((tables - tables.mean(axis=0)) ** 2).sum())]
    freedom = [techniques - 1, nets - 1, (techniques - 1) * (nets - 1), techniques * nets * (seeds - 1)]
    error = 3 if seeds > 1 else 2
    noise, lines = squares[error] / freedom[error], {}
    for place, source in enumerate(SOURCES[:4]):
        line = [squares[place], freedom[place], np.nan, np.nan, 100 * squares[place] / (sum(squares) or 1)]
        if place < error and noise > 0:
            line[2] = squares[place] / freedom[place] / noise
            line[3] = float(f_distribution.sf(line[2], freedom[place], freedom[error]))
        lines[source] = dict(zip(OF_SOURCE, line, strict=True))
    return lines | {"total": dict(zip(OF_SOURCE, (sum(squares), sum(freedom), np.nan, np.nan, 100.0), strict=True))}


def cost_table(cells: pd.DataFrame, *, region: str | None = None, intensity: float | None = None) -> Table:
    """What a run of each net costs, on average over techniques and seeds, beside the paper's figures for the net."""
    paper, rows, runs = published(), [], []
    for net in [*NETS, *plain_nets(cells)]:
        records = [record for technique in TECHNIQUES for record in entrant(cells, technique, net).records.values()]
        costs = cost_rows(records or [None], region=region, intensity=intensity)
        absent = [name for told in costs["missing"] for name in told.split(", ") if name]
        rows.append(
            {
                "net": net,
                "encoder": _encoder(cells, net),
                "image size": float(costs["image size"].iloc[0]),
                "n": len(records),
                **{column: float(costs[column].median()) for column in OF_NET},  # of most runs: Split-Brain's halves are another net
                **{column: float(costs[column].mean()) for column in OF_RUN},
                "energy is": ", ".join(sorted(set(costs["energy is"]))),
                "published CO2 (kg)": paper["co2"]["per_architecture"].get(net, np.nan),
                "published MACs (M), 224 px": paper["flops"].get(net, np.nan) / 1e6,
                "missing": ", ".join(dict.fromkeys(absent)) if records else "every run",
            }
        )
        runs += [record.id for record in records]
    return pd.DataFrame(rows), runs


def confusion_table(cells: pd.DataFrame, readout: str = "linear", count: int = 3) -> Table:
    """The pairs of classes that each technique mixes up most, over all nets and seeds (% of the one called the other, and back)."""
    rows, runs = [], []
    for technique in (*TECHNIQUES, "all"):
        arms = grid(cells, TECHNIQUES if technique == "all" else (technique,))
        matrix, classes, used = confusion_of(arms, readout)
        pairs = most_confused(matrix, classes, count) if used else []
        told = [f"{a} / {b}: {there:.0f} and {back:.0f}" for a, b, there, back in pairs]
        ranked = by_accuracy(matrix, classes) if used else []
        ends = [f"{name} {value:.0f} %" for name, value in (ranked[0], ranked[-1])] if ranked else ["missing", "missing"]
        collapsed = sum(arm.collapsed for arm in arms)
        rows.append(
            {
                "technique": technique,
                **{f"pair {place + 1}": told[place] if place < len(told) else "missing" for place in range(count)},
                "most accurate": ends[0],
                "least accurate": ends[1],
                "n": len(used),
                "note": f"{collapsed} collapsed" if collapsed else "",
            }
        )
        runs += used if technique == "all" else []
    return pd.DataFrame(rows), runs


def contradictions_table() -> Table:
    """Where the paper's text and its own tables or figures disagree."""
    return pd.DataFrame(published()["contradictions"]).rename(columns={"text": "the text says", "shows": "but"}), []


def _arms(cells: pd.DataFrame, techniques=TECHNIQUES) -> list[tuple[str, str, Arm]]:
    """The grid, then the plain nets."""
    return [(technique, net, entrant(cells, technique, net)) for net in [*NETS, *plain_nets(cells)] for technique in techniques]


def _runs(cells: pd.DataFrame) -> list[str]:
    return [run for _, _, arm in _arms(cells) for run in arm.runs]


def _note(arm: Arm, readout: str, measured: int) -> str:
    if not arm.records:
        return "missing"
    return arm.flag if measured else f"not measured: {readout}"


def _encoder(cells: pd.DataFrame, net: str) -> str:
    """What stood in the cells of a net, with its width where that is not the net's own; the name is known without a record too."""
    here = cells[cells["backbone"] == net]
    configs = (record.config.get("encoder", {}) for record in here["record"] if hasattr(record, "config"))
    width = next((config.get("options", {}).get("width") for config in configs), None)
    names = here["encoder"].dropna()
    return (str(names.iloc[0]) if len(names) else "missing") + (f" x{width:g}" if width else "")


def _headed(cells: pd.DataFrame, net: str) -> str:
    return f"{net} ({_encoder(cells, net)})"


def _tenth(value: float | None) -> str:
    return "missing" if value is None else f"{value:.1f}"


def _on_the_labelled(arm: Arm, readout: str) -> float | None:
    found = [record.evaluations.get(readout, {}) for record in arm.sound]
    kept = [each["train_top1"] for each in found if "train_top1" in each]
    return float(np.mean(kept)) if kept else None


def _number(value) -> float:
    return np.nan if value is None else float(value)
