"""InstDisc (Wu et al. 2018): every image is a class of its own, and a memory of all images' embeddings is the classifier."""

import torch
import torch.nn.functional as F
from torch import nn

from helpers.core.errors import UserError
from helpers.methods.base import Card, Method, forward_views
from helpers.methods.gather import gathered
from helpers.methods.losses import instance_discrimination, instance_nce, proximal


class InstDisc(Method):
    """A view must pick its own image's row of the memory among all rows, by softmax, or with `nce` = K from K drawn rows.

    `images` are the positions of the training images in their split, in order: each has one row. After the step a row goes half way
    (`momentum`) to the new embedding. Z of NCE is estimated at the first step and then kept, as published; rows are still
    random there, so it is small, and few images want temperature 0.2 with it (0.1: the loss rises first, and little is learned soon).
    `proximal` weighs the distance of an embedding from its row, which holds it back where rows are visited once an epoch.
    One view suffices; of more, each must find the row, which then goes towards their mean. Against the paper: the full softmax is the
    default, as the images are few, and the proximal term is off, as it slows short runs.
    """

    card = Card(
        title="InstDisc",
        paper="Wu, Xiong, Yu, Lin: Unsupervised Feature Learning via Non-Parametric Instance Discrimination (2018)",
        loss="−log( exp(v_i·f/τ) / Σ_n exp(v_n·f/τ) ) + λ·‖f − v_i‖²",
        recipe="simclr_small",
        kept="the memory, a row an image, and the constant Z of NCE",
    )

    def __init__(
        self,
        encoder,
        views,
        *,
        images: torch.Tensor,
        temperature: float = 0.1,
        out: int = 128,
        momentum: float = 0.5,
        nce: int = 0,
        proximal: float = 0.0,
    ):
        super().__init__(encoder, views)
        images = torch.as_tensor(images)
        if images.ndim != 1 or len(images) < 2 or not (images.diff() > 0).all():
            raise UserError("InstDisc needs the positions of its training images: at least two, rising, each once.")
        if not 0 <= nce < len(images):
            raise UserError(
                f"nce = {nce}: it draws from the {len(images)} training images. Give 0 (full softmax) or fewer than there are images."
            )
        self.temperature, self.momentum, self.nce, self.weight = temperature, momentum, nce, proximal
        self.projector = nn.Linear(encoder.width, out)
        self.register_buffer("images", images.clone(), persistent=False)
        self.register_buffer("memory", F.normalize(torch.randn(len(images), out), dim=1))
        self.register_buffer("constant", torch.zeros(()))  # Z; 0: not yet estimated

    def check(self, images, batch_size, parts=1):
        if images != len(self.images):
            raise UserError(
                f"InstDisc was built for {len(self.images)} images and is given {images}. Hand it the positions of all it will see."
            )

    def prepare(self, views, batch):
        shape = (len(batch.indices), self.nce)
        return {"views": views, "noise": torch.randint(len(self.memory), shape, generator=batch.generator, device=views[0].device)}

    def embed(self, inputs):
        def project(images):
            return self.projector(self.encoder(images))

        return {"z": forward_views(project, inputs["views"]), "noise": inputs["noise"]}

    def criterion(self, outputs, batch):
        z, rows = outputs["z"], torch.searchsorted(self.images, batch.indices)
        views, each = z.flatten(0, 1), rows.repeat_interleave(z.shape[1])
        if self.nce:
            noise = outputs["noise"].repeat_interleave(z.shape[1], 0)
            loss, self.estimate = instance_nce(views, each, noise, self.memory, self.temperature, self.constant)
        else:
            loss, self.estimate = instance_discrimination(views, each, self.memory, self.temperature), self.constant
        logs = {}
        if self.weight:
            moved = proximal(views, each, self.memory)
            loss, logs = loss + self.weight * moved, {"proximal": moved.detach()}
        self.newest = rows, F.normalize(z.detach().float(), dim=2).mean(1)
        return loss, logs

    @torch.no_grad()
    def after_step(self, progress):
        rows, embedded = map(gathered, self.newest)
        towards = self.memory[rows].lerp(F.normalize(embedded, dim=1), 1 - self.momentum)
        self.memory.index_copy_(0, rows, F.normalize(towards, dim=1))
        self.constant.copy_(self.estimate)
