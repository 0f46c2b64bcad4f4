"""What an encoder is worth with few labels: draws of several fractions, frozen under a linear probe and trained end to end.

Before training the same is done with the encoder's first weights. Trained end to end, these are supervision from scratch: same draw, same
steps, rate and views as the fine-tuning it is compared with, so that nothing but the weights to begin with differs. A draw is a run's own
(seeds then hold the luck of the labels as well) and the same for everything that is compared within the run.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from helpers.core.errors import UserError
from helpers.core.seeds import generator
from helpers.evaluation import Features, Probe, probe
from helpers.evaluation.finetune import RECIPES
from helpers.evaluation.finetune import epochs_of as tuning_epochs
from helpers.evaluation.knn import neighbours
from helpers.evaluation.linear import FOLDS
from helpers.insight import keep, thumbnails
from helpers.methods import Method
from helpers.runs.config import LabelDraws, RunConfig
from helpers.runs.material import FEWEST, Material
from helpers.runs.pictures import SIDE, raw_images
from helpers.runs.reader import Reader
from helpers.runs.stages import store, stored
from helpers.training import Stopped

READOUTS = ("linear", "finetune")
WRONG = 3  # ranks from here on are kept as one: nothing beyond top-3 is asked for
LOST = 255  # the rank of every image where fine-tuning diverged
NEAREST = 5
AT_RANDOM, FAILURES = 6, 4  # test images shown with their neighbours: any, and of those without a neighbour of their class


def slots(asked: LabelDraws) -> list[tuple[float, int]]:
    """(fraction, draw) of everything that is read out; of all labels there is only one draw."""
    return [(fraction, draw) for fraction in asked.fractions for draw in range(asked.draws if fraction < 1 else 1)]


def drawn(labels: np.ndarray, fraction: float, seed: int, draw: int) -> np.ndarray:
    """Sorted places of that share of each class. Each class is shuffled once a draw, so that a smaller fraction lies within a larger."""
    chosen = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        order = torch.randperm(len(members), generator=generator("cpu", seed, "labels", draw, int(label))).numpy()
        chosen.append(members[order[: round(fraction * len(members))]])
    return np.sort(np.concatenate(chosen))


def check(asked: LabelDraws, images: Material) -> None:
    """An error where the smallest fraction leaves a class without a label, or a probe with too few."""
    labels = images.bank.labels[images.labelled]
    found, sizes = np.unique(labels, return_counts=True)
    least, few = int(sizes.min()), asked.fractions[0]
    if round(few * least) < 1:
        name = images.dataset.classes[int(found[sizes.argmin()])]
        raise UserError(
            f"fractions: {100 * few:g} % of the {least} labelled images of class {name!r} is none, and a class without a label cannot be "
            f"learnt. Give at least {1 / least:.2g}, or more training images."
        )
    if (count := sum(round(few * size) for size in sizes)) < FEWEST:
        raise UserError(f"fractions: {100 * few:g} % of the labels are {count} images, and a linear probe needs {FEWEST}. Raise it.")


def epochs_of(asked: LabelDraws, count: int) -> int:
    """Epochs over so many labelled images: those asked for, or as many as the least number of steps takes."""
    return tuning_epochs(count, asked.batch_size, asked.epochs, asked.steps)


class Labels:
    """What is read out with few labels, in parts of a draw each that wait beside the checkpoints: an interruption loses none."""

    def __init__(self, config: RunConfig, images: Material, device: torch.device, folder: Path, stop: Callable[[], str | None]):
        self.config, self.images, self.folder, self.stop = config, images, folder, stop
        self.asked = config.evaluation.labels
        if self.asked is not None:
            check(self.asked, images)
            self.reader = Reader(config, images, device)
            self.slots = slots(self.asked)
            known = images.bank.labels[images.labelled]
            self.places = [drawn(known, fraction, config.seed, draw) for fraction, draw in self.slots]
            self.first = self.slots.index((self.asked.reference, 0))

    def before(self, method: Method) -> "Labels":
        """The encoder's first weights, read out in full; to be called before it is trained or resumed."""
        if self.asked is not None:
            self.untrained = self._whole("untrained", method.encoder)
        return self

    def __call__(self, method: Method, epoch: int) -> dict:
        """Called after every epoch; what is due goes into the log. Nothing is ever chosen by it."""
        if self.asked is None:
            return {}
        ranks = self._on_the_way(epoch, method.encoder) if epoch in self._epochs() else {}
        return {f"{name}_few": _accuracy(ranks.get(name)) for name in READOUTS}

    def after(self, method: Method) -> dict[str, np.ndarray]:
        """Every array that the record keeps: labels.<trained|untrained>.<linear|finetune> [slots, images], accuracies on the labelled
        images as <linear|finetune>_train [slots], and what they are of."""
        if self.asked is None:
            return {}
        arrays = {
            "labels.fractions": np.array([fraction for fraction, _ in self.slots]),
            "labels.draws": np.array([d for _, d in self.slots]),
        }
        arrays["labels.counts"] = np.array([len(places) for places in self.places])
        for who, found in (("untrained", self.untrained), ("trained", self._whole("trained", method.encoder))):
            arrays |= {f"labels.{who}.{name}": ranks for name, ranks in found.items()}
        way = {epoch: ranks for epoch in self._epochs() if (ranks := stored(self._file(f"epoch-{epoch:05d}")))}
        if way:
            arrays["labels.epochs"] = np.array(list(way))
            arrays |= {f"labels.way.{name}": np.stack([ranks[name] for ranks in way.values()]) for name in READOUTS}
        if self.asked.pictures:
            arrays |= self._pictures(arrays["labels.trained.nearest"], arrays.pop("labels.trained.places"))
        return {name: values for name, values in arrays.items() if not name.endswith(".places")}

    def _epochs(self) -> list[int]:
        return [epoch for epoch in self.asked.on_the_way if epoch < self.config.training.epochs]  # the last one is read out in full

    def _whole(self, who: str, encoder) -> dict[str, np.ndarray]:
        """Ranks of the true class by readout [slots, images], train accuracies, and the nearest neighbours of the test images."""
        frozen = self._part(f"{who}-frozen", lambda: self._frozen(encoder))
        tuned = [
            self._part(f"{who}-{number}", lambda places=places: self._tuned(encoder, places)) for number, places in enumerate(self.places)
        ]
        return frozen | _stacked(tuned)

    def _on_the_way(self, epoch: int, encoder) -> dict[str, np.ndarray]:
        places = self.places[self.first]

        def measured() -> dict[str, np.ndarray]:
            train, test = self.reader.features(encoder)
            return self._probed(train, test, places) | self._tuned(encoder, places)

        return self._part(f"epoch-{epoch:05d}", measured, now=True)  # stopped here, the epoch behind it would have to be trained again

    def _part(self, name: str, measure: Callable[[], dict[str, np.ndarray]], now: bool = False) -> dict[str, np.ndarray]:
        """What was measured before, or is now unless there is a word to stop."""
        if (found := stored(self._file(name))) is None:
            if not now and (reason := self.stop()):
                raise Stopped(f"{self.config.id} stopped while it was read out with few labels, because {reason}; run again to go on.")
            store(self._file(name), found := measure())
        return found

    def _file(self, name: str) -> Path:
        return self.folder / f"labels-{name}.npz"

    def _frozen(self, encoder) -> dict[str, np.ndarray]:
        train, test = self.reader.features(encoder)
        _, index = neighbours(train.x, test.x, min(NEAREST, len(train.x)))
        same = (train.y[index] == test.y[:, None]).sum(1)
        ranks = _stacked([self._probed(train, test, places) for places in self.places])
        return ranks | {"nearest": same.cpu().numpy().astype(np.uint8), "places": index.cpu().numpy().astype(np.uint32)}

    def _probed(self, train: Features, test: Features, places: np.ndarray) -> dict[str, np.ndarray]:
        rows = torch.from_numpy(places).to(train.x.device)
        return self._kept("linear", probe(Features(train.x[rows], train.y[rows]), test, self.reader.classes, folds=FOLDS))

    def _tuned(self, encoder, places: np.ndarray) -> dict[str, np.ndarray]:
        how = self.asked.model_dump(include={"recipe", "epochs", "steps", "batch_size", "rate", "weight_decay"})
        return self._kept("finetune", self.reader.tuned(encoder, self.images.labelled[places], **how))

    def _kept(self, name: str, result: Probe | None) -> dict[str, np.ndarray]:
        """Ranks of the test images, and accuracy in percent on the images it was trained on."""
        lost = np.full(len(self.images.test_indices), LOST, np.uint8), np.float32("nan")
        ranks, train = lost if result is None else (_ranks(result), np.float32(result.train_top1))
        return {name: ranks, f"{name}_train": np.array(train)}

    def _pictures(self, same: np.ndarray, places: np.ndarray) -> dict[str, np.ndarray]:
        """neighbours.*: random test images, and random ones of those that have no neighbour of their class, with the nearest images."""
        order = np.random.default_rng(0).permutation(len(same))
        shown, rest = order[:AT_RANDOM], order[AT_RANDOM:]
        rows = np.concatenate([shown, rest[same[rest] == 0][:FAILURES]])
        nearest = self.images.labelled[places[rows]]
        return {
            "neighbours.rows": rows,
            "neighbours.labels": self.images.test.labels[self.images.test_indices[rows]],
            "neighbours.found": self.images.bank.labels[nearest],
            "neighbours.queries": keep(thumbnails(raw_images(self.images.test, self.images.test_indices[rows]), SIDE)),
            "neighbours.images": keep(thumbnails(raw_images(self.images.bank, nearest.reshape(-1)), SIDE)),
        }


def _stacked(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """[slots, ...] of what all of them hold: those of an interrupted run may be of before something was kept."""
    return {name: np.stack([part[name] for part in parts]) for name in parts[0] if all(name in part for part in parts)}


def _ranks(result) -> np.ndarray:
    return result.ranks.clamp(max=WRONG).cpu().numpy().astype(np.uint8)


def _accuracy(ranks: np.ndarray | None) -> float:
    return float("nan") if ranks is None or (ranks == LOST).all() else float(100 * (ranks == 0).mean())


def seconds(config: RunConfig, images: Material, a_view: float, forward: float, classifier: float) -> float:
    """What all of it takes, from the seconds of training on one view; forward passes cost a share of that, a full probe its own time."""
    asked = config.evaluation.labels
    if asked is None:
        return 0.0
    train, test = len(images.labelled), len(images.test_indices)

    def tuned(fraction: float) -> float:
        count = max(1, round(fraction * train))
        batch = min(asked.batch_size, count)
        head = probed(fraction) * (asked.recipe == "from_probe")
        return head + (epochs_of(asked, count) * (count // batch) * batch + forward * (RECIPES[asked.recipe] * count + test)) * a_view

    def probed(fraction: float) -> float:
        return FOLDS * classifier * max(fraction, SMALLEST)

    whole = sum(tuned(fraction) + probed(fraction) for fraction, _ in slots(asked)) + forward * (train + test) * a_view
    once = tuned(asked.reference) + probed(asked.reference) + forward * (train + test) * a_view
    return 2 * whole + sum(epoch < config.training.epochs for epoch in asked.on_the_way) * once


SMALLEST = 0.1  # of a full probe's time: what one of few images takes
