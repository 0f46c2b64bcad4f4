"""DINO (Caron et al. 2021): a student that sees small views too predicts a teacher that is its own slow average."""

import torch
import torch.nn.functional as F
from torch import nn

from helpers.methods.average import Average
from helpers.methods.base import Card, Method, forward_views, held
from helpers.methods.gather import gathered
from helpers.methods.losses import dino_loss
from helpers.models import mlp_head


class DINO(Method):
    """Encoder, head and a last layer of unit rows; the teacher is the average of all three, and sees the large views alone.

    Two forces balance each other and keep it from collapsing: the teacher's logits are centred by their running mean, which no
    dimension then dominates, and sharpened by a lower temperature, which keeps them from becoming uniform. The last layer's rows
    have length 1 by weight normalisation in the forward pass, and stand still for the share `frozen` of the run.
    Against the paper: 1024 outputs instead of 65536 by default, heads accordingly, and batch norms in the head: without them, as
    the paper has it for ViTs (norm="none"), a small ResNet's embeddings shrink to one direction within a few hundred steps. The
    teacher's temperature is constant, where the paper warms it up, and weight decay follows no schedule. The paper's head starts from a
    truncated normal of deviation 0.02 (initial=0.02), its last layer stands still for an epoch (frozen = 1 / epochs), and gradients
    longer than 3 are shortened (training.clip_gradients = 3: ours of all tensors together, its code's of each by itself).
    """

    card = Card(
        title="DINO",
        paper="Caron, Touvron, Misra, Jégou, Mairal, Bojanowski, Joulin: Emerging Properties in Self-Supervised Vision Transformers (2021)",
        loss="−Σ_k softmax((t⁺ − c)/τ_t)_k · log softmax(s/τ_s)_k",
        recipe="swav_small",
        kept="weights, the teacher and the centre",
    )
    views_needed = 2
    takes_small_views = True

    def __init__(
        self,
        encoder,
        views,
        *,
        hidden: int = 512,
        bottleneck: int = 128,
        out: int = 1024,
        norm: str = "batch",
        temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        momentum: float = 0.99,
        centre_momentum: float = 0.9,
        frozen: float = 0.02,
        initial: float = 0.0,
    ):
        super().__init__(encoder, views)
        self.temperature, self.teacher_temperature = temperature, teacher_temperature
        self.centre_momentum, self.frozen = centre_momentum, frozen
        self.large = views.settings.count
        self.projector = mlp_head((encoder.width, hidden, hidden, bottleneck), norm=norm, activation="gelu")
        if initial:  # the deviation that the head's weights start with; 0 leaves torch's own start
            _start(self.projector, initial)
        self.last = nn.Linear(bottleneck, out, bias=False)
        self.teacher = Average(nn.Sequential(encoder, self.projector), momentum, rising=True)
        self.teacher_last = Average(self.last, momentum, rising=True)
        self.register_buffer("centre", torch.zeros(out))
        self._mean = None

    def embed(self, inputs):
        return {"z": self.projected(inputs), "teacher": forward_views(self.teacher, inputs[: self.large])}

    def criterion(self, outputs, batch):
        student = _logits(outputs["z"], held(self.last.weight, batch.progress < self.frozen))
        teacher = _logits(outputs["teacher"].detach(), self.teacher_last.network.weight)
        self._mean = gathered(teacher).mean((0, 1))
        loss = dino_loss(student, teacher, self.centre, self.temperature, self.teacher_temperature)
        with torch.no_grad():
            shares = F.softmax((teacher - self.centre) / self.teacher_temperature, dim=2)
            return loss, {"teacher_entropy": torch.special.entr(shares).sum(2).mean()}

    def after_step(self, progress):
        self.teacher.follow(nn.Sequential(self.encoder, self.projector), progress)
        self.teacher_last.follow(self.last, progress)
        self.centre.lerp_(self._mean, 1 - self.centre_momentum)
        self._mean = None


def _start(head: nn.Module, deviation: float) -> None:
    """Weights from a truncated normal, biases at zero."""
    for layer in head.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=deviation)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _logits(z: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return F.normalize(z.float(), dim=-1) @ F.normalize(weight.float(), dim=1).T
