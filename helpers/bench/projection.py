"""How long training would take on a chip that is not at hand: operations and bytes are counted, the chip's data sheet says the rest.

A projection, never a measurement. Each operation takes the longest of three times: its arithmetic, its memory traffic, its launch.
It orders what is tried first once there is a card: which nets, how the race makes its views, which of its recipes.
"""

import argparse
from dataclasses import dataclass

import torch

from helpers.bench.rows import lines, written
from helpers.core.errors import pick
from helpers.core.files import results_dir
from helpers.methods import METHODS, Method
from helpers.models import build_encoder
from helpers.runs.config import RunConfig
from helpers.runs.counting import Chip, Counts, count_forward, count_step, count_views
from helpers.studies.open import preset_values
from helpers.studies.speedrun.runs import race_config, trial_config
from helpers.studies.speedrun.settings import RACED, Settings
from helpers.training.growing import side_at
from helpers.views import make_views

EPOCH, TEST, SIDE = 50_000, 10_000, 32  # CIFAR-10's images, and their side
NETS, BATCHES = ("resnet18", "resnet50", "vit_tiny", "convnext_tiny"), (512, 128)
RACED_NET, RACED_BATCHES = "resnet18", (128, 256, 512, 1024)
READ = 512  # images a forward pass of a probe
# How the race may make its views: large ones, small ones of half their side, and the large ones' side.
WAYS = {
    "2 views": (2, 0, 32),
    "4 views": (4, 0, 32),
    "2 views and 4 of half the side": (2, 4, 32),
    "2 views and 6 of half the side": (2, 6, 32),
    "2 views and 8 of half the side": (2, 8, 32),
    "2 views of 16 px": (2, 0, 16),
    "2 views of 24 px": (2, 0, 24),
    "20 views of 16 px": (20, 0, 16),
}
CHIPS = {
    "h100": Chip("NVIDIA H100 80 GB SXM", 989.5e12, 3.35e12),
    "h200": Chip("NVIDIA H200 SXM", 989.5e12, 4.8e12),
    "a100": Chip("NVIDIA A100 80 GB SXM", 312e12, 2.04e12),
}


@dataclass(frozen=True)
class Step:
    """A training step on paper: its counts without the views, and its seconds, as a graph by what limits them and launched one by one."""

    counts: Counts
    of_views: Counts
    limits: dict[str, float]
    eager: float

    @property
    def graph(self) -> float:
        return sum(self.limits.values())


def step_on_paper(method: Method, batch: int, chip: Chip, optimizer: str = "adamw") -> Step:
    """A step with the views that the method's recipe makes; in a graph they are one kernel a size: bytes in, floats out."""
    method, sides = method.to(memory_format=torch.channels_last), method.views.sizes  # as training has it
    of_views, of_step = count_views(method.views, batch), count_step(method, batch, optimizer=optimizer)
    fused = (0, batch * sum(3 * side**2 for side in sides) * (1 + 4), len(set(sides)))
    limits = Counts([*of_step.kernels, fused]).seconds_by_limit(chip, chip.launch_in_graph)
    return Step(of_step, of_views, limits, of_step.seconds(chip, chip.launch) + of_views.seconds(chip, chip.launch))


def an_epoch(method: Method, batch: int, chip: Chip) -> dict:
    """Operations, bytes and kernels of a step, and seconds an epoch of EPOCH images: eager, as a graph, and by what limits that."""
    step, steps = step_on_paper(method, batch, chip), EPOCH // batch
    return {
        "batch": batch,
        "seconds_an_epoch_eager": round(steps * step.eager, 2),
        "seconds_an_epoch_graph": round(steps * step.graph, 2),
        "seconds_an_epoch_arithmetic_alone": round(steps * step.counts.flops / chip.matrix, 2),
        "views_a_second_graph": round(batch * len(method.views.sizes) / step.graph),
        "flops_per_step": step.counts.flops,
        "bytes_per_step": step.counts.bytes,
        "kernels_per_step": step.counts.launches,
        "kernels_of_views": step.of_views.launches,
        "share": {name: round(spent / step.graph, 3) for name, spent in step.limits.items()},
    }


def of_net(net: str, batch: int, chip: Chip) -> dict:
    method = METHODS["simclr"](build_encoder(net, SIDE), make_views("contest", SIDE), temperature=0.1)
    return {"backbone": net, "stem": method.encoder.stem} | an_epoch(method, batch, chip)


def of_race(way: str, batch: int, chip: Chip) -> dict:
    """A step of the race's net with these views."""
    count, small, side = WAYS[way]
    views = make_views("simclr_small", side, count=count, small=small, small_side=0.5)
    method = METHODS["simclr"](build_encoder(RACED_NET, SIDE), views, temperature=0.2, hidden=1024)
    return {"views": way} | an_epoch(method, batch, chip)


def recipes_on_paper(s: Settings, chip: Chip) -> list[dict]:
    """The race itself on all of train, then each candidate's trial on what the held-out slice leaves of it."""
    whole = s.train_images or EPOCH
    held = (s.trial_images or whole) - s.validation
    trials = {f"trial: {name}": trial_config(s, name) for name in (RACED, *s.candidates)}
    return [
        recipe_on_paper("the race", race_config(s, seed=0), whole, chip),
        *(recipe_on_paper(name, config, held, chip) for name, config in trials.items()),
    ]


def recipe_on_paper(name: str, config: RunConfig, images: int, chip: Chip) -> dict:
    """Seconds of a whole run's steps, at the sizes that its views have by and by, and of the forward passes of its probes."""
    asked, steps = config.training, images // config.training.batch_size
    sides = [side_at(asked.sizes, epoch, asked.epochs) or SIDE for epoch in range(asked.epochs)]
    made = {side: step_on_paper(_method(config, side), asked.batch_size, chip, asked.optimizer) for side in set(sides)}
    every = config.evaluation.probe_every
    probes = -(-asked.epochs // every) if every else 0  # the last epoch is always read
    reading = _forward(_method(config, SIDE), chip) * probes
    return {
        "recipe": name,
        "epochs": asked.epochs,
        "batch": asked.batch_size,
        "steps": steps * asked.epochs,
        "kernels_per_step": max(step.counts.launches for step in made.values()),
        "flops": steps * sum(made[side].counts.flops for side in sides),
        "seconds_graph": round(steps * sum(made[side].graph for side in sides), 3),
        "seconds_eager": round(steps * sum(made[side].eager for side in sides), 3),
        "seconds_of_probes": round(reading, 2),
    }


def _method(config: RunConfig, side: int) -> Method:
    encoder = build_encoder(config.encoder.name, SIDE, stem=config.encoder.stem, **config.encoder.options)
    return METHODS[config.method.name](encoder, make_views(config.views.recipe, side, **config.views.options), **config.method.options)


def _forward(method: Method, chip: Chip) -> float:
    """Seconds of reading train and test once; finding the neighbours is some hundredths of that and left out."""
    counts = count_forward(method, READ)
    return counts.seconds(chip, chip.launch) * (EPOCH + TEST) / READ


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("chip", help=", ".join(CHIPS))


def run(given: argparse.Namespace) -> int:
    print("Read it:", *project(given.chip))
    return 0


def project(chip_name: str) -> tuple[str, str]:
    """Every net, way to make views and recipe on a chip, into results/bench/projection-<chip>.json and .md."""
    chip = pick("chip", chip_name, CHIPS)
    found = {
        "rows": [of_net(net, batch, chip) for net in NETS for batch in BATCHES],
        "race": [of_race(way, batch, chip) for way in WAYS for batch in RACED_BATCHES],
        "recipes": recipes_on_paper(Settings(**preset_values("speedrun", "gpu", "as_written")), chip),
    }
    path = results_dir() / "bench" / f"projection-{chip_name}.json"
    content = {"projection": True, "measured": False, "chip": vars(chip), "images_an_epoch": EPOCH, "precision": "bf16", **found}
    return written(path, content, page(chip, chip_name, **found))


def page(chip: Chip, chip_name: str, rows: list[dict], race: list[dict], recipes: list[dict]) -> str:
    parts = [
        f"# Projection, never measured: {chip.name}",
        f'Written by `make bench ARGS="projection {chip_name}"`. Seconds an epoch of {EPOCH:,} images of {SIDE} px in bf16, from counted operations '
        f"and bytes and the chip's data sheet ({chip.matrix / 1e12:,.1f} TFLOP/s dense bf16, {chip.bandwidth / 1e12:.2f} TB/s). Assumed, not measured: "
        f"{chip.matrix_share:.0%} of that arithmetic and {chip.bandwidth_share:.0%} of that bandwidth are reached, a kernel takes at least "
        f"{chip.launch * 1e6:.1f} µs launched by itself (eager) and {chip.launch_in_graph * 1e6:.1f} µs in a graph. *Graph*: the step as one CUDA "
        "graph, its elementwise operations not fused, the views in one kernel a size. *Arithmetic alone*: the whole of the data sheet's figure "
        "and nothing else, a limit that nothing reaches. *Limited by*: the share of a graph's time in kernels that wait for arithmetic, for memory, "
        "for their launch.",
        "## SimCLR with two views, by net",
        lines([{"net (stem)": f"{r['backbone']} ({r['stem']})"} | _told(r) for r in rows]),
        f"## The race on paper, by views: SimCLR with a {RACED_NET}, stem for small images, projector 1024 to 128, AdamW",
        lines([{"views": r["views"]} | _told(r) for r in race]),
        "## The recipes of the race's preset `gpu`",
        "Whole runs, each with its own optimizer: the race on all of train, the candidates at the length of their trials. Not in these seconds: "
        "starting a process, compiling (once for every size of the views, with nothing kept from earlier runs), reading the images, the final "
        "evaluation. They say what a run costs, not what it learns.",
        lines([_told_recipe(r) for r in recipes]),
    ]
    return "\n\n".join(parts) + "\n"


def _told(r: dict) -> dict:
    return {
        "batch": r["batch"],
        **{f"{kind.replace('_', ' ')}, s": f"{r[f'seconds_an_epoch_{kind}']:.2f}" for kind in ("eager", "graph", "arithmetic_alone")},
        "views a second (graph)": f"{r['views_a_second_graph']:,}",
        "GFLOP a step": f"{r['flops_per_step'] / 1e9:,.0f}",
        "GB moved a step": f"{r['bytes_per_step'] / 1e9:.1f}",
        "kernels a step": f"{r['kernels_per_step']:,}",
        "of views": f"{r['kernels_of_views']:,}",
        "limited by": ", ".join(f"{name} {part:.0%}" for name, part in r["share"].items()),
    }


def _told_recipe(r: dict) -> dict:
    same = {
        "run": r["recipe"],
        "epochs": r["epochs"],
        "batch": r["batch"],
        "steps": f"{r['steps']:,}",
        "PFLOP": f"{r['flops'] / 1e15:,.1f}",
    }
    seconds = {"training as graphs, s": "seconds_graph", "training eager, s": "seconds_eager", "probes, s": "seconds_of_probes"}
    return same | {"kernels a step": f"{r['kernels_per_step']:,}"} | {name: f"{r[key]:.0f}" for name, key in seconds.items()}
