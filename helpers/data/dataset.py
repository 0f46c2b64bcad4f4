"""What a dataset is: named splits of uint8 images with integer labels, and where they came from."""

from dataclasses import dataclass

import numpy as np

from helpers.core.errors import pick


@dataclass(frozen=True)
class Split:
    """Images uint8 [n,3,s,s] (an array or a memory map) and labels int64 [n], or None where there are none."""

    images: np.ndarray
    labels: np.ndarray | None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Dataset:
    """Named splits with their class names, source, licence and a hash of every pixel and label."""

    name: str
    splits: dict[str, Split]
    classes: tuple[str, ...]
    source: str
    licence: str
    hash: str
    side: int  # of most images as they came: beyond it a larger size shows nothing more

    def split(self, name: str) -> Split:
        return pick(f"split of {self.name}", name, self.splits)

    @property
    def image_size(self) -> int:
        return next(iter(self.splits.values())).images.shape[-1]
