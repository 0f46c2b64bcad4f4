"""A run's share of the device's memory: as much as there can be when it begins, and none of it kept when it ends."""

from contextlib import contextmanager

import torch

from helpers.core.devices import out_of_memory
from helpers.core.errors import TrainingStopped
from helpers.training.compiled import make_room


@contextmanager
def room(run_id: str, device: torch.device):
    """Memory that is spent in here, and not in a training step, which says so by itself, becomes an error that names what to change."""
    make_room(device)  # a run that failed before this one held its memory until its error was told
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        raise TrainingStopped(
            f"{device} is out of memory while {run_id} is built or read out. Close what else uses it, or lower workers. "
            "What was trained is in its checkpoint: run again to go on from there."
        ) from error
    finally:
        make_room(device)
