"""The race on paper: what a step of it costs on a chip that is not at hand, by batch, views and their sizes, and what limits it.

A projection, never a measurement (see projection.py for its assumptions). It orders what is tried first once there is a card.
"""

from helpers.core.errors import pick
from helpers.core.files import results_dir, shown, write_json, write_text
from helpers.methods import METHODS
from helpers.models import build_encoder
from helpers.study.projection import CHIPS, EPOCH, Chip, Counts, count_step, count_views
from helpers.views import make_views

NET = "resnet18"
BATCHES = (128, 256, 512, 1024)
# How views are made: large ones, small ones of half their side, and the large ones' side.
WAYS = {
    "2 views": (2, 0, 32),
    "4 views": (4, 0, 32),
    "2 views and 8 of half the side": (2, 8, 32),
    "2 views of 16 px": (2, 0, 16),
    "2 views of 24 px": (2, 0, 24),
    "20 views of 16 px": (20, 0, 16),
}


def case(way: str, batch: int, chip: Chip) -> dict:
    """A step of the race's net with these views: operations, bytes, kernels, and seconds an epoch, in all and by what limits."""
    count, small, side = WAYS[way]
    views = make_views("simclr_small", side, count=count, small=small, small_side=0.5)
    method = METHODS["simclr"](build_encoder(NET, 32), views, temperature=0.2, hidden=1024)
    of_step, of_views = count_step(method, batch), count_views(views, batch)
    pixels = sum(3 * each**2 for each in views.sizes)
    graph = Counts(
        [*of_step.kernels, (0, batch * pixels * (1 + 4), len(set(views.sizes)))]
    )  # the views in one kernel a size: bytes in, floats out
    steps = EPOCH // batch
    limits = graph.seconds_by_limit(chip, chip.launch_in_graph)
    seconds = steps * sum(limits.values())
    eager = steps * (of_step.seconds(chip, chip.launch) + of_views.seconds(chip, chip.launch))
    return {
        "views": way,
        "batch": batch,
        "flops_per_step": of_step.flops,
        "bytes_per_step": of_step.bytes,
        "kernels_per_step": of_step.launches,
        "seconds_an_epoch_eager": round(eager, 2),
        "seconds_an_epoch_graph": round(seconds, 2),
        "views_a_second_graph": round(steps * batch * len(views.sizes) / seconds),
        "share": {name: round(steps * spent / seconds, 3) for name, spent in limits.items()},
    }


def project_race(chip_name: str) -> tuple[str, str]:
    """Every way and batch, into results/bench/race-on-paper-<chip>.json and .md."""
    chip = pick("chip", chip_name, CHIPS)
    rows = [case(way, batch, chip) for way in WAYS for batch in BATCHES]
    path = results_dir() / "bench" / f"race-on-paper-{chip_name}.json"
    content = {"projection": True, "measured": False, "chip": vars(chip), "images_an_epoch": EPOCH, "rows": rows}
    return shown(write_json(path, content)), shown(write_text(path.with_suffix(".md"), page(chip, rows)))


def page(chip: Chip, rows: list[dict]) -> str:
    head = (
        f"# The race on paper, never measured: {chip.name}\n\nWritten by `python -m helpers.commands.bench --project`. SimCLR with a {NET} (stem for "
        f"small images, projector 1024 to 128) in bf16, seconds an epoch of {EPOCH:,} images, as one CUDA graph with the views in one kernel a size and "
        f"launched one by one (eager). Assumed: {chip.matrix_share:.0%} of {chip.matrix / 1e12:,.0f} TFLOP/s and {chip.bandwidth_share:.0%} of "
        f"{chip.bandwidth / 1e12:.2f} TB/s are reached, a kernel takes at least {chip.launch_in_graph * 1e6:.1f} µs in a graph and "
        f"{chip.launch * 1e6:.1f} µs by itself; elementwise operations are not fused. *Limited by*: the share of a graph's time in kernels that wait "
        "for arithmetic, for memory, for their launch.\n"
    )
    table = ["| views | batch | graph, s | eager, s | views a second (graph) | GFLOP a step | GB a step | kernels a step | limited by |"]
    table.append("| --- |" + " ---: |" * 7 + " --- |")
    for r in rows:
        share = ", ".join(f"{name} {part:.0%}" for name, part in r["share"].items())
        table.append(
            f"| {r['views']} | {r['batch']} | {r['seconds_an_epoch_graph']:.2f} | {r['seconds_an_epoch_eager']:.2f} | {r['views_a_second_graph']:,} | "
            f"{r['flops_per_step'] / 1e9:,.0f} | {r['bytes_per_step'] / 1e9:.1f} | {r['kernels_per_step']:,} | {share} |"
        )
    return head + "\n" + "\n".join(table) + "\n"
