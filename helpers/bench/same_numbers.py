"""Do the speed options change what is learned?

Each net is trained with every speed option (bf16 where the device is good at it, channels last, tuned kernels, compiled) and again
plainly (fp32, contiguous, torch's own kernels), with the same seeds and so the same weights, batches and views to begin with.
"""

import argparse

import pandas as pd

from helpers.core.files import results_dir, shown, write_text
from helpers.judging.statistics import paired_values
from helpers.report.report import markdown
from helpers.runs.config import RunConfig
from helpers.runs.sweep import ENGINES, Outcome, sweep

NETS = {"resnet_tiny": "stride2", "convnext_micro": "patch4", "vit_micro": "patch8"}
WAYS = {"plain": {"precision": "plain"}, "fast": {"precision": "auto", "compile": True}}
READOUT = "knn10"


def config(net: str, way: str, seed: int, dataset: str, images: int, epochs: int) -> RunConfig:
    return RunConfig(
        data={"dataset": dataset, "train_images": images, "image_size": 32},
        encoder={"name": net, "stem": NETS[net]},
        views={"recipe": "simclr_small"},
        method={"name": "simclr", "options": {"temperature": 0.2}},
        training={"epochs": epochs, "batch_size": 128, "optimizer": "adamw", "rate": 2e-3, "weight_decay": 0.01, **WAYS[way]},
        evaluation={"probe_every": 5, "probe": READOUT, "maps": None},
        seed=seed,
    )


def table(outcome: Outcome, configs: dict[tuple[str, str, int], RunConfig]) -> pd.DataFrame:
    """A row a net: both accuracies by seed, their paired difference, and whether it stays within the spread of the seeds."""
    rows = []
    for net in dict.fromkeys(net for net, _, _ in configs):
        seeds = [seed for other, way, seed in configs if (other, way) == (net, "plain")]
        found = {way: [outcome[configs[net, way, seed]] for seed in seeds] for way in WAYS}
        pairs = [(p, f) for p, f in zip(found["plain"], found["fast"], strict=True) if p is not None and f is not None]
        row = {"encoder": net, "stem": NETS[net], "n": len(pairs)}
        if pairs:
            plain, fast = ([r.evaluations[READOUT]["top1"] for r in side] for side in zip(*pairs, strict=True))
            difference = paired_values(fast, plain)
            spread = max(max(side) - min(side) for side in (plain, fast)) if len(pairs) > 1 else None
            row |= {
                "plain": " ".join(f"{value:.2f}" for value in plain),
                "fast": " ".join(f"{value:.2f}" for value in fast),
                "fast − plain": difference.value,
                "low": difference.low,
                "high": difference.high,
                "spread of seeds": spread,
                "within": None if spread is None else bool(abs(difference.value) <= spread),
                "runs": " ".join(record.id for pair in pairs for record in pair),
            }
        rows.append(row)
    return pd.DataFrame(rows)


def page(frame: pd.DataFrame, given: argparse.Namespace) -> str:
    return (
        f"# The same numbers at full speed\n\nWritten by `make same-numbers`. SimCLR on {given.images} images of "
        f"{given.dataset}, {given.epochs} epochs, {READOUT} accuracy (%) on the test set by seed, once plainly (fp32, contiguous, torch's "
        "own kernels) and once with every speed option; intervals (95 %) over paired seeds. Rounding differs, training amplifies it, and "
        "two runs of one seed drift apart as two seeds do: what is asked is that the mean difference stays within the spread of seeds.\n\n"
        + markdown(frame.drop(columns="runs", errors="ignore"))
        + "\n"
    )


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--nets", nargs="+", default=list(NETS), choices=NETS)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--engine", default="inline", choices=ENGINES)


def run(given: argparse.Namespace) -> int:
    """The exit code: 0 all within, 1 some not, or missing."""
    keys = [(net, way, seed) for net in given.nets for seed in range(given.seeds) for way in WAYS]
    configs = {key: config(*key, given.dataset, given.images, given.epochs) for key in keys}
    outcome = sweep(list(configs.values()), device=given.device, engine=given.engine, references=False)
    frame = table(outcome, configs)
    path = results_dir() / "bench" / "same-numbers.csv"
    write_text(path, frame.to_csv(index=False, lineterminator="\n"))
    write_text(path.with_suffix(".md"), page(frame, given))
    print(outcome.summary())
    print(frame.drop(columns="runs", errors="ignore").to_string(index=False))
    print(f"Read it: {shown(path.with_suffix('.md'))}")
    return 0 if "within" in frame and frame["within"].eq(True).all() else 1
