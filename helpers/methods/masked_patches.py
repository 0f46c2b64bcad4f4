"""Masked patches (a small MAE: He et al. 2022): see a quarter of the picture and paint the rest."""

import torch
import torch.nn.functional as F
from torch import nn

from helpers.core.errors import UserError
from helpers.methods.base import Card, Method
from helpers.models.vit import placed, sincos_table


class MaskedPatches(Method):
    """Most patches are left out, the ViT sees the others alone, and a light decoder must tell the missing ones' pixels.

    Pixels are normalised patch by patch, and only the missing patches count. A ViT without a class token of use to the decoder is
    better pooled over its patches (pool="avg"). Differs from the paper: a decoder of 2 blocks of width 128 for 8 of 512, for small
    images; positions of the encoder are its own (the paper's are fixed: positions="sincos"). A ViT pooled over its patches has its last
    norm behind the mean, where the decoder never reads it, so that evaluation reads a norm as it began; final_norm=True puts every token
    through it before the decoder, as a class token's ViT does anyway (tried on drawn images: ten points of kNN fewer, three seeds).
    """

    card = Card(
        title="Masked patches",
        paper="He, Chen, Xie, Li, Dollár, Girshick: Masked Autoencoders Are Scalable Vision Learners (2022)",
        loss="mean (x̂ − x)² over the pixels of the patches left out",
        recipe="masked",
    )
    takes_growing_views = False  # the decoder knows the places of one size

    def __init__(self, encoder, views, *, masked: float = 0.75, width: int = 128, depth: int = 2, final_norm: bool = False):
        super().__init__(encoder, views)
        net = encoder.net
        if not all(hasattr(net, part) for part in ("patch_embed", "_pos_embed", "blocks")) or encoder.concat:
            raise UserError(
                f"Masked patches need a ViT that takes any number of patches, and {encoder.name} is none. Use vit_micro, vit_mini, "
                "vit_tiny, vit_small or vit_base, pooled by token or avg."
            )
        rows, columns = net.patch_embed.grid_size
        self.side = net.patch_embed.patch_size[0]
        self.seen = round(rows * columns * (1 - masked))
        if not 0 < self.seen < rows * columns:
            raise UserError(
                f"masked = {masked} of {rows * columns} patches leaves {self.seen} to see; at least one must be seen and one left out. "
                "Choose a share between 0 and 1, or smaller patches."
            )
        if width % 32:
            raise UserError(f"width = {width}: the decoder's heads are 32 wide, so give a multiple of 32.")
        self.final_norm = final_norm
        self.enter = nn.Linear(net.embed_dim, width)
        self.blank = nn.Parameter(torch.randn(width) * 0.02)
        self.register_buffer("places", sincos_table(rows, columns, width), persistent=False)
        layer = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
        self.decoder = nn.Sequential(
            *(nn.TransformerEncoderLayer(width, width // 32, 4 * width, **layer) for _ in range(depth)), nn.LayerNorm(width)
        )
        self.paint = nn.Linear(width, 3 * self.side**2)

    def prepare(self, views, batch):
        images = torch.cat(views)
        pixels = F.pixel_unshuffle(images, self.side).flatten(2).transpose(1, 2)  # [N, patches, pixels], patches as the ViT has them
        deviation, mean = torch.std_mean(pixels, 2, keepdim=True)
        order = torch.rand(pixels.shape[:2], generator=batch.generator, device=pixels.device).argsort(1)
        return {"images": images, "order": order, "pixels": (pixels - mean) / (deviation + 1e-3)}

    def embed(self, inputs):
        net, order = self.encoder.net, inputs["order"]
        self.encoder.check_size(inputs["images"])
        tokens = placed(net, inputs["images"])  # positions first, so that a patch keeps its own
        prefix = tokens.shape[1] - order.shape[1]
        seen = torch.cat((tokens[:, :prefix], _at(tokens[:, prefix:], order[:, : self.seen])), 1)
        seen = net.norm(net.blocks(net.norm_pre(seen)))
        seen = net.fc_norm(seen) if self.final_norm else seen  # one of the two norms is an identity: timm has the last one in either place
        entered = self.enter(seen)
        blanks = self.blank.to(entered.dtype).expand(len(order), order.shape[1] - self.seen, -1)
        shuffled = torch.cat((entered[:, prefix:], blanks), 1)
        laid_out = _at(shuffled, order.argsort(1)) + self.places
        decoded = self.decoder(torch.cat((entered[:, :prefix], laid_out), 1))[:, prefix:]
        left_out = order[:, self.seen :]
        outputs = {"painted": self.paint(_at(decoded, left_out)), "pixels": _at(inputs["pixels"], left_out), "z": seen.mean(1).detach()}
        return {key: x.unflatten(0, (self.views.settings.count, -1)).transpose(0, 1) for key, x in outputs.items()}

    def criterion(self, outputs, batch):
        return F.mse_loss(outputs["painted"].float(), outputs["pixels"]), {}


def _at(tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """The tokens [N, T, C] at the places [N, t] of each image."""
    return tokens.gather(1, places[:, :, None].expand(-1, -1, tokens.shape[2]))
