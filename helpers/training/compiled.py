"""A method's networks through torch.compile: compiled once a process, whatever the number of runs."""

import functools
import textwrap
from collections.abc import Callable

import torch

from helpers.core.progress import line
from helpers.methods import Method


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
