"""All competitors of one case, each once a round, round after round, so that what else the machine does hits all of them alike."""

from collections.abc import Callable

import torch

from helpers.bench import rivals, standard
from helpers.bench.cases import Case
from helpers.bench.rows import row
from helpers.bench.settings import chosen, try_settings
from helpers.bench.startup import startup
from helpers.bench.steps import Bare, Ours, matrix_rate, rate
from helpers.core.devices import describe, good_at_bf16
from helpers.core.errors import UserError
from helpers.data import load
from helpers.methods import StepBatch
from helpers.runs.counting import count_step


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

    transform = standard.recipe(settings, case.size)

    def pil_views(image) -> list[torch.Tensor]:
        return [transform(image) for _ in range(settings.count)]

    turns = {
        "standard": loaded(pil_views, standard.Step(case.build(), device), seconds),
        "views_standard": loaded(pil_views, views_only, seconds / 2),
    }
    if case.method == "simclr" and rivals.installed("lightly"):
        transform_lightly = rivals.lightly_views(settings, case.size)
        turns["lightly"] = loaded(transform_lightly, rivals.LightlyStep(case, device), seconds)
        turns["views_lightly"] = loaded(transform_lightly, views_only, seconds / 2)
    if settings.crop_scale and rivals.installed("kornia"):
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
