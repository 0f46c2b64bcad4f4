"""Downstream accuracy on the way: the encoder of some epochs, frozen under a linear probe and fine-tuned, as it would be used."""

import time
from pathlib import Path

import numpy as np
import torch

from helpers.core.errors import TrainingStopped
from helpers.core.files import write_with
from helpers.core.progress import line
from helpers.evaluation import extract, probe
from helpers.evaluation.finetune import finetune
from helpers.methods import Method
from helpers.runs.config import RunConfig
from helpers.runs.material import Material
from helpers.views import make_views

READOUTS = ("linear", "finetune")


class Downstream:
    """Called after every epoch; what is due is measured and goes into the log. Nothing is ever chosen by it.

    Predictions wait in a file an epoch beside the checkpoints, so that a run which was interrupted has those from before.
    """

    def __init__(self, config: RunConfig, images: Material, device: torch.device, folder: Path):
        self.config, self.images, self.device, self.folder = config, images, device, folder
        self.views = make_views("supervised", images.train.images.shape[-1])  # the same for all techniques

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
            write_with(self._file(epoch), lambda part: _write(part, found))
        return row | {"downstream_seconds": round(time.perf_counter() - started, 3)}

    def predictions(self, name: str, encoder) -> np.ndarray | None:
        """What the test images are called; None where fine-tuning diverged, which costs this readout and not the run."""
        try:
            result = self.frozen(encoder) if name == "linear" else self.tuned(encoder)
        except TrainingStopped as error:
            line(f"{self.config.id}  not fine-tuned: {error}")
            return None
        return result.predictions.cpu().numpy().astype(np.uint16)

    def accuracy(self, predictions: np.ndarray) -> float:
        return float(100 * (predictions == self.images.test.labels[self.images.test_indices]).mean())

    def frozen(self, encoder):
        read = {"device": self.device, "precision": self.config.training.precision}
        train = extract(encoder, self.views, self.images.bank, indices=self.images.labelled, **read)
        test = extract(encoder, self.views, self.images.test, indices=self.images.test_indices, **read)
        return probe(train, test, len(self.images.dataset.classes))

    def tuned(self, encoder):
        return finetune(
            encoder,
            self.views,
            self.images.bank,
            self.images.test,
            len(self.images.dataset.classes),
            device=self.device,
            indices=self.images.labelled,
            test_indices=self.images.test_indices,
            epochs=self.config.evaluation.finetune_epochs,
            rate=self.config.evaluation.finetune_rate,
            seed=self.config.seed,
            precision=self.config.training.precision,
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """<readout>.epochs [m] and <readout>.on_the_way [m, n], the predictions at each of them."""
        kept = {}
        for name in READOUTS:
            due = [epoch for epoch in range(1, self.config.training.epochs + 1) if name in self.due(epoch)]
            found = {epoch: predictions for epoch in due if (predictions := self._read(epoch).get(name)) is not None}
            if found:
                kept[f"{name}.epochs"] = np.array(list(found), np.uint16)
                kept[f"{name}.on_the_way"] = small(np.stack(list(found.values())))
        return kept

    def last(self, name: str) -> np.ndarray | None:
        return self._read(self.config.training.epochs).get(name)

    def _file(self, epoch: int) -> Path:
        return self.folder / f"downstream-{epoch:05d}.npz"

    def _read(self, epoch: int) -> dict[str, np.ndarray]:
        if not self._file(epoch).is_file():  # nothing of that epoch could be measured
            return {}
        with np.load(self._file(epoch), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}


def small(predictions: np.ndarray) -> np.ndarray:
    """Predictions as a record keeps them: the smallest whole numbers that hold them."""
    return predictions.astype(np.uint8 if predictions.max(initial=0) < 256 else np.uint16)


def _write(part: Path, arrays: dict[str, np.ndarray]) -> None:
    with open(part, "wb") as file:
        np.savez(file, **arrays)
