"""Which device, which precision, and what it calls itself."""

import contextlib
import functools
import os
import platform
import re
from pathlib import Path

import torch

from helpers.core.errors import UserError

# "plain" is fp32 without anything that makes it fast: what the speed options are compared with.
PRECISIONS = ("auto", "bf16", "fp32", "plain")
CUDA_SAYS = ("CUDA error", "CUDA driver error", "Triton Error [CUDA]")  # how errors begin: of torch, of its launcher of kernels, of Triton
DRIVER = Path("/proc/driver/nvidia/version")


def pick_device(name: str = "auto") -> torch.device:
    """The device by name; "auto" takes CUDA where there is one. A device that does not exist is an error, not a surprise."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise UserError(f"Unknown device {name!r}. Use 'auto', 'cpu', 'cuda' or 'cuda:N'.") from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise UserError(
                f"Device {name!r} does not exist: {count} CUDA devices are visible. Use 'auto' or 'cpu', or check CUDA_VISIBLE_DEVICES."
            )
    elif device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError(f"Device {name!r} does not exist on this machine. Use 'auto' or 'cpu'.")
    elif device.type not in ("cpu", "mps"):
        raise UserError(f"Device {name!r} is not supported. Use 'auto', 'cpu', 'cuda' or 'cuda:N'.")
    return device


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device's memory, or the machine's, is spent; torch has a class for it on CUDA only."""
    words = ("DefaultCPUAllocator", "STATUS_ALLOC_FAILED", *(f"{who}: out of memory" for who in CUDA_SAYS))
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(word in str(error) for word in words)


def device_lost(error: BaseException) -> bool:
    """Whether an error says that the device itself is gone: nothing more can be computed on it by this process."""
    return isinstance(error, RuntimeError) and not out_of_memory(error) and any(who in str(error) for who in CUDA_SAYS)


@functools.cache
def good_at_bf16(kind: str) -> bool:
    """Whether bf16 matrix work is faster than fp32 there: AMX or AMD's AVX-512 bf16 on a CPU, Ampere or later on CUDA.

    Intel's AVX-512 bf16 reaches half of its fp32 rate in matrix products, as measured where AMX is not to be had.
    """
    if kind == "cuda":
        return torch.cuda.get_device_capability()[0] >= 8
    if kind == "cpu":
        vectors = torch.cpu._is_avx512_bf16_supported() and processor("vendor_id") != "GenuineIntel"
        return vectors or torch.cpu._is_amx_tile_supported()
    return False


def in_bf16(kind: str, precision: str = "auto") -> bool:
    """Whether to compute in bf16 there: where asked for or, with "auto", where the device is good at it."""
    return precision == "bf16" or (precision == "auto" and good_at_bf16(kind))


def autocast(device: torch.device, precision: str = "auto"):
    """The context to compute in: bf16 where in_bf16 says so, else plain fp32.

    Two switches stay off. cudnn.benchmark times algorithms and may take another one in the process that goes on with a run. TF32 for
    matrix products would round what is in fp32 for a reason: views, losses, readouts, none of which takes the time of a bf16 net.
    """
    if device.type == "cuda":  # by torch's own default, convolutions that are asked for fp32 get inputs rounded to ten bits
        torch.backends.cudnn.allow_tf32 = precision not in ("fp32", "plain")
    if in_bf16(device.type, precision):
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def wait(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe(device: torch.device) -> dict:
    """The device in words and numbers, for manifests and run cards."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return {
            "type": "cuda",
            "name": properties.name,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "count": torch.cuda.device_count(),
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
            "driver": _driver(),
        }
    name = processor() or platform.processor() or platform.machine()
    unit = torch.cpu._is_amx_tile_supported()  # two machines of one name may differ by it alone
    return {"type": device.type, "name": name, "matrix_unit": unit, "threads": torch.get_num_threads(), "cores": os.cpu_count()}


def device_words(device: dict) -> str:
    """A described device for tables and pages; of what an older record did not note, nothing."""
    unit = {True: ", with matrix unit", False: ", no matrix unit"}.get(device.get("matrix_unit"), "")
    return device.get("name", "unknown") + unit + (f", {device['threads']} threads" if "threads" in device else "")


def _driver() -> str | None:
    """The version of NVIDIA's kernel module, where the system tells it."""
    try:
        found = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", DRIVER.read_text())
    except OSError:
        return None
    return found and found[1]


def processor(field: str = "model name") -> str:
    """What Linux says of the first core, or an empty text."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(field)), "")
    except OSError:
        return ""
