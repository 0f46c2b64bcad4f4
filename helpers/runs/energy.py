"""Energy of a piece of work: measured where the machine tells, else estimated, and always said which.

codecarbon's tracker was tried for the estimate: where it does not know the processor it too takes a flat figure a core, beside a
constant for memory that outweighs it, and it costs seconds and two threads a run. It serves carbon.py, for its data on regions.
"""

import time
from pathlib import Path

import torch

WATTS_PER_CORE = 8.0  # a busy server core with its share of memory; used only where nothing can be measured
WATTS_PER_GPU = 500.0
RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


class EnergyMeter:
    """Reads a counter where there is one. used() gives watt-hours since the start and how they were found.

    An estimate for a CPU goes by the process's own CPU time, so that a shared machine costs a run nothing. A counter is the
    device's: of several runs at once each reads what all of them use.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.began = self.lapped = self._now()

    def _now(self) -> tuple[float, float, float | None]:
        """Wall clock, CPU time of this process, and the counter."""
        return time.monotonic(), time.process_time(), self._read()

    def _read(self) -> float | None:
        """Joules so far by the device's own counter, or None."""
        if self.device.type == "cuda":
            millijoules = _ask_card(self.device, "nvmlDeviceGetTotalEnergyConsumption")
            return None if millijoules is None else millijoules / 1000
        try:
            return int(RAPL.read_text()) / 1e6
        except (OSError, ValueError):
            return None

    def used(self) -> dict:
        return self._between(self.began, self._now())

    def lap(self) -> float:
        """Mean watts since the lap before."""
        before, self.lapped = self.lapped, self._now()
        return 3600 * self._between(before, self.lapped)["watt_hours"] / max(self.lapped[0] - before[0], 1e-9)

    def _between(self, start: tuple, end: tuple) -> dict:
        if None not in (start[2], end[2]) and end[2] >= start[2]:
            return {
                "watt_hours": (end[2] - start[2]) / 3600,
                "method": "measured: " + ("GPU" if self.device.type == "cuda" else "CPU package") + " counter",
            }
        if self.device.type == "cuda":
            return {"watt_hours": WATTS_PER_GPU * (end[0] - start[0]) / 3600, "method": estimated_watts(self.device)[1]}
        return {"watt_hours": WATTS_PER_CORE * (end[1] - start[1]) / 3600, "method": estimated_watts(self.device)[1]}


def estimated_watts(device: torch.device) -> tuple[float, str]:
    """A flat figure, and the words that say so."""
    return flat_watts(device.type, torch.get_num_threads())


def flat_watts(kind: str, threads: int) -> tuple[float, str]:
    """The same for a device that a record tells of."""
    if kind == "cuda":
        return WATTS_PER_GPU, f"estimated: {WATTS_PER_GPU:g} W a GPU"
    return WATTS_PER_CORE * threads, f"estimated: {WATTS_PER_CORE:g} W a busy core"


def rated_watts(device: torch.device) -> tuple[float, str]:
    """What the maker says the device draws at most (its TDP), where the machine tells, else the flat figure."""
    milliwatts = _ask_card(device, "nvmlDeviceGetPowerManagementDefaultLimit") if device.type == "cuda" else None
    return estimated_watts(device) if milliwatts is None else (milliwatts / 1000, "rated: the card's default power limit")


def _ask_card(device: torch.device, question: str) -> int | None:
    """One number from NVIDIA's management library, or None."""
    try:
        import pynvml

        pynvml.nvmlInit()
        # By its name: the library counts all cards of the machine, CUDA only those that this process may see.
        card = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        return getattr(pynvml, question)(card)
    except Exception:  # no driver library, or a card without that number: estimate instead
        return None
