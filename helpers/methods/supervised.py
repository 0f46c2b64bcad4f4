"""The reference with labels: cross-entropy on one augmented view, on whatever share of the labels the batches carry."""

import torch.nn.functional as F
from torch import nn

from helpers.core.errors import UserError
from helpers.methods.base import Card, Method


class Supervised(Method):
    card = Card(
        title="Supervised",
        paper="the reference with labels",
        loss="−log softmax(W f)_y",
        recipe="supervised",
    )
    needs_labels = True

    def __init__(self, encoder, views, *, classes: int, smoothing: float = 0.0):
        super().__init__(encoder, views)
        self.smoothing = smoothing
        self.classifier = nn.Linear(encoder.width, classes)

    def embed(self, inputs):
        features = self.encoder(inputs[0])
        return {"logits": self.classifier(features), "z": features.detach()}

    def criterion(self, outputs, batch):
        if batch.labels is None:
            raise UserError(
                "The supervised method needs labels, but this split has none. Use the 'train' split, or a self-supervised method."
            )
        logits = outputs["logits"].float()
        accuracy = (logits.detach().argmax(1) == batch.labels).float().mean() * 100
        return F.cross_entropy(logits, batch.labels, label_smoothing=self.smoothing), {"train_accuracy": accuracy}
