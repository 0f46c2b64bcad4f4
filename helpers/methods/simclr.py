"""SimCLR (Chen et al. 2020): two views of an image must find each other among all views of the batch."""

import torch

from helpers.methods.base import Method, forward_views
from helpers.methods.losses import nt_xent
from helpers.models import mlp_head


class SimCLR(Method):
    """The encoder, an MLP projector behind it, NT-Xent on the projections of two views."""

    def __init__(
        self,
        encoder,
        views,
        *,
        temperature: float = 0.5,
        hidden: int = 512,
        out: int = 128,
        norm: str = "batch",
        activation: str = "relu",
        joint: bool = True,
    ):
        super().__init__(encoder, views)
        self.temperature = temperature
        self.joint = joint  # one forward over both views, which then share batch statistics; else one forward a view
        self.projector = mlp_head((encoder.width, hidden, out), norm=norm, activation=activation)

    def embed(self, inputs):
        def project(x):
            return self.projector(self.encoder(x))

        return {"z": forward_views(project, inputs) if self.joint else torch.stack([project(view) for view in inputs], dim=1)}

    def criterion(self, outputs, batch):
        z1, z2 = outputs["z"].unbind(1)
        return nt_xent(z1, z2, self.temperature), {}
