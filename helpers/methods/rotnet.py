"""RotNet (Gidaris et al. 2018): which way up is this picture?"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from helpers.core.errors import UserError, unknown
from helpers.methods.base import Card, Method

TURNS = (0, 90, 180, 270)


class RotNet(Method):
    """A net that can tell how far a photograph was turned must know what things look like and which way they stand.

    Every image stands in the batch in all its turns, so batch statistics and shuffling cannot tell one turn from another, and a
    turn moves pixels without interpolating them: there is no blur or border for the net to read the answer from. `turns` takes
    some of the four (the paper compares two, four and eight; the other four of its eight would need interpolation).

    Differs from the paper in its views (any recipe; the paper flips, and on CIFAR-10 shifts) and in that the classifier is linear on
    the pooled features, where the paper's has the last block of a Network in Network before it. That last block belongs to the
    pretext: probe the blocks before it too (helpers.evaluation.blocks). Scenes seen from above have no "up", and little is learned there.
    """

    card = Card(
        title="RotNet",
        paper="Gidaris, Singh, Komodakis: Unsupervised Representation Learning by Predicting Image Rotations (2018)",
        loss="−log softmax(W f(rot(x, k)))_k, over k·90°, k = 0 … 3",
        recipe="rotnet",
    )

    def __init__(self, encoder, views, *, turns: Sequence[int] = TURNS):
        super().__init__(encoder, views)
        for turn in turns:
            if turn not in TURNS:
                raise unknown("turn of RotNet", turn, TURNS)
        if len(set(turns)) < 2 or len(set(turns)) < len(turns):
            raise UserError(f"turns = {list(turns)}: RotNet tells turns apart, so give at least two different ones of {list(TURNS)}.")
        self.turns = tuple(sorted(turns))
        self.turn = nn.Linear(encoder.width, len(self.turns))

    def prepare(self, views, batch):
        return torch.cat([torch.rot90(view, turn // 90, (2, 3)) for view in views for turn in self.turns])

    def embed(self, inputs):
        features = self.encoder(inputs)
        by_sample = self.turn(features).unflatten(0, (self.views.settings.count, len(self.turns), -1)).permute(2, 0, 1, 3)
        first_turn = features.detach().unflatten(0, by_sample.shape[1:3] + (-1,))[:, 0]
        return {"turn": by_sample, "z": first_turn.transpose(0, 1)}

    def criterion(self, outputs, batch):
        logits = outputs["turn"].float()  # [N, views, turns, turns]
        answers = torch.arange(len(self.turns), device=logits.device).expand(logits.shape[:3])
        right = (logits.detach().argmax(3) == answers).float().mean() * 100
        return F.cross_entropy(logits.flatten(0, 2), answers.flatten()), {"turn_accuracy": right}
