"""From losses to trained weights: optimizers, schedules, the range test, the loop, checkpoints."""

from helpers.training.loop import Training, train
from helpers.training.optimizers import OPTIMIZERS
from helpers.training.range_test import Sweep, range_test
from helpers.training.schedules import SCHEDULES
from helpers.training.settings import TrainSettings
from helpers.training.stopping import Stopped, graceful

__all__ = ["OPTIMIZERS", "SCHEDULES", "Stopped", "Sweep", "TrainSettings", "Training", "graceful", "range_test", "train"]
