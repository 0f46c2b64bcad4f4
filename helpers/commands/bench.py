"""Speed and memory, ours and the standard approach in turns: python -m helpers.commands.bench [--backbone NAME] [--batch N] ...

Every number is SOURCE images a second: an image counts once, however many views are made of it.
"""

import argparse
import itertools
import json
import re
import resource
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from helpers.commands import bench_standard as standard
from helpers.core.devices import describe, good_at_bf16, pick_device
from helpers.core.errors import DataError, RecordError, UserError
from helpers.core.files import read_json, results_dir, shown, write_json, write_text
from helpers.data import Batches, load
from helpers.methods import METHODS
from helpers.models import build_encoder
from helpers.training import Training, TrainSettings
from helpers.views import make_views

SIZE, STEM, RECIPE, TEMPERATURE = 32, "cifar", "contest", 0.1
WHAT = {
    "bound": "training step alone, on tensors that are ready",
    "views": "data and views alone",
    "end_to_end": "all of it: data, views, loss, backward, optimizer",
    "standard": f"standard approach, all of it ({standard.WORKERS} workers)",
    "views_standard": f"standard approach, data and views alone ({standard.WORKERS} workers)",
}


class Ours:
    """Our pipeline, with its real loop, and two ways to run a part of it."""

    def __init__(self, backbone: str, batch: int, device: torch.device, split):
        self.batches = Batches(split, batch, device, seed=0)
        self.training = Training(simclr(backbone), self.batches, TrainSettings(epochs=10_000), device)
        self.method = self.training.method.train()
        self.views = self.method.views
        self.stream = itertools.chain.from_iterable(self.batches.epoch(epoch) for epoch in itertools.count())
        self.draw = torch.Generator(device).manual_seed(0)
        self.batch = next(self.stream)
        self.ready = self.views(self.batch.images, self.draw)

    def end_to_end(self) -> None:
        self.training.take([next(self.stream)])

    def bound(self) -> None:
        """The same step, its views made beforehand."""
        self.method.views = lambda images, generator: self.ready
        self.training.take([self.batch])
        self.method.views = self.views

    def data_and_views(self) -> None:
        self.views(next(self.stream).images, self.draw)


def simclr(backbone: str):
    return METHODS["simclr"](build_encoder(backbone, SIZE, stem=STEM), make_views(RECIPE, SIZE), temperature=TEMPERATURE)


def rate(step: Callable[[], None], batch: int, seconds: float, device: torch.device) -> float:
    """Source images a second, over as many steps as fit into the time, at least one."""
    _wait(device)
    steps, started = 0, time.perf_counter()
    while steps == 0 or time.perf_counter() - started < seconds:
        step()
        _wait(device)
        steps += 1
    return steps * batch / (time.perf_counter() - started)


def measure(backbone: str, batch: int, repeats: int, seconds: float, device: torch.device) -> dict:
    """Every measurement once a round, round after round, so that what else the machine does hits all of them alike."""
    split = load("embedded", image_size=SIZE).split("train")
    if len(split.images) < batch:
        raise UserError(f"batch = {batch} is larger than the embedded dataset ({len(split.images)} images). Lower it.")
    ours = Ours(backbone, batch, device, split)
    ours.end_to_end()  # allocations and kernel choices of the first step are not speed
    flops = _flops(ours.bound)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    pairs = standard.Pairs(split.images, standard.recipe(ours.views.settings, SIZE))
    step = standard.Step(simclr(backbone), device)

    def standard_rate(work: Callable, seconds: float) -> float:
        # Workers are started for this measurement only, so that they neither disturb ours nor work ahead meanwhile; one
        # step is not timed, in which they fill their queue.
        source = standard.stream(pairs, batch)
        work(next(source))
        return rate(lambda: work(next(source)), batch, seconds, device)

    rounds = {name: [] for name in WHAT}
    for number in range(repeats):
        print(f"round {number + 1} of {repeats}", flush=True)
        rounds["bound"].append(rate(ours.bound, batch, seconds, device))
        rounds["standard"].append(standard_rate(step, seconds))
        rounds["end_to_end"].append(rate(ours.end_to_end, batch, seconds, device))
        rounds["views_standard"].append(standard_rate(lambda views: None, seconds / 2))
        rounds["views"].append(rate(ours.data_and_views, batch, seconds / 2, device))
    return row(backbone, batch, rounds, flops, peak, device)


def row(backbone: str, batch: int, rounds: dict[str, list[float]], flops: int, peak: int, device: torch.device) -> dict:
    """What is reported: medians, the spread of each (largest minus smallest over the median), ratios taken round by round."""
    medians = {name: statistics.median(rates) for name, rates in rounds.items()}

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(rounds[one], rounds[other], strict=True))

    return {
        "method": "simclr",
        "backbone": backbone,
        "stem": STEM,
        "size": SIZE,
        "batch": batch,
        "precision": "bf16" if good_at_bf16(device.type) else "fp32",
        **{name: round(value, 1) for name, value in medians.items()},
        "lightly": None,
        "ratio_to_bound": round(ratio("end_to_end", "bound"), 3),
        "ratio_to_standard": round(ratio("end_to_end", "standard"), 3),
        "ratio_of_views": round(ratio("views", "views_standard"), 3),
        "share_of_data_and_views": round(ratio("bound", "views"), 4),  # seconds of data and views over seconds of the bare step
        "flops_per_second": round(flops * medians["end_to_end"] / batch),
        "peak_memory": peak,
        "spread": {name: round((max(rates) - min(rates)) / medians[name], 3) for name, rates in rounds.items()},
        "rounds": len(rounds["bound"]),
        "device": describe(device),
        "torch": torch.__version__,
    }


def table(rows: list[dict]) -> str:
    """The rows as Markdown, a section each."""
    parts = ["# Speed and memory\n\nWritten by `make bench`. Source images a second, medians over rounds in which all took turns.\n"]
    for r in rows:
        parts.append(f"## SimCLR, {r['backbone']} ({r['stem']} stem), {r['size']} px, batch {r['batch']}, on {r['device']['name']}\n")
        parts.append("| what | images/s | spread |\n|---|---|---|")
        parts += [f"| {text} | {r[name]:,.1f} | {r['spread'][name]:.0%} |" for name, text in WHAT.items()]
        parts.append(
            f"\nEnd to end is {r['ratio_to_standard']:.2f} times the standard approach and {r['ratio_to_bound']:.1%} of the bound; the "
            f"views are {r['ratio_of_views']:.1f} times torchvision's PIL pipeline; data and views cost {r['share_of_data_and_views']:.1%} "
            f"of a training step. {r['flops_per_second'] / 1e9:,.0f} GFLOP/s, peak memory {r['peak_memory'] / 1e9:.2f} GB, "
            f"{r['precision']}, torch {r['torch']}, {r['rounds']} rounds.\n"
        )
    return "\n".join(parts)


def save(new: dict) -> tuple[str, str]:
    """Into results/bench/<device>.json and .md, in place of the earlier row of the same case."""
    slug = re.sub(r"[^a-z0-9]+", "-", new["device"]["name"].lower()).strip("-") or new["device"]["type"]
    path = results_dir() / "bench" / f"{slug}.json"
    case = [new[key] for key in ("method", "backbone", "size", "batch")]
    kept = [old for old in (read_json(path) if path.exists() else []) if [old[k] for k in ("method", "backbone", "size", "batch")] != case]
    rows = sorted([*kept, new], key=lambda r: (r["backbone"], r["batch"]))
    return shown(write_json(path, rows)), shown(write_text(path.with_suffix(".md"), table(rows)))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m helpers.commands.bench", description="Measure speed and memory.")
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5, help="rounds")
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement in a round; at least one step is taken")
    parser.add_argument("--device", default="auto")
    given = parser.parse_args(arguments)
    try:
        if given.batch < 2 or given.repeats < 1:
            raise UserError(f"--batch {given.batch} --repeats {given.repeats}: give a batch of at least 2 and at least one round.")
        measured = measure(given.backbone, given.batch, given.repeats, given.seconds, pick_device(given.device))
        written = save(measured)
    except (UserError, DataError, RecordError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    print(json.dumps({key: measured[key] for key in measured if key not in ("device", "spread")}, indent=1))
    print(table([measured]).split("\n\n", 2)[2])
    print("Read it:", *written)
    return 0


def _flops(step: Callable[[], None]) -> int:
    """Of one training step, forward and backward; a multiplication and its addition are two."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    sys.exit(main())
