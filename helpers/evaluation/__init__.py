"""What a trained encoder knows: features, kNN, linear probe, fine-tuning. Nothing here chooses by looking at the test set."""

from helpers.evaluation.features import Features, extract
from helpers.evaluation.finetune import finetune
from helpers.evaluation.linear import probe
from helpers.evaluation.metrics import Probe, confusion, per_class, top_k
from helpers.evaluation.protocol import Evaluation, evaluate

__all__ = ["Evaluation", "Features", "Probe", "confusion", "evaluate", "extract", "finetune", "per_class", "probe", "top_k"]
