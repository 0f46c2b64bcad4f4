"""What MoCo v1 and v2 share: a query must find its own key among the keys of many steps, which a slow copy of the network makes."""

import torch
from torch import nn

from helpers.core.errors import UserError
from helpers.methods.average import Average
from helpers.methods.base import Method, forward_views
from helpers.methods.gather import gathered
from helpers.methods.losses import info_nce
from helpers.methods.queue import Queue, check_queue


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
        projector: nn.Module,
        out: int,
        temperature: float,
        momentum: float,
        queue: int,
        groups: int,
        symmetric: bool,
    ):
        super().__init__(encoder, views)
        exactly_two(self)
        if queue < 1 or groups < 1:
            raise UserError(f"queue = {queue} and groups = {groups}: {self.card.title} needs at least 1 of each.")
        self.temperature, self.groups, self.symmetric = temperature, groups, symmetric
        self.projector = projector
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


def exactly_two(method: Method) -> None:
    """Refuse views that would be made and never looked at."""
    count = method.views.settings.count
    if count != 2:
        raise UserError(f"views.count = {count}: {method.card.title} compares two views of an image. Set count=2.")
