"""SiT (Atito et al. 2021): contrast, rotation and inpainting at once, on a ViT or on any net with a feature map."""

import torch
import torch.nn.functional as F
from torch import nn

from helpers.core.errors import UserError, unknown
from helpers.methods.base import Card, Method
from helpers.methods.losses import nt_xent
from helpers.models import mlp_head
from helpers.views import quarter_turns

TASKS = ("contrast", "rotation", "inpainting")


class SiT(Method):
    """Each view is turned by a random quarter, parts of it are replaced by noise, and one network must find the other view
    (contrast), tell the turn (rotation) and restore the picture (inpainting). `tasks` switches each on or off.

    The published model reads the first two tasks from tokens of their own and learns the tasks' weights. Here every net gives
    one pooled feature, so that a ResNet can be trained in exactly the same way, and the loss is the plain sum: a range test
    of learned weights finds the rate at which the weights adapt fastest (tried: 0.4 for a ViT that wants 0.005).
    """

    card = Card(
        title="SiT",
        paper="Atito, Awais, Kittler: SiT: Self-supervised vIsion Transformer (2021)",
        loss="NT-Xent(z, z⁺) + CE(turn) + |x̂ − x|₁",
        recipe="simclr_small",
    )

    def __init__(
        self,
        encoder,
        views,
        *,
        tasks=TASKS,
        temperature: float = 0.5,
        hidden: int = 512,
        out: int = 128,
        norm: str = "batch",
        activation: str = "relu",
        corrupted: float = 0.3,
        blocks: int = 8,
    ):
        super().__init__(encoder, views)
        for task in tasks:
            if task not in TASKS:
                raise unknown("SiT task", task, TASKS)
        if not tasks:
            raise UserError(f"SiT needs at least one task of: {', '.join(TASKS)}.")
        if "contrast" in tasks and views.settings.count != 2:
            raise UserError(
                f"views.count = {views.settings.count}: SiT's contrast compares two views of an image. Set count=2, or leave that task out."
            )
        self.tasks = tuple(task for task in TASKS if task in tasks)
        self.temperature = temperature
        self.corrupted = corrupted  # share of the picture replaced by noise
        self.blocks = blocks  # the picture is corrupted in blocks of a blocks x blocks grid
        if "contrast" in self.tasks:
            self.projector = mlp_head((encoder.width, hidden, out), norm=norm, activation=activation)
        if "rotation" in self.tasks:
            self.turn = nn.Linear(encoder.width, 4)
        if "inpainting" in self.tasks:
            self.restore = _restorer(encoder)

    def prepare(self, views, batch):
        pictures = torch.cat(views)
        turns = torch.zeros(len(pictures), dtype=torch.long, device=pictures.device)
        if "rotation" in self.tasks:
            turns = torch.randint(0, 4, (len(pictures),), generator=batch.generator, device=pictures.device)
            pictures = quarter_turns(pictures, turns)
        seen = pictures
        if "inpainting" in self.tasks:
            grid = torch.rand((len(pictures), 1, self.blocks, self.blocks), generator=batch.generator, device=pictures.device)
            holes = F.interpolate((grid < self.corrupted).float(), size=pictures.shape[-2:], mode="nearest")
            noise = torch.randn(pictures.shape, generator=batch.generator, device=pictures.device)
            seen = torch.lerp(pictures, noise, holes)
        return {"seen": seen, "pictures": pictures, "turns": turns, "count": len(views)}

    def embed(self, inputs):
        def by_sample(x):
            return x.unflatten(0, (inputs["count"], -1)).transpose(0, 1)

        seen = inputs["seen"]
        outputs = {"turns": by_sample(inputs["turns"])}  # "z": the projection, or without contrast the feature
        if "inpainting" in self.tasks:
            feature, maps = self.encoder.features_and_map(seen)
            outputs["restored"] = by_sample(self.restore(maps))
            outputs["pictures"] = by_sample(inputs["pictures"])
        else:
            feature = self.encoder(seen)
        outputs["z"] = by_sample(self.projector(feature) if "contrast" in self.tasks else feature.detach())
        if "rotation" in self.tasks:
            outputs["turn"] = by_sample(self.turn(feature))
        return outputs

    def criterion(self, outputs, batch):
        losses = {}
        if "contrast" in self.tasks:
            losses["contrast"] = nt_xent(*outputs["z"].unbind(1), self.temperature)
        if "rotation" in self.tasks:
            losses["rotation"] = F.cross_entropy(outputs["turn"].float().flatten(0, 1), outputs["turns"].flatten(0, 1))
        if "inpainting" in self.tasks:
            losses["inpainting"] = F.l1_loss(outputs["restored"].float(), outputs["pictures"])
        logs = {f"loss_{task}": value.detach() for task, value in losses.items()}
        return sum(losses.values()), logs


def _restorer(encoder) -> nn.Module:
    """From each position of the feature map to the pixels it stands for: one linear map, then the pixels are laid out."""
    with torch.no_grad():
        was_training = encoder.training
        encoder.eval()
        device = next(encoder.parameters()).device
        channels, height = encoder.feature_map(torch.zeros(1, 3, encoder.image_size, encoder.image_size, device=device)).shape[1:3]
        encoder.train(was_training)
    if encoder.image_size % height:
        raise UserError(
            f"Inpainting needs a feature map that divides the image: {height} does not divide {encoder.image_size}. Use another stem."
        )
    side = encoder.image_size // height
    return nn.Sequential(nn.Conv2d(channels, 3 * side * side, 1), nn.PixelShuffle(side))
