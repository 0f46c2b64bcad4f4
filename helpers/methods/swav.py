"""SwAV (Caron et al. 2020): predict from one view which prototypes the other one was assigned to."""

import torch
import torch.nn.functional as F
from torch import nn

from helpers.core.errors import UserError
from helpers.methods.base import Card, Method, held
from helpers.methods.gather import gathered
from helpers.methods.losses import sinkhorn, swav_loss
from helpers.methods.queue import Queue, check_queue
from helpers.models import mlp_head


class SwAV(Method):
    """Encoder, projector and prototypes. Assignments come from the large views alone, and every other view, small ones too, has to
    predict them. `queue` embeddings of each large view help to share out the prototypes evenly where a batch has fewer samples.

    Prototypes have length 1 whenever they are used (normalised in the forward pass, not after the step), and stand still for the
    share `frozen` of the run. The queue is filled from the first step on, so that it never holds what was not an embedding, and
    used once it is full and the share `queue_from` has passed. 3000 prototypes and a queue of 3840 in the paper, which has a
    thousand classes; where assignments come out uniform a smaller epsilon (0.03) sharpens them. In the log, `used_prototypes`
    counts those nearest to some view of the batch: 1, and a loss of ln(prototypes), is a collapse.
    """

    card = Card(
        title="SwAV",
        paper="Caron, Misra, Mairal, Goyal, Bojanowski, Joulin: Unsupervised Learning of Visual Features by Contrasting Cluster Assignments (2020)",
        loss="−Σ_k q⁺_k log softmax(zᵀC/τ)_k,  q = sinkhorn(zᵀC/ε)",
        recipe="swav_small",
        kept="weights, prototypes, the queue and how often it was filled",
    )
    views_needed = 2
    takes_small_views = True

    def __init__(
        self,
        encoder,
        views,
        *,
        hidden: int = 1024,
        out: int = 128,
        prototypes: int = 256,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        iterations: int = 3,
        frozen: float = 0.02,
        queue: int = 1024,
        queue_from: float = 0.1,
    ):
        super().__init__(encoder, views)
        self.temperature, self.epsilon, self.iterations = temperature, epsilon, iterations
        self.frozen, self.queue_from = frozen, queue_from
        self.large = views.settings.count
        self.projector = mlp_head((encoder.width, hidden, out))
        self.prototypes = nn.Linear(out, prototypes, bias=False)
        self.queues = nn.ModuleList(Queue(queue, out) for _ in range(self.large if queue else 0))  # each large view has its own
        self.pushed = 0  # embeddings that went into each queue; a number of the host, so that asking for it waits for nothing
        self._newest = None

    def check(self, images, batch_size, parts=1):
        size = len(self.queues[0].keys) if self.queues else 0
        if size:
            check_queue(size, images, batch_size)
        samples, prototypes = batch_size + size, len(self.prototypes.weight)
        if prototypes > samples:
            raise UserError(
                f"prototypes = {prototypes}, but only {samples} samples share them out (a batch of {batch_size} and a queue of {size}), so "
                f"some would stay empty. Lower prototypes to {samples} or less, or raise queue."
            )

    def embed(self, inputs):
        return {"z": self.projected(inputs)}

    def criterion(self, outputs, batch):
        weight = held(self.prototypes.weight, batch.progress < self.frozen)
        weight = F.normalize(weight.float(), dim=1)
        z = F.normalize(outputs["z"].float(), dim=2)
        scores = z @ weight.T
        assignments = torch.stack([self._assigned(scores[:, view].detach(), weight.detach(), view, batch) for view in range(self.large)], 1)
        self._newest = z[:, : self.large].detach()
        used = torch.zeros(len(weight), device=z.device).index_fill_(0, scores.detach().argmax(2).flatten(), 1).sum()
        return swav_loss(scores, assignments, self.temperature), {"used_prototypes": used}

    def _assigned(self, scores, weight, view, batch):
        stored = None
        if self.queues and batch.progress >= self.queue_from and self.pushed >= len(self.queues[view].keys):
            stored = self.queues[view].keys @ weight.T
        return sinkhorn(scores, self.epsilon, self.iterations, stored)

    def after_step(self, progress):
        newest = gathered(self._newest) if self.queues else None
        for view, queue in enumerate(self.queues):
            queue.push(newest[:, view])
        self.pushed += len(newest) if self.queues else 0
        self._newest = None

    def get_extra_state(self):
        return {"pushed": self.pushed}

    def set_extra_state(self, state):
        self.pushed = state["pushed"]
