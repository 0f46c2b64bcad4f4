"""What further seeds of a claim would cost, from what its seeds cost here. A projection: seeds are taken to cost alike, and so are machines.

On this machine it is the measured seconds of the claim's runs, each times its threads. On an H100 it is the training's counted operations
at the smallest share of the card's arithmetic that any net reaches on paper (results/bench/projection-h100.json), readouts left out.
"""

import functools

from helpers.core.files import read_json, results_dir
from helpers.runs import records

CARD = "h100"
CORES = 2  # of the machine that hours are told of


def cost(runs: list[str], needs: int) -> str:
    """Of the seeds that a claim's runs lack to so many; "" where no record tells."""
    found = [record.manifest for run in runs if (record := records.find(run)) is not None]
    seeds = len({manifest.get("seed") for manifest in found})
    more = needs - seeds
    if not found or more <= 0:
        return ""
    words = []
    if all("seconds" in each and each.get("device", {}).get("threads") for each in found):
        seconds = sum(each["seconds"] * each["device"]["threads"] for each in found) / CORES / seeds * more
        words.append(f"{seconds / 3600:.2g} h of {CORES} cores")
    if (speed := flops_a_second()) and all(each.get("training_flops") for each in found):
        minutes = sum(each["training_flops"] for each in found) / speed / 60 / seeds * more
        words.append(f"{minutes:.2g} min of an {CARD.upper()}")
    return f"{more} more: {', '.join(words)}" if words else ""


def flops_a_second() -> float | None:
    """None where no projection lies there."""
    path = results_dir() / "bench" / f"projection-{CARD}.json"
    return _speed(path, path.stat().st_mtime_ns) if path.is_file() else None


@functools.lru_cache(maxsize=1)
def _speed(path, changed: int) -> float:
    projection = read_json(path)
    rows = [row for row in projection["rows"] if row["seconds_an_epoch_graph"]]
    return projection["chip"]["matrix"] * min(row["seconds_an_epoch_arithmetic_alone"] / row["seconds_an_epoch_graph"] for row in rows)
