"""Split-Brain's encoder: two of half the width, one for the lightness of a picture and one for its colours."""

import torch
from torch import nn

from helpers.core.errors import UserError
from helpers.models import build_encoder
from helpers.views.lab import rgb_to_lab

SCALE = (25.0, 20.0)  # lightness and colours are divided by these, which gives photographs a deviation of about 1


class SplitEncoder(nn.Module):
    """Two encoders of half the width side by side: images in, the features of both out, as of one encoder.

    Each half takes three channels, so that any net fits; those that it must not see are zero. The images come as the views have
    normalised them and go back to [0, 1] and on to Lab in here, so that whoever reads an encoder can read this one.
    """

    def __init__(self, encoder, settings):
        super().__init__()
        if encoder.concat:
            raise UserError(
                f"Split-Brain trains feature maps, and {encoder.name} maps its tokens to a feature of its own: pool by token or avg."
            )
        vit = hasattr(encoder.net, "patch_embed")
        half = {"dim": encoder.net.embed_dim // 2} if vit else {"width": encoder.options.get("width", 1) / 2}
        self.name, self.stem, self.image_size, self.options = encoder.name, encoder.stem, encoder.image_size, encoder.options
        try:
            self.lightness, self.colour = (
                build_encoder(self.name, self.image_size, stem=self.stem, **{**self.options, **half}) for _ in range(2)
            )
        except UserError as error:
            raise UserError(f"Split-Brain trains two nets of half the width, and {self.name} cannot be had so: {error}") from error
        self.width = self.lightness.width + self.colour.width
        self.takes_any_size = encoder.takes_any_size
        self.mean, self.std = settings.mean, settings.std

    @property
    def net(self) -> nn.Module:
        return nn.ModuleDict({"lightness": self.lightness.net, "colour": self.colour.net})

    @property
    def feature(self) -> nn.Module:
        return nn.ModuleDict({"lightness": self.lightness.feature, "colour": self.colour.feature})

    @property
    def first_layer(self) -> nn.Module:
        return nn.ModuleList([self.lightness.first_layer, self.colour.first_layer])

    def lab(self, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast(images.device.type, enabled=False):
            channels = zip(images.float().unbind(1), self.mean, self.std, strict=True)
            return rgb_to_lab(torch.stack([channel * std + mean for channel, mean, std in channels], 1).clamp(0, 1))

    def parts(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What each half sees of normalised images: lightness alone, colours alone."""
        return self.halves(self.lab(images))

    def halves(self, lab: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        light, colours = (lab[:, :1] - 50) / SCALE[0], lab[:, 1:] / SCALE[1]
        return torch.cat((light, torch.zeros_like(colours)), 1), torch.cat((torch.zeros_like(light), colours), 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        light, colours = self.parts(images)
        return torch.cat((self.lightness(light), self.colour(colours)), 1)

    def feature_map(self, images: torch.Tensor) -> torch.Tensor:
        light, colours = self.parts(images)
        return torch.cat((self.lightness.feature_map(light), self.colour.feature_map(colours)), 1)
