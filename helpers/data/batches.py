"""Batches already on the device: from a resident copy of the images where they fit, else streamed from the memory map.

Both ways yield the same batches. The order of an epoch is a pure function of (seed, epoch) and of the data's shape alone, so a run
may resume mid-epoch, even on a machine with other memory, and repeats nothing.
"""

import mmap
import os
import queue
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from helpers.core.errors import UserError
from helpers.core.seeds import generator
from helpers.data.dataset import Split

BLOCK_BYTES = 128 * 2**10  # read in one go: neighbours on disk stay together
GROUP_BYTES = 64 * 2**20  # blocks shuffled into each other: what streaming keeps in memory
RELEASE_BYTES = 8 * 2**20  # read between two releases of the map's pages: they bring their neighbours with them
PREFETCH = 2


@dataclass(frozen=True)
class Batch:
    """Images uint8 [n,3,s,s], labels int64 [n] (or None) and indices int64 [n] (positions in the split), all on the device."""

    images: torch.Tensor
    labels: torch.Tensor | None
    indices: torch.Tensor


class Batches:
    """The batches of a split, or of some of its indices. len() is the number of steps an epoch, which is all of the images once unless
    `epoch_images` says how many they are: the next epoch then goes on where the last one stopped, and begins anew after the last image."""

    def __init__(
        self,
        split: Split,
        batch_size: int,
        device: torch.device | str,
        *,
        seed: int = 0,
        indices: np.ndarray | None = None,
        drop_last: bool = True,
        resident: bool | str = "auto",
        budget: int | None = None,
        epoch_images: int | None = None,
    ):
        self.split, self.batch_size, self.device, self.seed, self.drop_last = split, batch_size, torch.device(device), seed, drop_last
        self.positions = np.arange(len(split)) if indices is None else np.asarray(indices, dtype=np.int64)
        self.resident = resident
        self.epoch_images = len(self.positions) if epoch_images is None else epoch_images
        self._check()
        self.image_bytes = int(np.prod(split.images.shape[1:]))
        if resident == "auto":
            self.resident = len(self.positions) * self.image_bytes <= (free_memory(self.device) // 4 if budget is None else budget)
        self.labels = None if split.labels is None else torch.from_numpy(np.array(split.labels)).to(self.device)
        self.images = as_tensor(split.images)
        # Where each position's image lies in self.images: on the CPU the map itself is resident, on a GPU the chosen images are.
        self.rows = torch.from_numpy(self.positions)
        if self.resident and self.device.type != "cpu":
            self.images = self._upload()
            self.rows = torch.arange(len(self.positions))

    def __len__(self) -> int:
        whole, rest = divmod(self.epoch_images, self.batch_size)
        return whole + (0 if self.drop_last else bool(rest))

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The epoch's batches from step `start` on, exactly as the undisturbed epoch has them."""
        if not 0 <= start <= len(self):
            raise UserError(f"Cannot start an epoch at step {start}: it has {len(self)} steps.")
        chosen = self.order(epoch)[start * self.batch_size : len(self) * self.batch_size]
        return self._batches(chosen)

    def in_order(self) -> Iterator[Batch]:
        """Every image once, in order; the last batch may be smaller."""
        return self._batches(torch.arange(len(self.positions)))

    def order(self, epoch: int) -> torch.Tensor:
        """The epoch's order: its share of one shuffled pass after another."""
        count, first = len(self.positions), epoch * self.epoch_images
        passes = range(first // count, (first + self.epoch_images - 1) // count + 1)
        return torch.cat([self._pass(number) for number in passes])[first % count :][: self.epoch_images]

    def _pass(self, number: int) -> torch.Tensor:
        """All images once: blocks shuffled, then images shuffled within groups of blocks; a set of one group is shuffled freely."""
        count, draws = len(self.positions), generator("cpu", self.seed, "order", number)
        if count * self.image_bytes <= GROUP_BYTES:
            return torch.randperm(count, generator=draws)
        block = max(1, BLOCK_BYTES // self.image_bytes)
        group = block * max(1, GROUP_BYTES // (block * self.image_bytes))
        blocks = torch.randperm(-(-count // block), generator=draws)
        mixed = (blocks[:, None] * block + torch.arange(block)).flatten()
        mixed = mixed[mixed < count]
        return torch.cat([part[torch.randperm(len(part), generator=draws)] for part in mixed.split(group)])

    def _check(self) -> None:
        count = len(self.positions)
        if self.resident not in ("auto", True, False):
            raise UserError(f"resident is {self.resident!r}: give True, False or 'auto'.")
        if self.batch_size < 1:
            raise UserError(f"The batch size is {self.batch_size}: give at least 1.")
        if count == 0:
            raise UserError("There are no images to make batches of: the split or the indices are empty.")
        if self.positions.min() < 0 or self.positions.max() >= len(self.split):
            raise UserError(
                f"Indices run from {self.positions.min()} to {self.positions.max()}, but the split has {len(self.split)} images."
            )
        if self.epoch_images < 1:
            raise UserError(f"epoch_images is {self.epoch_images}: give at least 1.")
        if self.drop_last and self.batch_size > self.epoch_images:
            there = f"the {self.epoch_images} images " + ("there are" if self.epoch_images == count else "of an epoch")
            raise UserError(f"The batch size {self.batch_size} is larger than {there}. Lower it to {self.epoch_images} or less.")

    def _upload(self) -> torch.Tensor:
        """The chosen images on the device, sent in slices so that the host never holds a second copy."""
        target = torch.empty(len(self.positions), *self.split.images.shape[1:], dtype=torch.uint8, device=self.device)
        for rows, place in zip(self.rows.split(_slice(self.image_bytes)), target.split(_slice(self.image_bytes)), strict=True):
            place.copy_(self.images.index_select(0, rows))
            release(self.split.images)
        return target

    def _batches(self, chosen: torch.Tensor) -> Iterator[Batch]:
        if len(chosen) == 0:
            return
        positions = torch.from_numpy(self.positions)[chosen].to(self.device)
        rows = self.rows[chosen]
        images = self._gathered(rows.to(self.device)) if self.resident else self._streamed(rows)
        for pixels, indices in zip(images, positions.split(self.batch_size), strict=True):
            yield Batch(pixels, None if self.labels is None else self.labels[indices], indices)

    def _gathered(self, rows: torch.Tensor) -> Iterator[torch.Tensor]:
        for some in rows.split(self.batch_size):
            yield self.images.index_select(0, some)

    def _streamed(self, rows: torch.Tensor) -> Iterator[torch.Tensor]:
        """Batches read ahead by one background thread, at most PREFETCH of them waiting."""
        waiting: queue.Queue = queue.Queue(maxsize=PREFETCH)
        stop = threading.Event()
        reader = threading.Thread(target=self._read, args=(rows, waiting, stop), daemon=True)
        reader.start()
        try:
            for _ in range(-(-len(rows) // self.batch_size)):
                item = waiting.get()
                if isinstance(item, BaseException):
                    raise item
                yield item.to(self.device, non_blocking=True)
        finally:
            stop.set()
            while reader.is_alive():  # the reader may be waiting for room in the queue
                _drain(waiting)
                reader.join(timeout=0.01)

    def _read(self, rows: torch.Tensor, waiting: queue.Queue, stop: threading.Event) -> None:
        try:
            seen = 0
            for some in rows.split(self.batch_size):
                if stop.is_set():
                    return
                pixels = torch.empty(len(some), *self.images.shape[1:], dtype=torch.uint8, pin_memory=self.device.type == "cuda")
                torch.index_select(self.images, 0, some, out=pixels)
                waiting.put(pixels)
                seen += pixels.nbytes
                if seen >= RELEASE_BYTES:  # the pages read so far would otherwise stay in this process's memory
                    release(self.split.images)
                    seen = 0
        except BaseException as error:
            waiting.put(error)
        finally:
            release(self.split.images)


def _drain(waiting: queue.Queue) -> None:
    try:
        while True:
            waiting.get_nowait()
    except queue.Empty:
        pass


def _slice(image_bytes: int) -> int:
    return max(1, GROUP_BYTES // 2 // image_bytes)


def as_tensor(images: np.ndarray) -> torch.Tensor:
    """The array or memory map as a tensor that shares its memory; nothing here ever writes to it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(images)


def release(images: np.ndarray) -> None:
    """Let go of the pages of a memory map that were read; they come back from the file when asked for again."""
    pages = getattr(images, "_mmap", None)
    if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)


def free_memory(device: torch.device) -> int:
    """Bytes free on the device, or available in this machine's memory."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        with open("/proc/meminfo") as lines:
            for line in lines:
                if line.startswith("MemAvailable"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
