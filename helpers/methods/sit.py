"""SiT (Atito et al. 2021): contrast, rotation and inpainting at once, on a ViT or on any net with a feature map."""

import torch
import torch.nn.functional as F
from torch import nn

from helpers.core.errors import UserError, unknown
from helpers.methods.average import Average
from helpers.methods.base import Card, Method
from helpers.methods.losses import moco_v3_contrast, nt_xent
from helpers.models import mlp_head
from helpers.views import quarter_turns

TASKS = ("contrast", "rotation", "inpainting")


class SiT(Method):
    """Each view is turned by a random quarter, parts of it are replaced by noise, and one network must find the other view
    (contrast), tell the turn (rotation) and restore the picture (inpainting). `tasks` switches each on or off.

    The published model reads the first two tasks from tokens of their own and learns the tasks' weights. Here every net gives
    one pooled feature, so that a ResNet can be trained in exactly the same way, and the loss is the plain sum: a range test
    of learned weights finds the rate at which the weights adapt fastest (tried: 0.4 for a ViT that wants 0.005).

    `released` is the form of the code that the authors published later. A teacher, the average of encoder and projector, reads the
    clean pictures, and what the student makes of a corrupted view must find what the teacher makes of the other one; half of the
    pictures lose their blocks to zeros and half to another picture's; a deeper head restores them, and only what was corrupted
    counts. That code has dropped the rotation, and tasks=("contrast", "inpainting") are its own. Against it: one projector for
    either form, and blocks of a grid, where its blocks lie anywhere and cover half of a picture (zeros) or three tenths.
    """

    card = Card(
        title="SiT",
        paper="Atito, Awais, Kittler: SiT: Self-supervised vIsion Transformer (2021)",
        loss="NT-Xent(z, z⁺) + CE(turn) + |x̂ − x|₁",
        recipe="simclr_small",
        kept="weights alone; as released, the teacher too",
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
        released: bool = False,
        momentum: float = 0.996,
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
        self.released = released
        if "contrast" in self.tasks:
            self.projector = mlp_head((encoder.width, hidden, out), norm=norm, activation=activation)
        if "rotation" in self.tasks:
            self.turn = nn.Linear(encoder.width, 4)
        if "inpainting" in self.tasks:
            self.restore = _restorer(encoder, deep=released)
        self.teacher = None  # `momentum` is its own, where there is one
        if released and "contrast" in self.tasks:
            self.teacher = Average(self._student(), momentum, rising=True)

    def _student(self) -> nn.Module:
        return nn.Sequential(self.encoder, self.projector)

    def prepare(self, views, batch):
        pictures = torch.cat(views)
        turns = torch.zeros(len(pictures), dtype=torch.long, device=pictures.device)
        if "rotation" in self.tasks:
            turns = torch.randint(0, 4, (len(pictures),), generator=batch.generator, device=pictures.device)
            pictures = quarter_turns(pictures, turns)
        inputs = {"seen": pictures, "pictures": pictures, "turns": turns, "count": len(views)}
        if "inpainting" in self.tasks:
            grid = torch.rand((len(pictures), 1, self.blocks, self.blocks), generator=batch.generator, device=pictures.device)
            holes = F.interpolate((grid < self.corrupted).float(), size=pictures.shape[-2:], mode="nearest")
            inputs |= {"seen": torch.lerp(pictures, self._filling(pictures, batch.generator), holes), "holes": holes}
        return inputs

    def _filling(self, pictures, generator):
        """What stands where a picture is corrupted."""
        if not self.released:
            return torch.randn(pictures.shape, generator=generator, device=pictures.device)
        others = pictures[torch.randperm(len(pictures), generator=generator, device=pictures.device)]
        return others * torch.randint(0, 2, (len(pictures), 1, 1, 1), generator=generator, device=pictures.device)

    def embed(self, inputs):
        def by_sample(x):
            return x.unflatten(0, (inputs["count"], -1)).transpose(0, 1)

        seen = inputs["seen"]
        outputs = {"turns": by_sample(inputs["turns"])}  # "z": the projection, or without contrast the feature
        if "inpainting" in self.tasks:
            feature, maps = self.encoder.features_and_map(seen)
            outputs["restored"] = by_sample(self.restore(maps))
            outputs |= {key: by_sample(inputs[key]) for key in (("pictures", "holes") if self.released else ("pictures",))}
        else:
            feature = self.encoder(seen)
        outputs["z"] = by_sample(self.projector(feature) if "contrast" in self.tasks else feature.detach())
        if "rotation" in self.tasks:
            outputs["turn"] = by_sample(self.turn(feature))
        if self.teacher is not None:
            outputs["teacher"] = by_sample(self.teacher(inputs["pictures"]))
        return outputs

    def criterion(self, outputs, batch):
        losses = {}
        if "contrast" in self.tasks:
            losses["contrast"] = self._contrast(outputs)
        if "rotation" in self.tasks:
            losses["rotation"] = F.cross_entropy(outputs["turn"].float().flatten(0, 1), outputs["turns"].flatten(0, 1))
        if "inpainting" in self.tasks:
            errors = F.l1_loss(outputs["restored"].float(), outputs["pictures"], reduction="none" if self.released else "mean")
            losses["inpainting"] = _mean_over(errors, outputs["holes"]) if self.released else errors
        logs = {f"loss_{task}": value.detach() for task, value in losses.items()}
        return sum(losses.values()), logs

    def _contrast(self, outputs):
        one, other = outputs["z"].unbind(1)
        if self.teacher is None:
            return nt_xent(one, other, self.temperature)
        clean_one, clean_other = outputs["teacher"].unbind(1)
        return moco_v3_contrast(one, clean_other, self.temperature) + moco_v3_contrast(other, clean_one, self.temperature)

    def after_step(self, progress):
        if self.teacher is not None:
            self.teacher.follow(self._student(), progress)


def _mean_over(errors: torch.Tensor, holes: torch.Tensor) -> torch.Tensor:
    """The mean over the pixels in the holes; 0 where there are none."""
    return (errors * holes).sum() / (holes.sum() * errors.shape[2]).clamp(min=1)


def _restorer(encoder, *, deep: bool) -> nn.Module:
    """From each position of the feature map to the pixels it stands for: a linear map, with three layers before it where `deep`, then
    the pixels are laid out."""
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
    before = [layer for _ in range(3 if deep else 0) for layer in (nn.Conv2d(channels, channels, 1), nn.GELU())]
    return nn.Sequential(*before, nn.Conv2d(channels, 3 * side * side, 1), nn.PixelShuffle(side))
