"""What every method is: views of the images go in, one loss comes out."""

from dataclasses import dataclass

import torch
from torch import nn

from helpers.core.errors import UserError


@dataclass
class StepBatch:
    """What a method may know of a step besides the views: which images, how far training is, and randomness of its own."""

    indices: torch.Tensor
    labels: torch.Tensor | None = None
    progress: float = 0.0  # of the whole run, in [0, 1]
    generator: torch.Generator | None = None


@dataclass(frozen=True)
class Card:
    """What the page of methods says of one; the page adds what was measured."""

    title: str
    paper: str
    loss: str  # one line of mathematics
    recipe: str  # the view recipe it goes with on small images
    kept: str = "weights alone"  # what a checkpoint holds of it


class Method(nn.Module):
    """Views -> loss, in three parts, so that gradient accumulation can see all samples of a step at once:

    prepare(views, batch) -> inputs     what the network will see (rotated, masked, ...), drawn once, no gradient
    embed(inputs) -> outputs            a dict of tensors, samples first; the only part that runs the network
    criterion(outputs, batch)           (scalar, dict of detached tensors) from the outputs of the whole batch

    outputs["z"] is the embedding that is watched for collapse, [N, d] or [N, views, d]. Whatever must survive a resume (queues,
    averages, prototypes) belongs into parameters or buffers, and changes in after_step() alone: criterion() may run without a step.
    """

    card: Card
    needs_labels = False
    views_needed = 1
    fewest = 1  # images of a batch, where the loss compares them with each other
    takes_small_views = False
    takes_growing_views = True  # whether all views may be of another size than the encoder's for a part of the run
    takes_processes = False  # whether a batch may be shared out: the loss gathers it, and nothing else is kept of it
    takes_weights = True  # whether training can begin from an encoder's weights

    def __init__(self, encoder: nn.Module, views):
        super().__init__()
        settings = views.settings
        if settings.count < self.views_needed:
            raise UserError(
                f"views.count = {settings.count}: {self.card.title} compares at least {self.views_needed} views of an image. "
                f"Use the recipe {self.card.recipe!r}, or set count={self.views_needed}."
            )
        if settings.small and not self.takes_small_views:
            raise UserError(f"{self.card.title} takes no small views, and the recipe makes {settings.small}. Set small=0 in its options.")
        if settings.small and not encoder.takes_any_size:
            raise UserError(
                f"{encoder.name} takes one image size, and the recipe makes smaller views too. Set small=0, or use a convolutional net or a "
                "ViT pooled by token or avg."
            )
        if settings.small:
            encoder.width_at(min(views.sizes))
        self.encoder = encoder
        self.views = views

    def check(self, images: int, batch_size: int, parts: int = 1) -> None:
        """An error, before the first step, where so many images or such a batch, gathered in so many parts, cannot work."""
        if batch_size < self.fewest:
            raise UserError(
                f"{self.card.title} compares the images of a batch with each other, and a batch of {batch_size} is too few. Raise batch_size."
            )

    def prepare(self, views: list[torch.Tensor], batch: StepBatch):
        return views

    def embed(self, inputs) -> dict[str, torch.Tensor]:
        return {"z": forward_views(lambda x: self.projector(self.encoder(x)), inputs)}

    def projected(self, views: list[torch.Tensor]) -> torch.Tensor:
        """Projections [N, V, d] of which large and small views share the projector's batch statistics; the encoder's are a size's own."""
        features = forward_views(self.encoder, views)
        return self.projector(features.flatten(0, 1)).unflatten(0, features.shape[:2])

    def criterion(self, outputs: dict[str, torch.Tensor], batch: StepBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        raise NotImplementedError

    def loss(self, views: list[torch.Tensor], batch: StepBatch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return self.criterion(self.embed(self.prepare(views, batch)), batch)

    def after_step(self, progress: float) -> None:
        """Called after every optimizer step: averages, queues."""

    def parameter_groups(self) -> list[dict]:
        """Two groups: matrices and kernels decay; biases, norms and single numbers do not."""
        trained = [p for p in self.parameters() if p.requires_grad]
        return [
            {"params": [p for p in trained if p.ndim > 1], "decay": True},
            {"params": [p for p in trained if p.ndim <= 1], "decay": False},
        ]


def forward_views(encode: nn.Module, views: list[torch.Tensor]) -> torch.Tensor:
    """One forward over all views of a size together, so that they share batch statistics; [N, V, features], small views last."""
    large = sum(view.shape[-1] == views[0].shape[-1] for view in views)
    if large == len(views):
        return encode(torch.cat(views)).unflatten(0, (large, -1)).transpose(0, 1)
    return torch.cat((forward_views(encode, views[:large]), forward_views(encode, views[large:])), dim=1)


def against_others(loss, predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The mean loss of each view's prediction [N, V, d] against every other view's target."""
    return torch.stack([loss(predicted, target.roll(turn, 1)) for turn in range(1, predicted.shape[1])]).mean()


def held(weight: torch.Tensor, still: bool) -> torch.Tensor:
    """The weight, and while it is to stand still with a gradient of zero: with none at all, SGD fails once the first one comes."""
    return weight.detach() + 0 * weight if still else weight
