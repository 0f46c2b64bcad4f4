"""Datasets packed as uint8, their subsets, and batches of them on the device."""

from helpers.data.batches import Batch, Batches
from helpers.data.catalogue import DATASETS, load
from helpers.data.dataset import Dataset, Split
from helpers.data.subsets import subset

__all__ = ["DATASETS", "Batch", "Batches", "Dataset", "Split", "load", "subset"]
