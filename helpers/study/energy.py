"""Energy of a piece of work: measured where the machine tells, else estimated, and always said which."""

import time
from pathlib import Path

import torch

WATTS_PER_CORE = 8.0  # a busy server core with its share of memory; used only where nothing can be measured
RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


class EnergyMeter:
    """Reads a counter where there is one. used() gives watt-hours since the start and how they were found."""

    def __init__(self, device: torch.device):
        self.device = device
        self.started = time.monotonic()
        self.counter = self._read()

    def _read(self) -> float | None:
        """Joules so far by the device's own counter, or None."""
        if self.device.type == "cuda":
            try:
                import pynvml

                pynvml.nvmlInit()
                handle = pynvml.nvmlDeviceGetHandleByIndex(self.device.index or 0)
                return pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000
            except Exception:  # no driver library, or a card without a counter: estimate instead
                return None
        try:
            return int(RAPL.read_text()) / 1e6
        except (OSError, ValueError):
            return None

    def used(self) -> dict:
        seconds = time.monotonic() - self.started
        now = self._read()
        if self.counter is not None and now is not None and now >= self.counter:
            return {
                "watt_hours": (now - self.counter) / 3600,
                "method": "measured: " + ("GPU" if self.device.type == "cuda" else "CPU package") + " counter",
            }
        watts, method = estimated_watts(self.device)
        return {"watt_hours": watts * seconds / 3600, "method": method}


def estimated_watts(device: torch.device) -> tuple[float, str]:
    if device.type == "cuda":
        return 500.0, "estimated: 500 W a GPU"
    watts = WATTS_PER_CORE * torch.get_num_threads()
    return watts, f"estimated: {WATTS_PER_CORE:g} W a busy core"
