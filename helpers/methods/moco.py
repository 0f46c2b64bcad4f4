"""MoCo v1 and v2 (He et al. 2020, Chen et al. 2020): a query must find its own key among the keys of many steps, which a slow copy of
the network makes, so that their number no longer depends on the batch."""

from dataclasses import replace
from functools import partialmethod

import torch
from torch import nn

from helpers.core.errors import UserError
from helpers.methods.average import Average
from helpers.methods.base import Card, Method, forward_views
from helpers.methods.gather import gathered
from helpers.methods.losses import info_nce
from helpers.methods.queue import Queue, check_queue
from helpers.models import mlp_head


class MoCo(Method):
    """Encoder and projector make queries; their average makes keys, which join a queue after the step.

    Asymmetric as published: the first view is the query, the second its key. `symmetric` has both views play both parts, which is
    twice the work and about worth twice the epochs, so say which it was.
    Keys are shuffled and pass the average in `groups` parts, each with batch statistics of its own: what MoCo has from shuffling over
    devices. Otherwise both would carry the statistics of the same images, by which they could be told from the queue's keys without
    a look at the image. Queries stay in one batch (published: one a device). An encoder without batch norm can do with groups=1.
    """

    views_needed = 2

    def __init__(
        self,
        encoder,
        views,
        *,
        hidden: int = 0,
        temperature: float = 0.07,
        out: int = 128,
        momentum: float = 0.99,
        queue: int = 4096,
        groups: int = 4,
        symmetric: bool = False,
    ):
        super().__init__(encoder, views)
        exactly_two(self)
        if queue < 1 or groups < 1:
            raise UserError(f"queue = {queue} and groups = {groups}: {self.card.title} needs at least 1 of each.")
        self.temperature, self.groups, self.symmetric = temperature, groups, symmetric
        self.projector = mlp_head((encoder.width, hidden, out), norm="none") if hidden else nn.Linear(encoder.width, out)
        self.average = Average(self._online(), momentum)
        self.queue = Queue(queue, out)

    def _online(self) -> nn.Sequential:
        return nn.Sequential(self.encoder, self.projector)

    def check(self, images, batch_size, parts=1):
        check_queue(len(self.queue.keys), images, batch_size * (1 + self.symmetric))
        together = batch_size // parts  # what passes the average at once
        if together < 2 * self.groups:
            raise UserError(
                f"groups = {self.groups} parts of a batch of {together} leave batch norm less than two images each. "
                f"Set groups to {max(1, together // 2)} or less, or raise the batch size."
            )

    def prepare(self, views, batch):
        queries, keys = (views[:2], views[1::-1]) if self.symmetric else (views[:1], views[1:2])
        count = len(keys) * len(keys[0])
        return {"queries": queries, "keys": keys, "order": torch.randperm(count, generator=batch.generator, device=keys[0].device)}

    def embed(self, inputs):
        order = inputs["order"]

        def query_of(images):
            return self.projector(self.encoder(images))

        def key_of(images):
            parts = images[order].tensor_split(self.groups * len(inputs["keys"]))
            return torch.cat([self.average(part) for part in parts])[order.argsort()]

        return {"z": forward_views(query_of, inputs["queries"]), "key": forward_views(key_of, inputs["keys"])}

    def criterion(self, outputs, batch):
        queries, keys = outputs["z"].unbind(1), outputs["key"].detach().unbind(1)
        losses = [info_nce(query, key, self.queue.keys, self.temperature) for query, key in zip(queries, keys, strict=True)]
        self.newest = torch.cat(keys)
        return sum(losses) / len(losses), {}

    def after_step(self, progress):
        self.average.follow(self._online(), progress)
        self.queue.push(nn.functional.normalize(gathered(self.newest).float(), dim=1))


class MoCoV1(MoCo):
    """MoCo behind one linear layer (hidden = 0), at temperature 0.07.

    Smaller than published, as runs are short and images few: 4,096 keys where the papers keep 65,536, an average that follows at 0.99
    where they have 0.999. Its views are those of v2 without blur; the published ones jitter every image's colours, by 0.4 in the hue as well.
    """

    card = Card(
        title="MoCo v1",
        paper="He, Fan, Wu, Xie, Girshick: Momentum Contrast for Unsupervised Visual Representation Learning (2020)",
        loss="−log( exp(q·k⁺/τ) / ( exp(q·k⁺/τ) + Σ_queue exp(q·k/τ) ) )",
        recipe="simclr_small",
        kept="the average (key encoder) with its batch statistics, the queue and its place",
    )


class MoCoV2(MoCoV1):
    """MoCo with SimCLR's MLP head, here without batch norm, and a softer temperature; the published views (recipe moco_v2) also blur."""

    card = replace(
        MoCoV1.card,
        title="MoCo v2",
        paper="Chen, Fan, Girshick, He: Improved Baselines with Momentum Contrastive Learning (2020)",
    )
    __init__ = partialmethod(MoCo.__init__, hidden=512, temperature=0.2)


def exactly_two(method: Method) -> None:
    """Refuse views that would be made and never looked at."""
    count = method.views.settings.count
    if count != 2:
        raise UserError(f"views.count = {count}: {method.card.title} compares two views of an image. Set count=2.")
