"""Our training step: whole, through the loop that studies use, and bare, in any setting, on views that are ready."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from helpers.bench.cases import Case
from helpers.core.devices import autocast, wait
from helpers.data import Batches
from helpers.methods import StepBatch
from helpers.models import tune
from helpers.training import Training, TrainSettings
from helpers.training.optimizers import build_optimizer

LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}


@dataclass(frozen=True)
class Setting:
    """How a step is computed."""

    precision: str
    layout: str
    tuned: bool = False
    compile: str | None = None  # torch.compile's mode; None: not compiled


class Bare:
    """The least a step can be: forward, loss, backward, optimizer, on inputs that lie ready."""

    def __init__(self, case: Case, setting: Setting, views: list[torch.Tensor], batch: StepBatch, device: torch.device):
        layout = LAYOUTS[setting.layout]
        self.method = case.build().train().to(device, memory_format=layout)
        if setting.tuned:
            tune(self.method, device)
        self.setting, self.batch, self.device = setting, batch, device
        self.optimizer = build_optimizer("adamw", self.method.parameter_groups(), rate=1e-3)
        self.inputs = self.method.prepare([view.to(memory_format=layout) for view in views], batch)
        self.embed = self.method.embed
        if setting.compile:
            torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)  # every setting compiles the same function
            self.embed = torch.compile(self.embed, mode=setting.compile, dynamic=False)

    def __call__(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        if self.setting.compile:
            torch.compiler.cudagraph_mark_step_begin()
        with autocast(self.device, self.setting.precision):
            outputs = self.embed(self.inputs)
        loss, _ = self.method.criterion(outputs, self.batch)
        loss.backward()
        self.optimizer.step()


class Ours:
    """What a study runs: batches, views and the real loop's step. Without settings of its own it has the defaults."""

    def __init__(self, case: Case, split, device: torch.device, **settings):
        batches = Batches(split, case.batch, device, seed=0)
        self.training = Training(case.build(), batches, TrainSettings(epochs=10_000, **settings), device)
        self.views = self.training.method.train().views
        self.stream = itertools.chain.from_iterable(batches.epoch(epoch) for epoch in itertools.count())
        self.draw = torch.Generator(device).manual_seed(0)

    def __call__(self) -> None:
        self.training.take([next(self.stream)])

    def data_and_views(self) -> None:
        self.views(next(self.stream).images, self.draw)


def rate(step: Callable[[], None], batch: int, seconds: float, device: torch.device) -> float:
    """Source images a second, over as many steps as fit into the time, at least one. A GPU is waited for after 1, 2, 4, ... steps:
    a wait after each would time the queue's idle moments, which no real loop has."""
    wait(device)
    steps, together, started = 0, 1, time.perf_counter()
    while steps == 0 or time.perf_counter() - started < seconds:
        for _ in range(together):
            step()
        wait(device)
        steps += together
        together *= 2 if device.type == "cuda" else 1
    return steps * batch / (time.perf_counter() - started)


def matrix_rate(device: torch.device, precision: str) -> float:
    """FLOP/s of the device's own matrix product in that precision: the best over some sizes, each for a fifth of a second."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    best = 0.0
    for size in (4096, 8192) if device.type == "cuda" else (1024, 2048):
        one, other = torch.randn(2, size, size, device=device).to(dtype)
        out = torch.empty_like(one)
        torch.mm(one, other, out=out)
        best = max(best, rate(lambda: torch.mm(one, other, out=out), 2 * size**3, 0.2, device))  # noqa: B023 (used at once)
    return best
