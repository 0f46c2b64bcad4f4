"""Downstream accuracy on the way: the encoder of some epochs, frozen under a linear probe and fine-tuned, as it would be used."""

import time
from pathlib import Path

import numpy as np
import torch

from helpers.evaluation import Probe, probe
from helpers.methods import Method
from helpers.runs.config import RunConfig
from helpers.runs.material import Material
from helpers.runs.reader import Reader
from helpers.runs.stages import Found, store, stored

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
            result = self.measured(name, method.encoder)
            if result is not None:
                found |= kept(name, result)
                row[name] = self.accuracy(found[name])
        if found:
            store(self._file(epoch), found)
        return row | {"downstream_seconds": round(time.perf_counter() - started, 3)}

    def measured(self, name: str, encoder) -> Probe | None:
        """None where fine-tuning diverged."""
        if name == "linear":
            return probe(*self.reader.features(encoder), self.reader.classes)
        asked = self.config.evaluation
        how = {part: getattr(asked, f"finetune_{part}") for part in ("recipe", "epochs", "steps", "rate")}
        return self.reader.tuned(encoder, self.images.labelled, **how)

    def tuned(self, found: dict[str, np.ndarray]) -> Found:
        """What a record keeps of a fine-tuning, under its bare name."""
        predictions = found["finetune"]
        told = {"top1": self.accuracy(predictions)}
        if "finetune_train" in found:  # an interrupted run's file may be of before this was kept
            told["train_top1"] = float(found["finetune_train"])
        return {"finetune": told}, {"finetune.predictions": small(predictions)}

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

    def last(self) -> dict[str, np.ndarray]:
        return self._read(self.config.training.epochs)

    def _file(self, epoch: int) -> Path:
        return self.folder / f"downstream-{epoch:05d}.npz"

    def _read(self, epoch: int) -> dict[str, np.ndarray]:
        return stored(self._file(epoch)) or {}  # nothing of that epoch could be measured


def kept(name: str, result: Probe) -> dict[str, np.ndarray]:
    """What the test images are called, and how many of the images it was trained on are right (in percent)."""
    return {name: result.predictions.cpu().numpy().astype(np.uint16), f"{name}_train": np.array(result.train_top1)}


def small(predictions: np.ndarray) -> np.ndarray:
    """Predictions as a record keeps them: the smallest whole numbers that hold them."""
    return predictions.astype(np.uint8 if predictions.max(initial=0) < 256 else np.uint16)
