"""A method's networks through torch.compile: compiled once a process, whatever the number of runs."""

import contextlib
import functools
import gc
import textwrap
from collections.abc import Callable

import torch

from helpers.core.progress import line
from helpers.methods import Method

IDLE = 0.25  # of a card's memory: what may lie reserved between two runs


def compiled(method: Method, device: torch.device, *, graphs: bool) -> Callable:
    """embed() compiled, on CUDA as one graph of launches where `graphs`; or as it is where compiling fails, with a word about it."""
    graphs = graphs and device.type == "cuda"
    failed = False

    def embed(inputs):
        nonlocal failed
        if not failed:
            try:
                if graphs:
                    torch.compiler.cudagraph_mark_step_begin()  # the outputs of the step before may be overwritten from here on
                return _shared("reduce-overhead" if graphs else None)(method, inputs)
            except torch._dynamo.exc.TorchDynamoException as error:
                failed = True
                line(f"torch.compile failed ({type(error).__name__}: {textwrap.shorten(str(error), 300)}); going on without it.")
        return method.embed(inputs)

    return embed


def _embed(method: Method, inputs):
    return method.embed(inputs)


@functools.cache
def _shared(mode: str | None) -> Callable:
    """The method is an argument, so that the second run of a net finds the code of the first (tests/training/test_compiled.py)."""
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)  # a sweep has many nets and batch sizes
    return torch.compile(_embed, mode=mode, dynamic=False)


def make_room(device: torch.device) -> None:
    """Between two runs: give back what nothing uses any more, for other processes and for nets of other sizes.

    Graphs of launches hold memory of their own as long as their code is kept, for the next run of that net. They are dropped, and all
    compiled code with them, where a quarter of the card lies idle so; that net is then compiled again when it comes again.
    """
    if device.type != "cuda":
        return
    gc.collect()  # compiling leaves a circle of frames behind that holds the run it was done for
    with contextlib.suppress(RuntimeError):  # a device that is lost has nothing to give back
        torch.cuda.empty_cache()
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        if idle > IDLE * torch.cuda.get_device_properties(device).total_memory and _shared.cache_info().currsize:
            torch.compiler.reset()
            torch.cuda.empty_cache()
