"""Downstream accuracy on the way: the encoder of some epochs, frozen under a linear probe and fine-tuned, as it would be used."""

import time
from pathlib import Path

import numpy as np
import torch

from helpers.evaluation import probe
from helpers.methods import Method
from helpers.runs.config import RunConfig
from helpers.runs.material import Material
from helpers.runs.reader import Reader
from helpers.runs.stages import store, stored

READOUTS = ("linear", "finetune")


class Downstream:
    """Called after every epoch; what is due is measured and goes into the log. Nothing is ever chosen by it.

    Predictions wait in a file an epoch beside the checkpoints, so that a run which was interrupted has those from before.
    """

    def __init__(self, config: RunConfig, images: Material, device: torch.device, folder: Path):
        self.config, self.images, self.folder, self.reader = config, images, folder, Reader(config, images, device)

    def due(self, epoch: int) -> list[str]:
        asked = self.config.evaluation
        last = epoch == self.config.training.epochs
        frozen = asked.every is not None and (last or epoch % asked.every == 0)
        tuned = asked.finetune_epochs and (last or (asked.finetune_every is not None and epoch % asked.finetune_every == 0))
        return [name for name, now in zip(READOUTS, (frozen, tuned), strict=True) if now]

    def __call__(self, method: Method, epoch: int) -> dict:
        if self.config.evaluation.every is None and not self.config.evaluation.finetune_epochs:
            return {}
        started, row, due = time.perf_counter(), dict.fromkeys(READOUTS, float("nan")), self.due(epoch)
        found = {}
        for name in due:
            predictions = self.predictions(name, method.encoder)
            if predictions is not None:
                found[name], row[name] = predictions, self.accuracy(predictions)
        if found:
            store(self._file(epoch), found)
        return row | {"downstream_seconds": round(time.perf_counter() - started, 3)}

    def predictions(self, name: str, encoder) -> np.ndarray | None:
        """What the test images are called; None where fine-tuning diverged."""
        asked = self.config.evaluation
        if name == "linear":
            result = probe(*self.reader.features(encoder), self.reader.classes)
        else:
            result = self.reader.tuned(encoder, self.images.labelled, epochs=asked.finetune_epochs, rate=asked.finetune_rate)
        return None if result is None else result.predictions.cpu().numpy().astype(np.uint16)

    def accuracy(self, predictions: np.ndarray) -> float:
        return float(100 * (predictions == self.images.test.labels[self.images.test_indices]).mean())

    def arrays(self) -> dict[str, np.ndarray]:
        """<readout>.epochs [m] and <readout>.on_the_way [m, n], the predictions at each of them."""
        arrays = {}
        for name in READOUTS:
            due = [epoch for epoch in range(1, self.config.training.epochs + 1) if name in self.due(epoch)]
            found = {epoch: predictions for epoch in due if (predictions := self._read(epoch).get(name)) is not None}
            if found:
                arrays[f"{name}.epochs"] = np.array(list(found), np.uint16)
                arrays[f"{name}.on_the_way"] = small(np.stack(list(found.values())))
        return arrays

    def last(self, name: str) -> np.ndarray | None:
        return self._read(self.config.training.epochs).get(name)

    def _file(self, epoch: int) -> Path:
        return self.folder / f"downstream-{epoch:05d}.npz"

    def _read(self, epoch: int) -> dict[str, np.ndarray]:
        return stored(self._file(epoch)) or {}  # nothing of that epoch could be measured


def small(predictions: np.ndarray) -> np.ndarray:
    """Predictions as a record keeps them: the smallest whole numbers that hold them."""
    return predictions.astype(np.uint8 if predictions.max(initial=0) < 256 else np.uint16)
