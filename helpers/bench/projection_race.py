"""The race on paper: what a step of it costs on a chip that is not at hand, by batch, views and their sizes, and what limits it.

A projection, never a measurement (see projection.py for its assumptions). It orders what is tried first once there is a card.
"""

from dataclasses import dataclass

from helpers.bench.projection import CHIPS, EPOCH
from helpers.core.errors import pick
from helpers.core.files import results_dir, shown, write_json, write_text
from helpers.methods import METHODS, Method
from helpers.models import build_encoder
from helpers.runs.config import RunConfig
from helpers.runs.counting import Chip, Counts, count_forward, count_step, count_views
from helpers.studies.open import preset_values
from helpers.studies.speedrun.runs import race_config, trial_config
from helpers.studies.speedrun.settings import RACED, Settings
from helpers.training.growing import side_at
from helpers.views import make_views

NET = "resnet18"
BATCHES = (128, 256, 512, 1024)
SIDE, TEST = 32, 10_000  # of CIFAR-10's images, and how many there are in its test set
READ = 512  # images a forward pass of a probe
# How views are made: large ones, small ones of half their side, and the large ones' side.
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


@dataclass(frozen=True)
class Step:
    """A training step on paper: its counts without the views, and its seconds, as a graph by what limits them and launched one by one."""

    counts: Counts
    limits: dict[str, float]
    eager: float

    @property
    def graph(self) -> float:
        return sum(self.limits.values())


def step_on_paper(method: Method, batch: int, chip: Chip, optimizer: str = "adamw") -> Step:
    """A step with the views that the method's recipe makes; in a graph they are one kernel a size: bytes in, floats out."""
    sides = method.views.sizes
    of_views, of_step = count_views(method.views, batch), count_step(method, batch, optimizer=optimizer)
    fused = (0, batch * sum(3 * side**2 for side in sides) * (1 + 4), len(set(sides)))
    limits = Counts([*of_step.kernels, fused]).seconds_by_limit(chip, chip.launch_in_graph)
    return Step(of_step, limits, of_step.seconds(chip, chip.launch) + of_views.seconds(chip, chip.launch))


def case(way: str, batch: int, chip: Chip) -> dict:
    """A step of the race's net with these views: operations, bytes, kernels, and seconds an epoch, in all and by what limits."""
    count, small, side = WAYS[way]
    views = make_views("simclr_small", side, count=count, small=small, small_side=0.5)
    method = METHODS["simclr"](build_encoder(NET, 32), views, temperature=0.2, hidden=1024)
    step, steps = step_on_paper(method, batch, chip), EPOCH // batch
    return {
        "views": way,
        "batch": batch,
        "flops_per_step": step.counts.flops,
        "bytes_per_step": step.counts.bytes,
        "kernels_per_step": step.counts.launches,
        "seconds_an_epoch_eager": round(steps * step.eager, 2),
        "seconds_an_epoch_graph": round(steps * step.graph, 2),
        "seconds_an_epoch_arithmetic_alone": round(steps * step.counts.flops / chip.matrix, 2),
        "views_a_second_graph": round(batch * len(views.sizes) / step.graph),
        "share": {name: round(spent / step.graph, 3) for name, spent in step.limits.items()},
    }


def project_race(chip_name: str) -> tuple[str, str]:
    """Every way and batch, and every recipe of preset `gpu`, into results/bench/race-on-paper-<chip>.json and .md."""
    chip = pick("chip", chip_name, CHIPS)
    rows = [case(way, batch, chip) for way in WAYS for batch in BATCHES]
    recipes = recipes_on_paper(Settings(**preset_values("speedrun", "gpu", "as_written")), chip)
    path = results_dir() / "bench" / f"race-on-paper-{chip_name}.json"
    content = {"projection": True, "measured": False, "chip": vars(chip), "images_an_epoch": EPOCH, "rows": rows, "recipes": recipes}
    return shown(write_json(path, content)), shown(write_text(path.with_suffix(".md"), page(chip, chip_name, rows, recipes)))


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


def page(chip: Chip, chip_name: str, rows: list[dict], recipes: list[dict]) -> str:
    head = (
        f"# The race on paper, never measured: {chip.name}\n\nWritten by `python -m helpers.commands.bench --project {chip_name}`. SimCLR with a {NET} "
        f"(stem for small images, projector 1024 to 128, AdamW) in bf16, seconds an epoch of {EPOCH:,} images, as one CUDA graph with the views in one "
        f"kernel a size and launched one by one (eager). Assumed: {chip.matrix_share:.0%} of {chip.matrix / 1e12:,.0f} TFLOP/s and "
        f"{chip.bandwidth_share:.0%} of {chip.bandwidth / 1e12:.2f} TB/s are reached, a kernel takes at least {chip.launch_in_graph * 1e6:.1f} µs in a "
        f"graph and {chip.launch * 1e6:.1f} µs by itself; elementwise operations are not fused. *Arithmetic alone*: all of the data sheet's figure and "
        "nothing else, a limit that nothing reaches. *Limited by*: the share of a graph's time in kernels that wait for arithmetic, for memory, for "
        "their launch.\n"
    )
    table = [
        "| views | batch | graph, s | eager, s | arithmetic alone, s | views a second (graph) | GFLOP a step | GB a step | kernels a step | limited by |"
    ]
    table.append("| --- |" + " ---: |" * 8 + " --- |")
    for r in rows:
        share = ", ".join(f"{name} {part:.0%}" for name, part in r["share"].items())
        times = " | ".join(f"{r[f'seconds_an_epoch_{kind}']:.2f}" for kind in ("graph", "eager", "arithmetic_alone"))
        table.append(
            f"| {r['views']} | {r['batch']} | {times} | {r['views_a_second_graph']:,} | {r['flops_per_step'] / 1e9:,.0f} | "
            f"{r['bytes_per_step'] / 1e9:.1f} | {r['kernels_per_step']:,} | {share} |"
        )
    return head + "\n" + "\n".join(table) + "\n\n" + recipes_page(recipes)


def recipes_page(recipes: list[dict]) -> str:
    text = (
        "## The recipes of preset `gpu`\n\nWhole runs, each with its own optimizer: the race on all of train, the candidates at the length of their "
        "trials. Not in these seconds: starting a process, compiling (once for every size of the views, with nothing kept from earlier runs), reading the images, the final evaluation. "
        "They say what a run costs, not what it learns.\n"
    )
    table = ["| run | epochs | batch | steps | PFLOP | kernels a step | training as graphs, s | training eager, s | probes, s |"]
    table.append("| --- |" + " ---: |" * 8)
    for r in recipes:
        table.append(
            f"| {r['recipe']} | {r['epochs']} | {r['batch']} | {r['steps']:,} | {r['flops'] / 1e15:,.1f} | {r['kernels_per_step']:,} | "
            f"{r['seconds_graph']:.0f} | {r['seconds_eager']:.0f} | {r['seconds_of_probes']:.0f} |"
        )
    return text + "\n" + "\n".join(table) + "\n"
