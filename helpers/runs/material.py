"""The images a run works on, found from the data section of its config: read once a process, whatever the number of runs."""

import functools
from dataclasses import dataclass

import numpy as np

from helpers.core.errors import UserError
from helpers.data import Dataset, Split, load, subset
from helpers.runs.config import Data

FEWEST = 10  # labelled images a linear probe can be fitted on


@dataclass
class Material:
    """The images a run works on: the same for all runs of the same data section."""

    dataset: Dataset
    train: Split
    bank: Split  # where the labelled images are
    test: Split
    train_indices: np.ndarray
    labelled: np.ndarray  # of the bank, those whose labels may be seen
    test_indices: np.ndarray


@functools.lru_cache(maxsize=4)
def _loaded(key: str) -> Material:
    data = Data.model_validate_json(key)
    dataset = load(
        data.dataset,
        image_size=data.image_size,
        options=data.options or None,
        test_share=data.test_share,
        skip_damaged=data.skip_damaged,
    )
    train_split, test_split = dataset.split(data.train_split), dataset.split(data.test_split)
    available = len(train_split.images)
    if data.train_images is not None and data.train_images > available:
        raise UserError(f"data.train_images = {data.train_images}, but {data.dataset} has {available} images in {data.train_split!r}.")
    chosen = subset(_ids(train_split), count=data.train_images) if data.train_images else np.arange(available)
    if data.validation is not None:
        test_split, held = train_split, _held_out(data, train_split, chosen)
        chosen = np.setdiff1d(chosen, held)
    bank = dataset.split(data.label_split) if data.label_split else train_split
    if bank.labels is None or test_split.labels is None:
        raise UserError(
            f"{data.dataset} has no labels in {data.label_split or data.train_split!r} or in {data.test_split!r}, and every readout "
            "needs them. Name a labelled split in data.label_split (STL-10 trained on 'unlabeled' is read out on 'train')."
        )
    labelled = np.arange(len(bank.images)) if data.label_split else chosen
    if data.label_fraction < 1:
        labelled = labelled[subset(bank.labels[labelled], fraction=data.label_fraction)]
    if len(labelled) < FEWEST:
        raise UserError(f"{len(labelled)} labelled images are too few for a linear probe, which needs {FEWEST}: raise data.label_fraction.")
    if len(np.unique(bank.labels[labelled])) < 2:
        raise UserError(
            f"All {len(labelled)} labelled images of {data.dataset} are of one class, so there is nothing to tell apart. "
            "Use a dataset of two classes or more."
        )
    if data.validation is not None:
        tested = held
    else:
        tested = subset(_ids(test_split), count=data.test_images) if data.test_images else np.arange(len(test_split.images))
    return Material(dataset, train_split, bank, test_split, chosen, labelled, tested)


def _held_out(data: Data, split: Split, chosen: np.ndarray) -> np.ndarray:
    """The slice of the training images that stands in for the test set; the same for every run of the same data."""
    if data.validation >= len(chosen):
        raise UserError(f"data.validation = {data.validation} leaves nothing to train on of {len(chosen)} images. Lower it.")
    return chosen[subset(_ids(split)[chosen] if split.labels is not None else len(chosen), count=data.validation, seed=1)]


def _ids(split: Split):
    return split.labels if split.labels is not None else len(split.images)


def material(data: Data) -> Material:
    return _loaded(data.model_dump_json())
