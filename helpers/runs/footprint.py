"""What a net costs to run and to train, and what its runs did cost.

One convention throughout: a multiply-add is one MAC and two FLOPs. The table has both, for papers print either under either name.
"""

import copy
import ctypes
import functools
import time
from collections.abc import Callable
from pathlib import Path

import torch

from helpers.core.devices import autocast, wait
from helpers.core.seeds import generator
from helpers.methods import Method, StepBatch
from helpers.models import macs, parameters, tune
from helpers.runs.energy import rated_watts
from helpers.training import Training
from helpers.views import Views

BATCH = 64  # images in the measurements of throughput and memory
REPEATS = 20  # single images timed, at least
SECONDS = 0.2  # that each kind of timing lasts, at least
PROC = Path("/proc/self")
_KNOWN: dict[tuple, object] = {}


def remembered(key: tuple, measure: Callable[[], object]):
    """What was measured in this process for that key: many short runs of one net need not each time it again."""
    if key not in _KNOWN:
        _KNOWN[key] = measure()
    return _KNOWN[key]


def profile_encoder(encoder: torch.nn.Module, device: torch.device, precision: str = "auto", batch: int = BATCH) -> dict:
    """Size, arithmetic, speed and memory of an encoder, as plain numbers; measured on a copy, so that nothing of it changes.

    latency_ms: the median of single images; images_per_second: forward, at that batch; both in eval mode without gradients.
    peak_memory_bytes: what one forward and backward pass adds at most, weights and gradients included, an optimizer's state not.
    Timings and memory are this machine's; parameters, macs and flops_forward are the net's.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        peak, how = _peak_memory(lambda: _train_once(encoder, device, precision, batch), device)
        net = _copied(encoder, device, precision).eval()
        one, many = (_images(encoder, count, device) for count in (1, batch))
        with torch.no_grad(), autocast(device, precision):
            used = "bf16" if torch.is_autocast_enabled(device.type) else "fp32"
            single = _timed(lambda: net(one), device, REPEATS)
            whole = _timed(lambda: net(many), device, 2)
    multiply_adds = macs(encoder)
    watts, rating = rated_watts(device)
    return {
        "parameters": parameters(encoder),
        "macs": multiply_adds,
        "flops_forward": 2 * multiply_adds,
        "latency_ms": round(1000 * _median(single), 4),
        "latency_repeats": len(single),
        "images_per_second": round(batch / _median(whole), 1),
        "batch": batch,
        "peak_memory_bytes": peak,
        "peak_memory_is": how,
        "precision": used,
        "rated_watts": watts,
        "rated_watts_is": rating,
    }


def step_flops(method: Method, batches, accumulate: int = 1, views: Views | None = None) -> int:
    """FLOPs of one step, forward and backward, counted while a copy of the method computes them: whatever a method runs besides the
    encoder on every view (targets, heads, rotated or masked copies, small views) is in it; making the views and the optimizer are not.
    `views` take the place of the method's own, where they grow."""
    from helpers.runs.counting import Counter  # imports Triton, where that is installed

    device = batches.device
    batch = next(iter(batches.epoch(0)))
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        method = copy.deepcopy(method).train()
        draw = generator(device, "step_flops")
        step_batch = StepBatch(batch.indices, batch.labels if method.needs_labels else None, 0.0, draw)
        with torch.no_grad():
            inputs = method.prepare((views or method.views)(batch.images, draw), step_batch)
        with Counter() as counter:
            with autocast(device):
                outputs = method.embed(inputs)
            method.criterion(outputs, step_batch)[0].backward()
    again = 4 / 3 if accumulate > 1 else 1  # each part passes once more, forward, before the loss of all is known
    return round(counter.counts.flops * accumulate * again)


def training_flops(training: Training, *kind) -> int:
    """FLOPs of all steps of a run, each with the views of its epoch; counted once a process for runs of one kind."""
    count = functools.partial(step_flops, training.method, training.batches, training.settings.accumulate)
    epochs = map(training.views.at, range(training.settings.epochs))
    return sum(training.steps_per_epoch * remembered(("step", *kind, *views.sizes), functools.partial(count, views)) for views in epochs)


def _copied(encoder, device: torch.device, precision: str) -> torch.nn.Module:
    """As training has it: channels last and tuned, unless everything that makes it fast is off."""
    plain = precision == "plain"
    net = copy.deepcopy(encoder).to(device, memory_format=torch.preserve_format if plain else torch.channels_last)
    return net if plain else tune(net, device)


def _images(encoder, count: int, device: torch.device) -> torch.Tensor:
    return torch.randn(count, 3, encoder.image_size, encoder.image_size, device=device).to(memory_format=torch.channels_last)


def _train_once(encoder, device: torch.device, precision: str, batch: int) -> None:
    net = _copied(encoder, device, precision).train().requires_grad_(True)
    net.zero_grad(set_to_none=True)
    with autocast(device, precision):
        features = net(_images(encoder, batch, device))
    features.float().square().mean().backward()
    wait(device)


def _timed(work: Callable[[], object], device: torch.device, repeats: int) -> list[float]:
    """Seconds of each time, after two that do not count: at least that many, and until SECONDS are over."""
    for _ in range(2):
        work()
    wait(device)
    seconds, began = [], time.perf_counter()
    while len(seconds) < repeats or time.perf_counter() - began < SECONDS:
        started = time.perf_counter()
        work()
        wait(device)
        seconds.append(time.perf_counter() - started)
    return seconds


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _peak_memory(work: Callable[[], None], device: torch.device) -> tuple[int | None, str]:
    """Bytes that the work adds at its highest, and how that was found."""
    work()  # libraries allocate at first use what stays
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before, "measured: CUDA's allocator"
    try:
        ctypes.CDLL(None).malloc_trim(0)  # else the work fills holes that are counted as in use already
        (PROC / "clear_refs").write_text("5")  # the peak begins anew
        before = _resident("VmRSS")
        work()
        return max(_resident("VmHWM") - before, 0), "measured: growth of the process's resident memory"
    except (OSError, AttributeError, KeyError, ValueError):
        return None, "not measured: this system does not tell a process's peak memory"


def _resident(name: str) -> int:
    lines = dict(line.split(":", 1) for line in (PROC / "status").read_text().splitlines())
    return int(lines[name].split()[0]) * 1024
