"""Which setting is the fastest for a net: each is tried on the bare step, and what was tried is reported."""

import time

import torch
from torch._dynamo.exc import TorchDynamoException

from helpers.bench.cases import Case
from helpers.bench.steps import LAYOUTS, Bare, Setting
from helpers.core.devices import wait
from helpers.methods import StepBatch
from helpers.models import tune

HOPELESS = 1.7  # a first step this many times the fastest one's: no further step is spent on that setting


def candidates(case: Case, device: torch.device) -> list[Setting]:
    """Every precision and layout, with tuned kernels where tuning changes this net at all; the likely winners first."""
    tuned = (True, False) if _tuning_changes(case, device) else (False,)
    return [Setting(precision, layout, tune) for precision in ("bf16", "fp32") for layout in LAYOUTS for tune in tuned]


def try_settings(case: Case, views: list, batch: StepBatch, device: torch.device, seconds: float, compile: bool) -> list[dict]:
    """A row for each setting, fastest first. Compiling is tried on top of the fastest setting of each precision."""
    rows, quickest = [], float("inf")
    for setting in candidates(case, device):
        rows.append(_try(case, setting, views, batch, device, seconds, give_up=HOPELESS * quickest))
        quickest = min(quickest, rows[-1]["first_step_seconds"])
    if compile:
        modes = ("default", "reduce-overhead") if device.type == "cuda" else ("default",)
        for precision in ("bf16", "fp32"):
            eager = max(
                (row for row in rows if row["precision"] == precision and not row["compile"]), key=lambda row: row["images_per_second"]
            )
            for mode in modes:
                setting = Setting(precision, eager["layout"], eager["tuned"], mode)
                compiled = _try(case, setting, views, batch, device, seconds, give_up=float("inf"))
                rows.append(compiled | {"pays_back_after_steps": payback(eager, compiled, case.batch)})
    return sorted(rows, key=lambda row: -row["images_per_second"])


def chosen(rows: list[dict]) -> Setting:
    """The fastest of the settings tried."""
    return Setting(**{name: rows[0][name] for name in ("precision", "layout", "tuned", "compile")})


def payback(eager: dict, compiled: dict, batch: int) -> int | None:
    """After how many steps the time spent on compiling is won back; None: never."""
    if not compiled["images_per_second"]:
        return None
    won = batch / eager["images_per_second"] - batch / compiled["images_per_second"]
    return round((compiled["first_step_seconds"] - eager["first_step_seconds"]) / won) if won > 0 else None


def _try(case, setting: Setting, views, batch, device, seconds: float, give_up: float) -> dict:
    """By the quickest of some steps: whatever else the machine does only ever makes a step slower, and could choose for us."""
    row = {"precision": setting.precision, "layout": setting.layout, "tuned": setting.tuned, "compile": setting.compile}
    step = Bare(case, setting, views, batch, device)
    try:
        with torch.compiler.config.patch(force_disable_caches=True):  # what a fresh machine would wait for
            first = _timed(step, device)
    except TorchDynamoException as error:
        return row | {"images_per_second": 0.0, "first_step_seconds": None, "failed": type(error).__name__}
    times = [first]
    if first <= give_up:
        _timed(step, device)  # memory is laid out over two steps
        times = [_timed(step, device)]
        while sum(times) < seconds or len(times) < 2:
            times.append(_timed(step, device))
    return row | {
        "images_per_second": round(case.batch / min(times), 1),
        "first_step_seconds": round(first, 3),
        "failed": None,
    }


def _timed(step: Bare, device: torch.device) -> float:
    wait(device)
    started = time.perf_counter()
    step()
    wait(device)
    return time.perf_counter() - started


def _tuning_changes(case: Case, device: torch.device) -> bool:
    def traits(method):
        return [(type(part), getattr(part, "fused_attn", None)) for part in method.modules()]

    method = case.build()
    before = traits(method)
    return traits(tune(method, device)) != before
