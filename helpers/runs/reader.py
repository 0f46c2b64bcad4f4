"""How a run reads its encoder where labels are used: its features, and the encoder itself trained end to end on some of them."""

import numpy as np
import torch

from helpers.core.errors import TrainingStopped
from helpers.core.progress import line
from helpers.evaluation import Features, extract
from helpers.evaluation.finetune import finetune
from helpers.evaluation.metrics import Probe
from helpers.runs.config import RunConfig
from helpers.runs.material import Material
from helpers.views import make_views


class Reader:
    """The same for whatever is compared: images, classes, precision, and the views of fine-tuning."""

    def __init__(self, config: RunConfig, images: Material, device: torch.device):
        self.config, self.images, self.classes = config, images, len(images.dataset.classes)
        self.views = make_views("supervised", images.train.images.shape[-1])
        self.how = {"device": device, "precision": config.training.precision}

    def features(self, encoder) -> tuple[Features, Features]:
        """Of the labelled images, and of the test images."""
        train = extract(encoder, self.views, self.images.bank, indices=self.images.labelled, **self.how)
        return train, extract(encoder, self.views, self.images.test, indices=self.images.test_indices, **self.how)

    def tuned(self, encoder, indices: np.ndarray, **settings) -> Probe | None:
        """Trained end to end on these images of the bank; None where that diverged, which costs this reading and not the run."""
        both = {"indices": indices, "test_indices": self.images.test_indices, "seed": self.config.seed}
        try:
            return finetune(encoder, self.views, self.images.bank, self.images.test, self.classes, **both, **settings, **self.how)
        except TrainingStopped as error:
            line(f"{self.config.id}  not fine-tuned: {error}")
            return None
