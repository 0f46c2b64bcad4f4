"""The speed of the nets that matter in two minutes, beside the standard approach: one measurement after another into a file, most telling
first, until the time is up. python -m helpers.bench.speed_table FILE --seconds 120 [--device D] [--size toy]

`make bench` measures a case with more care and takes minutes for it. Here a machine is rented by the minute, so each measurement is
short, every one is kept as soon as it is made, and one that ends the process costs only itself: call again and it goes on behind it.
"""

import argparse
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from helpers.bench import standard
from helpers.bench.cases import Case, make_case
from helpers.bench.steps import Bare, Ours, Setting, rate
from helpers.core.devices import device_lost, pick_device, wait
from helpers.core.errors import answered
from helpers.core.files import append_json, json_lines, without_places
from helpers.data import Split, load
from helpers.methods import StepBatch

# What is measured of a case, in images a second: how it is called over a column, and on the page.
CALLED = {
    "end_to_end": ("whole", "whole step, as studies run it"),
    "end_to_end_graphs": ("whole, graphs", "whole step, compiled, as CUDA graphs"),
    "standard": ("standard", "standard approach: PIL in one worker a core, fp32"),
    "bound": ("bare", "bare step on views that lie ready"),
    "bound_graphs": ("bare, graphs", "bare step, compiled, as CUDA graphs"),
    "views": ("views", "data and views alone"),
    "plain": ("plain", "whole step in fp32, nothing that makes it fast"),
    "bound_compiled": ("bare, compiled", "bare step, compiled"),
    "bound_chosen": ("bare, chosen", "bare step, cuDNN choosing kernels by trial"),
}
HEADS, WAYS = ({way: words[place] for way, words in CALLED.items()} for place in (0, 1))
COMPILED = ("end_to_end_graphs", "bound_graphs", "bound_compiled")
ON_GPU_ALONE = (*COMPILED, "bound_chosen")  # on two cores compiling a net takes longer than all the rest
WARM = 4  # steps before the clock: a CUDA graph is first run, then recorded, then replayed
WINDOWS, LENGTH = 3, {"full": 0.3, "toy": 0.1}  # measurements of one thing, and their seconds
LOST = 4  # the exit code where the device is gone for this process


@dataclass(frozen=True)
class Item:
    """One thing to measure."""

    case: Case
    way: str

    @property
    def key(self) -> dict:
        return asdict(self.case) | {"way": self.way}


def cases(size: str) -> list[Case]:
    if size == "toy":
        return [make_case("simclr", "resnet_tiny", "stride2", 32, 16), make_case("simclr", "vit_micro", "patch8", 32, 16)]
    nets = [("resnet18", "auto"), ("resnet50", "auto"), ("vit_small", "patch8"), ("vit_base", "patch8"), ("convnext_tiny", "auto")]
    return [make_case("simclr", net, stem, 32, batch) for batch in (512, 128) for net, stem in nets]


def plan(size: str, device: torch.device) -> list[Item]:
    """The first case in every way, then way by way through the others."""
    ways = [way for way in WAYS if device.type == "cuda" or way not in ON_GPU_ALONE]
    first, *others = cases(size)
    return [Item(first, way) for way in ways] + [Item(case, way) for way in ways for case in others]


def measure(item: Item, split: Split, device: torch.device, length: float) -> dict:
    """Images a second of one item: the median of some windows, their spread, the seconds of its first step and its memory."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = item.way == "bound_chosen"
    try:
        turn, first = _prepared(item, split, device, length)
        rates = [turn() for _ in range(WINDOWS)]
    finally:
        torch.backends.cudnn.benchmark = before
    middle = statistics.median(rates)
    return {
        "images_per_second": round(middle, 1),
        "spread": round((max(rates) - min(rates)) / middle, 3),
        "first_step_seconds": first,
        "peak_memory": torch.cuda.max_memory_allocated(device) if cuda else None,
    }


def _prepared(item: Item, split: Split, device: torch.device, length: float) -> tuple[Callable[[], float], float | None]:
    """What measures it once, and what its first step took."""
    case, way = item.case, item.way
    if way == "standard":
        settings = case.build().views.settings
        transform = standard.recipe(settings, case.size)
        items = standard.Items(split, lambda image: [transform(image) for _ in range(settings.count)])
        return standard.Loaded(items, standard.Step(case.build(), device), case.batch, length, device), None
    step = _step(case, way, split, device)
    started = time.perf_counter()
    step()
    wait(device)
    first = round(time.perf_counter() - started, 3)
    for _ in range(WARM):
        step()
    return lambda: rate(step, case.batch, length, device), first


def _step(case: Case, way: str, split: Split, device: torch.device) -> Callable[[], None]:
    options = {"plain": {"precision": "plain"}, "end_to_end_graphs": {"compile": True}}.get(way, {})
    ours = Ours(case, split, device, **options)
    if way == "views":
        return ours.data_and_views
    if not way.startswith("bound"):
        return ours
    batch = next(ours.stream)
    views = ours.views(batch.images, ours.draw)
    mode = {"bound_graphs": "reduce-overhead", "bound_compiled": "default"}.get(way)
    setting = Setting("auto", "channels_last", tuned=True, compile=mode)
    return Bare(case, setting, views, StepBatch(batch.indices, None, 0.0, ours.draw), device)


def to_do(file: Path, items: list[Item]) -> list[Item]:
    """What has no row yet. An item that was begun and has no row ended its process: it gets one that says so and is not tried again."""
    rows = list(json_lines(file))
    ended = [_key(row) for row in rows if "images_per_second" in row or "failed" in row]
    for row in rows:
        if "begun" in row and (key := row["begun"]) not in ended:
            append_json(file, key | {"failed": "the process ended in the midst of it"})
            ended.append(key)
    return [item for item in items if item.key not in ended]


def _key(row: dict) -> dict:
    return {name: row.get(name) for name in ("method", "backbone", "stem", "size", "batch", "way")}


def run(file: Path, device: torch.device, size: str, seconds: float) -> int:
    """Measure what is missing until the time is up; the exit code: 0 all there, 75 time is up, LOST."""
    until = time.monotonic() + seconds
    split = load("embedded", image_size=32).split("train")
    for item in to_do(file, plan(size, device)):
        if time.monotonic() >= until:
            return 75
        append_json(file, {"begun": item.key})
        try:
            row = measure(item, split, device, LENGTH[size])
        except Exception as error:  # one way that fails says nothing of the others
            told = without_places("".join(traceback.format_exception(error, limit=-6)))
            row = {"failed": without_places(f"{type(error).__name__}: {str(error)[:300]}"), "traceback": told}
            if device_lost(error):
                append_json(file, item.key | row)
                return LOST
        append_json(file, item.key | row)
        _forget(item)
    return 0


def warm(device: torch.device, size: str, share: int, of: int) -> int:
    """Compile every `of`-th item, from number `share` on, for the compiler's own cache on disk: who measures it later waits less."""
    split = load("embedded", image_size=32).split("train")
    for item in [item for item in plan(size, device) if item.way in COMPILED][share::of]:
        try:
            step = _step(item.case, item.way, split, device)
            step()
            wait(device)
        except Exception as error:  # whoever measures it will say it again
            print(f"{item}: {type(error).__name__}", flush=True)
        _forget(item)
    return 0


def _forget(item: Item) -> None:
    """Give memory back before the next net."""
    if item.way in COMPILED:
        torch.compiler.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def table(rows: Iterator[dict]) -> list[dict]:
    """A row a case for the page, images a second, with what a user asks first: seconds an epoch of 50,000 images, times the standard approach."""
    found: dict[tuple, dict[str, dict]] = {}
    for row in rows:
        if "way" in row:
            found.setdefault((row["backbone"], row["stem"], row["batch"]), {})[row["way"]] = row
    lines = []
    for (net, stem, batch), ways in found.items():
        speed = {way: row["images_per_second"] for way, row in ways.items() if "images_per_second" in row}
        ours = max((speed[way] for way in ("end_to_end", "end_to_end_graphs") if way in speed), default=None)
        line = {"net (stem)": f"{net} ({stem})", "batch": batch}
        line |= {HEADS[way]: f"{speed[way]:,.0f}" if way in speed else ("failed" if way in ways else "—") for way in WAYS}
        line["s an epoch"] = f"{50_000 / ours:.2f}" if ours else "—"
        line["x standard"] = f"{ours / speed['standard']:.1f}" if ours and "standard" in speed else "—"
        lines.append(line)
    return lines


@answered
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m helpers.bench.speed_table", description="Measure as much as the time allows.")
    parser.add_argument("file", type=Path, help="where the rows go, one a line; what is there is not measured again")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--size", choices=LENGTH, default="full")
    parser.add_argument("--warm", nargs=2, type=int, metavar=("SHARE", "OF"), help="measure nothing; compile a share of the items")
    given = parser.parse_args(arguments)
    device = pick_device(given.device)
    return warm(device, given.size, *given.warm) if given.warm else run(given.file, device, given.size, given.seconds)


if __name__ == "__main__":
    sys.exit(main())
