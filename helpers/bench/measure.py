"""All competitors of one case, each once a round, round after round, so that what else the machine does hits all of them alike."""

import argparse
from collections.abc import Callable

import torch

from helpers.bench import rivals, standard
from helpers.bench.cases import FORM, Case, default_cases, make_case, parse_case
from helpers.bench.rows import lines, row, save, section, summary
from helpers.bench.settings import chosen, try_settings
from helpers.bench.startup import startup
from helpers.bench.steps import Bare, Ours, matrix_rate, rate
from helpers.core.devices import describe, good_at_bf16, pick_device
from helpers.core.errors import UserError
from helpers.data import load
from helpers.methods import StepBatch
from helpers.runs.counting import count_step
from helpers.views.parts import parts_of


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", action="append", metavar=FORM, help="what to measure; may be given many times")
    parser.add_argument("--backbone", help="one case: SimCLR on this net at 32 px")
    parser.add_argument("--batch", type=int, help="its batch, 256 unless given")
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement in a round; at least one step is taken")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", action="store_true", help="try compiling too: always done on a GPU, minutes a case on a CPU")


def run(given: argparse.Namespace) -> int:
    if given.repeats < 1 or given.seconds <= 0:
        raise UserError(f"--repeats {given.repeats} --seconds {given.seconds}: give at least one round and a time above 0.")
    device = pick_device(given.device)
    for case in cases(given, device):
        print(f"== {case}, on {device}", flush=True)
        measured = measure(case, given.repeats, given.seconds, device, compile=given.compile or device.type == "cuda")
        files = save(measured)
        print(f"\n{section(measured)}\n\n{lines(summary([measured]))}\n\nRead it:", *files, flush=True)
    return 0


def cases(given: argparse.Namespace, device: torch.device) -> list[Case]:
    """The cases asked for; without a word about them, the device's default list."""
    if given.case:
        return [parse_case(text) for text in given.case]
    if given.backbone or given.batch is not None:
        return [make_case("simclr", given.backbone or "resnet18", "auto", 32, 256 if given.batch is None else given.batch)]
    return default_cases(device)


def measure(case: Case, repeats: int, seconds: float, device: torch.device, compile: bool) -> dict:
    """The row of a case. seconds: of each measurement in a round; of the setting trials and of views half of it."""
    split = load("embedded", image_size=case.size).split("train")
    if len(split.images) < case.batch:
        raise UserError(f"batch = {case.batch} is larger than the embedded dataset ({len(split.images)} images). Lower it.")
    precision = "bf16" if good_at_bf16(device.type) else "fp32"  # what "auto" is here
    print("start-up", flush=True)
    fresh = startup(f"{case.method}:{case.backbone}:{case.stem}:{case.size}:{case.batch}", str(device), compile)
    ours = Ours(case, split, device)
    batch = next(ours.stream)
    views = ours.views(batch.images, ours.draw)
    labels = batch.labels if ours.training.method.needs_labels else None
    step_batch = StepBatch(batch.indices, labels, 0.0, ours.draw)
    print("settings", flush=True)
    tried = try_settings(case, views, step_batch, device, seconds / 2, compile)
    bound = Bare(case, chosen(tried), views, step_batch, device)
    turns = {"bound": lambda: rate(bound, case.batch, seconds, device)}
    turns |= _own(case, split, ours, seconds, device, compile)
    turns |= _others(case, split, ours, seconds, device)
    turns["matrix"] = lambda: matrix_rate(device, precision)
    bound()  # allocations, kernel choices and compilation of first steps are not speed
    ours()
    return row(
        vars(case),
        _rounds(turns, repeats),
        precision=precision,
        flops=count_step(case.build(), case.batch, case.size).flops,
        tried=tried,
        fresh=fresh,
        device=describe(device) | {"workers": standard.WORKERS},
        versions={"torch": torch.__version__, **rivals.versions()},
    )


def _own(case: Case, split, ours: Ours, seconds: float, device: torch.device, compile: bool) -> dict[str, Callable[[], float]]:
    """Ours as a study runs it by default, the same compiled, the same in fp32 without anything that makes it fast."""
    variants = {"end_to_end": ours, "plain": Ours(case, split, device, precision="plain")}
    if compile:
        variants["end_to_end_compiled"] = Ours(case, split, device, compile=True)
    for name in variants.keys() - {"end_to_end"}:
        variants[name]()
    turns = {name: lambda step=step: rate(step, case.batch, seconds, device) for name, step in variants.items()}
    return turns | {"views": lambda: rate(ours.data_and_views, case.batch, seconds / 2, device)}


def _others(case: Case, split, ours: Ours, seconds: float, device: torch.device) -> dict[str, Callable[[], float]]:
    settings = ours.views.settings

    def loaded(make_views, step, seconds: float) -> standard.Loaded:
        return standard.Loaded(standard.Items(split, make_views), step, case.batch, seconds, device)

    def views_only(item) -> None:
        standard.moved(item, device)

    transforms = [standard.recipe(part.settings, part.size) for part in parts_of(settings, case.size) for _ in range(part.count)]

    def pil_views(image) -> list[torch.Tensor]:
        return [transform(image) for transform in transforms]  # nobody removes a background there

    turns = {
        "standard": loaded(pil_views, standard.Step(case.build(), device), seconds),
        "views_standard": loaded(pil_views, views_only, seconds / 2),
    }
    if case.method == "simclr" and rivals.installed("lightly"):
        transform_lightly = rivals.lightly_views(settings, case.size)
        turns["lightly"] = loaded(transform_lightly, rivals.LightlyStep(case, device), seconds)
        turns["views_lightly"] = loaded(transform_lightly, views_only, seconds / 2)
    if settings.crop_scale and not settings.small and rivals.installed("kornia"):
        kornia = rivals.kornia_views(settings, case.size, device)
        kornia(next(ours.stream).images)
        turns["views_kornia"] = lambda: rate(lambda: kornia(next(ours.stream).images), case.batch, seconds / 2, device)
    return turns


def _rounds(turns: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Every second round runs backwards: what only drifts, such as a chip growing warm, favours nobody."""
    rounds = {name: [] for name in turns}
    for number in range(repeats):
        print(f"round {number + 1} of {repeats}", flush=True)
        for name in list(turns)[:: -1 if number % 2 else 1]:
            rounds[name].append(turns[name]())
    return rounds
