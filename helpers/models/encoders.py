"""The one class that all encoders are."""

import math
from functools import partial

import torch
from torch import nn

from helpers.core.errors import UserError
from helpers.models.catalogue import ANY_SIZE, find
from helpers.models.nets import first_layer
from helpers.models.vit import features_of


class Encoder(nn.Module):
    """Images to features: [N, 3, S, S] to [N, width]. `net` is timm's or torchvision's own module without its classifier.

    Where `takes_any_size`, other sizes than the one it was built for are taken too, such as the small views of multi-crop.
    """

    def __init__(self, net: nn.Module, name: str, stem: str, image_size: int, options: dict):
        super().__init__()
        self.net = net
        self.name = name
        self.stem = stem
        self.image_size = image_size
        self.options = options
        self.concat = options.get("pool") == "concat"
        family = find(name).family
        self.patch = net.patch_embed.patch_size[0] if family == "vit" else None
        self.takes_any_size = family in ANY_SIZE and not self.concat  # tokens side by side make a feature as wide as there are patches
        self.feature = nn.Identity()
        self.width = self.width_at(image_size)
        if options.get("feature_width"):
            self.feature = nn.Linear(self.width, options["feature_width"])
            self.width = options["feature_width"]
        if options.get("feature_norm"):
            self.feature = nn.Sequential(self.feature, nn.LayerNorm(self.width, elementwise_affine=False))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The pooled features, [N, width]."""
        return self._pool(self._body(images))

    def feature_map(self, images: torch.Tensor) -> torch.Tensor:
        """The features before pooling, [N, C, h, w]; a ViT's patch tokens, laid out as the patches were."""
        return self.to_map(self._body(images))

    def features_and_map(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Pooled features and feature map from one pass, for methods that need both."""
        body = self._body(images)
        return self._pool(body), self.to_map(body)

    @property
    def first_layer(self) -> nn.Module:
        return first_layer(self.net)

    def check_size(self, images: torch.Tensor) -> None:
        """An error where the encoder cannot take images of that size."""
        size = self.image_size
        if images.ndim != 4 or (images.shape[-2:] != (size, size) and not self.takes_any_size):
            crops = (
                ""
                if self.takes_any_size
                else " Views of several sizes (multi-crop) need a convolutional net, or a ViT pooled by token or avg."
            )
            raise UserError(
                f"{self.name} was built for images of {size} x {size}, and got {tuple(images.shape)}. Build it with the views' size.{crops}"
            )
        height, width = images.shape[-2:]
        if self.patch and (height != width or height % self.patch):
            raise UserError(
                f"{self.name} cuts squares into patches of {self.patch} x {self.patch}, and got images of {height} x {width}. Use views whose "
                f"sides are multiples of {self.patch}, or a smaller patch."
            )

    def _body(self, images: torch.Tensor) -> torch.Tensor:
        self.check_size(images)
        forward = self.net.forward_features if hasattr(self.net, "forward_features") else self.net
        if images.shape[-2:] == (self.image_size, self.image_size):
            return forward(images)
        if self.patch:
            return features_of(self.net, images)
        try:
            return forward(images)
        except RuntimeError as error:
            if "input size" not in str(error):  # what torch says of a kernel larger than its input
                raise
            raise UserError(
                f"{self.name} with stem {self.stem!r} leaves nothing of images of {tuple(images.shape[-2:])}: {error}."
                " Use larger views, or a stem that keeps more of small ones (cifar)."
            ) from error

    def _pool(self, body: torch.Tensor) -> torch.Tensor:
        _keep_gradient_layout(body)
        if self.concat:
            return self.feature(body.flatten(1))
        return self.feature(self.net.forward_head(body, pre_logits=True) if hasattr(self.net, "forward_head") else body)

    def to_map(self, body: torch.Tensor) -> torch.Tensor:
        """What the net's layers give, as a map [N, C, h, w]."""
        if body.ndim == 4:
            return body.permute(0, 3, 1, 2) if getattr(self.net, "output_fmt", "NCHW") == "NHWC" else body
        tokens = body[:, getattr(self.net, "num_prefix_tokens", 0) :] if body.ndim == 3 else body[..., None]
        side = math.isqrt(tokens.shape[1])
        if body.ndim != 3 or side * side != tokens.shape[1]:
            raise UserError(f"{self.name} has no feature map to give. Methods that need one can use a ResNet, ConvNeXt or ViT.")
        return tokens.transpose(1, 2).unflatten(2, (side, side))

    def width_at(self, size: int) -> int:
        """How wide the features of images of that size are, or an error where it leaves nothing of them. Found with one image through the
        net, in eval mode, so that no statistic moves and no random number is drawn."""
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                return self(torch.zeros(1, 3, size, size, device=next(self.parameters()).device)).shape[1]
        except (RuntimeError, AssertionError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            hint = "Use larger images, or a stem that keeps more of small ones (cifar)."
            raise UserError(f"{self.name} with stem {self.stem!r} cannot take images of {size} px: {error}. {hint}") from error
        finally:
            self.train(training)


def _keep_gradient_layout(body: torch.Tensor) -> None:
    """Have the map's gradient come back in the map's layout. A mean's gradient comes in torch's default one; a residual net carries that
    down to its first layer, and where it meets maps with channels last a CPU goes element by element: a tenth of a step."""
    last = body.ndim == 4 and body.is_contiguous(memory_format=torch.channels_last)
    if last and body.requires_grad and not torch.compiler.is_compiling():  # a compiler chooses layouts itself
        body.register_hook(partial(torch.Tensor.contiguous, memory_format=torch.channels_last))
