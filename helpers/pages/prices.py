"""What further seeds of a claim would cost, from what its seeds cost here. A projection: seeds are taken to cost alike, and so are machines.

On two cores it is the measured seconds of the claim's runs, each times its threads. On an H100 it is what a day on a GPU plans by before
anything was measured there (`GUESS` of helpers/gpu_day/runs.py): the training's counted operations at a rate, no step under a least time,
and a constant for images, readouts and maps.
"""

from helpers.gpu_day.runs import GUESS
from helpers.runs import records

CORES = 2


def cost(runs: list[str], needs: int) -> str:
    """Of the seeds that a claim's runs lack to so many; "" where no record tells."""
    found = [record for run in runs if (record := records.find(run)) is not None]
    seeds = len({record.manifest.get("seed") for record in found})
    more = needs - seeds
    if not found or more <= 0:
        return ""
    words = []
    for times, unit, name in ((on_cores, 3600, f"h of {CORES} cores"), (on_card, 60, "min of an H100")):
        seconds = [times(record) for record in found]
        if None not in seconds:
            words.append(f"{_short(sum(seconds) / seeds * more / unit)} {name}")
    return f"{more} more: {', '.join(words)}" if words else ""


def on_cores(record) -> float | None:
    manifest = record.manifest
    threads = manifest.get("device", {}).get("threads")
    return manifest["seconds"] * threads / CORES if threads and "seconds" in manifest else None


def on_card(record) -> float | None:
    flops = record.manifest.get("training_flops")
    if not flops or "step" not in record.metrics:
        return None
    card = GUESS["cuda"]
    return card.run + max(flops / card.flops, int(record.metrics["step"].iloc[-1]) * card.step)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
