"""SimCLR (Chen et al. 2020): two views of an image must find each other among all views of the batch."""

from helpers.methods.base import Method, forward_views
from helpers.methods.losses import nt_xent
from helpers.models import mlp_head


class SimCLR(Method):
    """The encoder, an MLP projector behind it, NT-Xent on the projections of two views."""

    def __init__(
        self, encoder, views, *, temperature: float = 0.5, hidden: int = 512, out: int = 128, norm: str = "batch", activation: str = "relu"
    ):
        super().__init__(encoder, views)
        self.temperature = temperature
        self.projector = mlp_head((encoder.width, hidden, out), norm=norm, activation=activation)

    def embed(self, inputs):
        return {"z": forward_views(lambda x: self.projector(self.encoder(x)), inputs)}

    def criterion(self, outputs, batch):
        z1, z2 = outputs["z"].unbind(1)
        return nt_xent(z1, z2, self.temperature), {}
