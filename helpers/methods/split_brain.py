"""Split-Brain autoencoder (Zhang et al. 2017): one half of the net sees lightness and predicts colour, the other the reverse."""

import functools

import torch
import torch.nn.functional as F
from torch import nn

from helpers.core.errors import UserError
from helpers.methods.base import Card, Method
from helpers.methods.split_encoder import SplitEncoder
from helpers.views.lab import rgb_to_lab

COLOURS, LIGHTNESSES = 313, 50  # classes of ab and of L
STEP, REACH = 10, 12  # ab is told apart in squares of 10, numbered from -12 to 12


class SplitBrain(Method):
    """What a picture's lightness says of its colours, and its colours of its lightness, takes knowing what is in it.

    Lightness is told in 50 classes of 2, colours in 313 classes of 10 x 10 (colour_classes), at every place of a map of about
    `targets` x `targets` places, to whose size Lab is averaged. The encoder given is the pattern of the halves and is not trained
    itself, so initial weights do not reach them. The features are those of both halves, and the middle of the net is worth a probe.

    Differs from the paper: any net in place of AlexNet, whose map is 12 x 12, where deep nets leave 2 x 2 of a small image: each
    place of the map then answers for a square of targets by one linear layer. Hard classes, not weighted by how rare a colour is.
    """

    card = Card(
        title="Split-Brain",
        paper="Zhang, Isola, Efros: Split-Brain Autoencoders: Unsupervised Learning by Cross-Channel Prediction (2017)",
        loss="−log p(ab | L) − log p(L | ab), mean over the places of a map",
        recipe="split_brain",
    )

    takes_weights = False  # its halves are nets of their own, built anew

    def __init__(self, encoder, views, *, targets: int = 6):
        super().__init__(SplitEncoder(encoder, views.settings), views)
        if isinstance(targets, bool) or not isinstance(targets, int) or targets < 1:
            raise UserError(f"targets = {targets!r}: Split-Brain predicts a map of that many places a side; give a whole number above 0.")
        channels, side = _map_of(self.encoder.lightness)
        finer = max(1, round(targets / side))
        self.targets = side * finer
        self.to_colour, self.to_lightness = (
            nn.Sequential(nn.Conv2d(channels, classes * finer**2, 1), nn.PixelShuffle(finer)) for classes in (COLOURS, LIGHTNESSES)
        )
        self.register_buffer("class_of", colour_classes(), persistent=False)

    def prepare(self, views, batch):
        lab = self.encoder.lab(torch.cat(views))
        light, colours = self.encoder.halves(lab)
        coarse = F.adaptive_avg_pool2d(lab, self.targets)
        a, b = coarse[:, 1:].div(STEP).round().long().add(REACH).clamp(0, 2 * REACH).unbind(1)
        steps = coarse[:, 0].mul(LIGHTNESSES / 100).long().clamp(0, LIGHTNESSES - 1)
        return {"lightness": light, "colour": colours, "colour_class": self.class_of[a, b], "lightness_class": steps}

    def embed(self, inputs):
        light, light_map = self.encoder.lightness.features_and_map(inputs["lightness"])
        colours, colour_map = self.encoder.colour.features_and_map(inputs["colour"])
        outputs = {"colour": self.to_colour(light_map), "lightness": self.to_lightness(colour_map)}
        outputs |= {key: inputs[key] for key in ("colour_class", "lightness_class")}
        outputs["z"] = torch.cat((light, colours), 1).detach()
        return {key: x.unflatten(0, (self.views.settings.count, -1)).transpose(0, 1) for key, x in outputs.items()}

    def criterion(self, outputs, batch):
        losses = {
            key: F.cross_entropy(outputs[key].float().flatten(0, 1), outputs[f"{key}_class"].flatten(0, 1))
            for key in ("colour", "lightness")
        }
        return sum(losses.values()), {f"loss_{key}": value.detach() for key, value in losses.items()}


@functools.cache
def colour_classes() -> torch.Tensor:
    """Which of the 313 classes each square of the ab plane belongs to, int64 [25, 25]; the nearest one's where it is none itself.

    Only some 260 squares hold a colour of sRGB. The paper counts 313, so it keeps a margin around them; here the classes are the 313
    squares whose centres lie nearest to a colour of sRGB, in the order of a and then b.
    """
    levels, line = torch.linspace(0, 1, 17), torch.arange(-REACH, REACH + 1).double() * STEP
    gamut = rgb_to_lab(torch.cartesian_prod(levels, levels, levels)[:, :, None, None])[:, 1:, 0, 0].double()
    squares = torch.cartesian_prod(line, line)
    away = torch.cdist(squares, gamut).amin(1)
    classes = away.argsort(stable=True)[:COLOURS].sort().values
    return torch.cdist(squares, squares[classes]).argmin(1).view(len(line), len(line))


@torch.no_grad()
def _map_of(encoder) -> tuple[int, int]:
    """Channels and side of an encoder's feature map."""
    training = encoder.training
    encoder.eval()
    channels, side = encoder.feature_map(torch.zeros(1, 3, encoder.image_size, encoder.image_size)).shape[1:3]
    encoder.train(training)
    return channels, side
