"""SimCLR (Chen et al. 2020): two views of an image, or more, must find each other among all views of the batch."""

import torch

from helpers.methods.base import Card, Method, forward_views
from helpers.methods.losses import multi_view_nt_xent, nt_xent
from helpers.models import mlp_head


class SimCLR(Method):
    """The encoder, an MLP projector behind it, NT-Xent on the projections of all views."""

    card = Card(
        title="SimCLR",
        paper="Chen, Kornblith, Norouzi, Hinton: A Simple Framework for Contrastive Learning of Visual Representations (2020)",
        loss="−log( exp(z·z⁺/τ) / Σ_{k≠i} exp(z·z_k/τ) ), over all 2N views",
        recipe="simclr_small",
    )
    views_needed = 2
    takes_processes = True
    takes_small_views = True  # each view, small or large, must find every other of its image

    def __init__(
        self,
        encoder,
        views,
        *,
        temperature: float = 0.5,
        hidden: int = 512,  # 0: a linear projector
        out: int = 128,
        norm: str = "batch",
        activation: str = "relu",
        joint: bool = True,
        decoupled: bool = False,
    ):
        super().__init__(encoder, views)
        self.temperature = temperature
        self.decoupled = decoupled  # an embedding's partner is no alternative to itself (Yeh et al. 2022)
        self.joint = joint  # one forward over all views, which then share batch statistics; else one forward a view
        widths = (encoder.width, hidden, out) if hidden else (encoder.width, out)
        self.projector = mlp_head(widths, norm=norm, activation=activation)

    def embed(self, inputs):
        def project(x):
            return self.projector(self.encoder(x))

        return {"z": forward_views(project, inputs) if self.joint else torch.stack([project(view) for view in inputs], dim=1)}

    def criterion(self, outputs, batch):
        views = outputs["z"].unbind(1)
        two = len(views) == 2 and not self.decoupled
        loss = nt_xent(*views, self.temperature) if two else multi_view_nt_xent(views, self.temperature, self.decoupled)
        return loss, {}
