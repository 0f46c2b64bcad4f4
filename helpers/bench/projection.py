"""How long a training step would take on a chip that is not at hand: operations and bytes are counted, the chip's data sheet says the rest.

A projection, never a measurement. Each operation takes the longest of three times: its arithmetic, its memory traffic, its launch.
"""

import torch

from helpers.core.errors import pick
from helpers.core.files import results_dir, shown, write_json, write_text
from helpers.methods import METHODS
from helpers.models import build_encoder
from helpers.runs.counting import Chip, Counts, count_step, count_views
from helpers.views import make_views

EPOCH = 50_000  # images of CIFAR-10's training set
NETS = ("resnet18", "resnet50", "vit_tiny", "convnext_tiny")
BATCHES = (512, 128)

CHIPS = {
    "h100": Chip("NVIDIA H100 80 GB SXM", 989.5e12, 3.35e12),
    "h200": Chip("NVIDIA H200 SXM", 989.5e12, 4.8e12),
    "a100": Chip("NVIDIA A100 80 GB SXM", 312e12, 2.04e12),
}


def project_case(backbone: str, batch: int, chip: Chip) -> dict:
    """Seconds an epoch of EPOCH images, SimCLR at 32 px: kernels launched one by one, and as a graph with the views in one kernel."""
    views = make_views("contest", 32)
    method = METHODS["simclr"](build_encoder(backbone, 32), views, temperature=0.1).to(memory_format=torch.channels_last)
    of_views, of_step = count_views(views, batch), count_step(method, batch, 32)
    image = 3 * 32**2
    fused = Counts([(0, views.settings.count * batch * image * (1 + 4), 1)])  # reads bytes, writes floats
    steps = EPOCH // batch
    eager = of_step.seconds(chip, chip.launch) + of_views.seconds(chip, chip.launch)
    graph = of_step.seconds(chip, chip.launch_in_graph) + fused.seconds(chip, chip.launch_in_graph)
    bound = of_step.flops / chip.matrix
    return {
        "backbone": backbone,
        "stem": method.encoder.stem,
        "batch": batch,
        "seconds_an_epoch_eager": round(steps * eager, 2),
        "seconds_an_epoch_graph": round(steps * graph, 2),
        "seconds_an_epoch_arithmetic_alone": round(steps * bound, 2),
        "flops_per_step": of_step.flops,
        "bytes_per_step": of_step.bytes,
        "kernels_per_step": of_step.launches,
        "kernels_of_views": of_views.launches,
    }


def project(chip_name: str) -> tuple[str, str]:
    """Every net and batch on a chip, into results/bench/projection-<chip>.json and .md."""
    chip = pick("chip", chip_name, CHIPS)
    rows = [project_case(backbone, batch, chip) for backbone in NETS for batch in BATCHES]
    path = results_dir() / "bench" / f"projection-{chip_name}.json"
    content = {"projection": True, "measured": False, "chip": vars(chip), "images_an_epoch": EPOCH, "precision": "bf16", "rows": rows}
    return shown(write_json(path, content)), shown(write_text(path.with_suffix(".md"), page(chip, rows)))


def page(chip: Chip, rows: list[dict]) -> str:
    head = (
        f"# Projection, never measured: {chip.name}\n\nSeconds an epoch of {EPOCH:,} images, SimCLR with two views at 32 px in bf16, from counted "
        f"operations and bytes and the chip's data sheet ({chip.matrix / 1e12:,.1f} TFLOP/s dense bf16, {chip.bandwidth / 1e12:.2f} TB/s). "
        f"Assumed, not measured: {chip.matrix_share:.0%} of that arithmetic and {chip.bandwidth_share:.0%} of that bandwidth are reached, a kernel "
        f"takes at least {chip.launch * 1e6:.1f} µs launched by itself and {chip.launch_in_graph * 1e6:.1f} µs in a graph. *Graph*: the step as one "
        "CUDA graph, its elementwise operations not fused, the views in one kernel. *Arithmetic alone*: the whole of the data sheet's figure and "
        "nothing else, a limit that nothing reaches.\n"
    )
    table = [
        "| net (stem) | batch | eager, s | graph, s | arithmetic alone, s | GFLOP a step | GB moved a step | kernels a step | of views |"
    ]
    table.append("| --- |" + " ---: |" * 8)
    for r in rows:
        times = " | ".join(f"{r[f'seconds_an_epoch_{kind}']:.2f}" for kind in ("eager", "graph", "arithmetic_alone"))
        table.append(
            f"| {r['backbone']} ({r['stem']}) | {r['batch']} | {times} | {r['flops_per_step'] / 1e9:,.0f} | {r['bytes_per_step'] / 1e9:.1f} | "
            f"{r['kernels_per_step']:,} | {r['kernels_of_views']:,} |"
        )
    return head + "\n" + "\n".join(table) + "\n"
