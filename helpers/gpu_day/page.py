"""What a day on a GPU found, as a page: written from its folder's files, so that it can be written again and compared."""

from pathlib import Path

from helpers.bench import speed_table
from helpers.bench.rows import lines
from helpers.core.files import json_lines, read_json, results_dir
from helpers.gpu_day import check as gpu_check

STEPS = ("check", "speed", "sharing", "race", "runs")
SHOWN = 20  # failures that are told one by one
CHECK, SPEED, STATE, LOG, REPORT = "check.jsonl", "speed.jsonl", "day.json", "log.txt", "report.md"


def days() -> list[Path]:
    """The folders of the days there are, the newest last."""
    return sorted(path.parent for path in (results_dir() / "gpu_day").glob(f"*/{STATE}"))


def page(folder: Path) -> str:
    """The whole of it."""
    state = read_json(folder / STATE)
    parts = [
        f"# A day on {state['device']['name']}",
        f"Written by `make gpu-day`: {state['minutes']:g} minutes asked for, size *{state['size']}*, begun {state['started']}, code {state['code']['source']}, "
        f"{', '.join(f'{name} {number}' for name, number in state['versions'].items())}.",
        *(f"**Careful.** {text}" for text in state["warnings"]),
        lines(steps(state)),
        "## What CUDA gives beside the CPU" if state["device"]["type"] == "cuda" else "## The tests that a GPU would run, here on the CPU",
        _check(folder / CHECK),
        "## Speed",
        _speed(folder / SPEED),
        *_sharing(state),
        "## Runs",
        _runs(state),
    ]
    troubles = [f"### {name}\n\n```\n{step['traceback'].strip()}\n```" for name, step in state["steps"].items() if step.get("traceback")]
    if troubles:
        parts += ["## Tracebacks", *troubles]
    return "\n\n".join(part for part in parts if part) + "\n"


def steps(state: dict) -> list[dict]:
    """A row a step, in their order."""
    there = [(name, state["steps"][name]) for name in STEPS if name in state["steps"]]
    return [
        {"step": f"{name}: {step.get('said', '')}", "state": step["state"], "s": f"{step.get('seconds', 0):.0f}"} for name, step in there
    ]


def _check(file: Path) -> str:
    failed = list(gpu_check.failures(file))
    text = f"{gpu_check.summary(file)}."
    if failed:
        text += "\n\n" + "\n".join(f"* `{row['test'].rpartition('::')[2]}`: {row.get('reason', '')}" for row in failed[:SHOWN])
        text += f"\n* and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
    return text


def _speed(file: Path) -> str:
    rows = list(json_lines(file))
    table = speed_table.table(rows)
    if not table:
        return "Nothing was measured."
    failed = [
        f"* {row['backbone']}, batch {row['batch']}, {speed_table.WAYS[row['way']]}: {row['failed']}" for row in rows if "failed" in row
    ]
    about = (
        "Source images a second, SimCLR with two views at 32 px, medians of some short windows; an image counts once. *Seconds an epoch* and "
        "*x standard* are of the faster of our two whole steps. The standard approach fights for the host's cores, so its factor holds there alone. "
        + "; ".join(f"*{speed_table.HEADS[way]}*: {text}" for way, text in speed_table.WAYS.items())
        + "."
    )
    return "\n\n".join([about, lines(table), *(["\n".join(failed)] if failed else [])])


def _sharing(state: dict) -> list[str]:
    found = state.get("sharing")
    if not found:
        return []
    one = found["rates"]["1"]
    told = ", ".join(f"{count}: {rate:,.0f} images/s ({rate / one:.2f} x)" for count, rate in found["rates"].items())
    return [f"Processes that share the device, {found['case']}: {told}. Runs went on {state['workers']} at a time."]


def _runs(state: dict) -> str:
    text = []
    if race := state.get("race"):
        text.append(f"The race: {race['said']}.")
    if plan := state.get("plan"):
        rows = [
            {
                "claim": each["claim"],
                "study": each["study"],
                "runs": each["runs"],
                "minutes expected": f"{each['minutes']:.1f}",
                "done": each["done"],
            }
            for each in plan
        ]
        text.append(lines(rows))
    if skipped := state.get("skipped"):
        text.append("\n".join(f"* {name}: {why}" for name, why in skipped.items()))
    trained = state.get("trained", [])
    text.append(f"{len(trained)} runs were trained: {', '.join(f'`{run}`' for run in trained)}." if trained else "No run was trained.")
    if failures := state.get("failures"):
        text.append("\n".join(f"* `{run}` failed: {why.splitlines()[0]}" for run, why in failures.items()))
    return "\n\n".join(text)
