"""Several runs at once, each in a process of its own: one a core on a CPU, one a card where there are several GPUs.

A small net does not fill two cores: `make bench-together` measures how much more two processes of one thread each train."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress

import torch

from helpers.core.devices import device_lost
from helpers.core.errors import UserError
from helpers.runs.config import RunConfig
from helpers.training import Stopped

LOOK = 0.2  # seconds between two looks at the word to stop

# What a worker knows.
_stop = None
_device = "cpu"
_busy = False
_ending = False


def usual_workers(device: torch.device) -> int:
    """One a core that this process may use, or one a card."""
    if device.type == "cuda":
        return torch.cuda.device_count()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(configs: list[RunConfig], device: torch.device, workers: int | None, stop, done, references: bool = False) -> str | None:
    """Run each config in one of the workers and call done(config, error or None) as each ends; why it stopped early, or None."""
    workers = workers or usual_workers(device)
    if workers < 1:
        raise UserError(f"workers = {workers}: give at least 1.")
    context = multiprocessing.get_context("spawn")  # a forked child of a process that used CUDA or threads is broken
    asked, places = context.Event(), context.Queue()
    for number in range(workers):
        cards = torch.cuda.device_count() if device.type == "cuda" else 0
        places.put(f"cuda:{number % cards}" if cards and device.index is None else str(device))
    threads = max(1, usual_workers(torch.device("cpu")) // workers)  # on a GPU too: what is read out of a run is worked on by cores
    with ProcessPoolExecutor(workers, context, _begin, (asked, places, threads)) as pool:
        waiting: dict[Future, RunConfig] = {pool.submit(_work, config, references): config for config in configs}
        try:
            return _follow(waiting, asked, device, stop, done)
        finally:  # however it ends, those at work stop after their step and those not begun never begin
            _call_off(asked, waiting)


def _follow(waiting: dict[Future, RunConfig], asked, device: torch.device, stop, done) -> str | None:
    """Take in each run's end until none is left; why it stopped early, or None."""
    reason = None
    while waiting:
        ended, _ = wait(waiting, timeout=LOOK, return_when=FIRST_COMPLETED)
        for future in ended:
            config = waiting.pop(future)
            if future.cancelled():
                continue
            error = future.exception()
            if isinstance(error, BrokenProcessPool):  # no more can be done here; what was trained is in the checkpoints
                return stop() or "a worker process was killed (by the system, if memory ran out: use fewer workers)"
            if not isinstance(error, Stopped):
                done(config, error)
            if error is not None and reason is None and device_lost(error):
                reason = f"{device} was lost in {config.id}"
        reason = reason or stop()
        if reason:
            _call_off(asked, waiting)
    return reason


def _call_off(asked, waiting) -> None:
    asked.set()
    for future in waiting:
        future.cancel()


def _begin(asked, places, threads: int) -> None:
    """In each worker: its device and threads. Ctrl-C is the parent's to hear; SIGTERM and the parent's death end the worker."""
    global _stop, _device
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_outlive_nobody, daemon=True).start()
    torch.set_num_threads(threads)
    _stop, _device = asked, places.get()
    if _device.startswith("cuda:"):
        torch.cuda.set_device(_device)


def _outlive_nobody() -> None:
    multiprocessing.parent_process().join()
    _end()


def _end(*signal_and_frame) -> None:
    """Leave now, or after the step at hand, once its checkpoint is written."""
    global _ending
    _ending = True
    if not _busy:
        os._exit(1)


def _asked() -> str | None:
    if _ending:
        return "this worker was told to end"
    return "the sweep was told to stop" if _stop.is_set() else None


def _work(config: RunConfig, references: bool) -> None:
    from helpers.runs import untrained
    from helpers.runs.run import run  # here, so that the parent need not hold what only workers use

    global _busy
    _busy = True
    try:
        if reason := _asked():
            raise Stopped(f"Not begun, because {reason}.")
        run(config, _device, _asked)
        if references:
            with suppress(Exception):  # the run is done; whoever follows makes what is missing, and says why it cannot be
                for each in untrained.missing([config]):
                    untrained.make(each, _device, _asked)
    finally:
        _busy = False
        if _ending:
            os._exit(1)
