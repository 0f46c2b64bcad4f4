"""What timm's ViT cannot be told by arguments: MoCo v3's fixed parts and batch norms, the contest's random positions, and images of
other sizes than its own."""

import torch
import torch.nn.functional as F
from torch import nn

from helpers.core.errors import UserError, unknown

POSITIONS = ("normal", "sincos")
MLP_NORMS = ("batch",)
# Why no convolutional net has them.
MISSING = {
    "mlp_norm": "it has no transformer blocks with an MLP whose norm could be replaced",
    "freeze_patches": "it has no projection of patches to tokens that could be frozen",
}


def check_vit_options(name: str, options: dict) -> None:
    for key, choices in (("positions", POSITIONS), ("mlp_norm", MLP_NORMS)):
        if options.get(key, choices[0]) not in choices:
            raise unknown(f"{key} for {name}", options[key], choices)
    if not isinstance(options.get("freeze_patches", False), bool):
        raise UserError(f"{name}: freeze_patches={options['freeze_patches']!r} must be true or false.")


def alter(name: str, net: nn.Module, options: dict) -> None:
    """The options in place, on a net that timm has built."""
    if "positions" in options:
        if net.pos_embed is None:
            raise UserError(f"{name} adds no positions to its tokens, so positions={options['positions']!r} has no place. Leave it out.")
        if options["positions"] == "sincos":
            _fix_positions(name, net)
        else:
            nn.init.normal_(net.pos_embed)
    if options.get("mlp_norm") == "batch":
        if not all(hasattr(block, "norm2") for block in net.blocks):
            raise UserError(f"{name}: its blocks have no norm before the MLP that mlp_norm='batch' could replace. Leave it out.")
        for block in net.blocks:
            block.norm2 = TokenBatchNorm(net.embed_dim)
    if options.get("freeze_patches"):
        net.patch_embed.proj.requires_grad_(False)


class TokenBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of tokens [N, T, C]: every channel over all tokens of all images."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return super().forward(tokens.flatten(0, 1)).view_as(tokens)


def _fix_positions(name: str, net: nn.Module) -> None:
    """A buffer under timm's own key, so that nothing trains, averages or decays it and plain timm still loads the export."""
    if net.embed_dim % 4:
        raise UserError(f"{name}: positions='sincos' need a dim that 4 divides, and it is {net.embed_dim}. Choose another dim.")
    height, width = net.patch_embed.grid_size
    prefix = net.pos_embed.shape[1] - height * width  # the class token's position is zero: it has none
    table = sincos_table(height, width, net.embed_dim)
    positions = torch.cat([torch.zeros(prefix, net.embed_dim), table])[None]
    del net.pos_embed
    net.register_buffer("pos_embed", positions)


def sincos_table(height: int, width: int, dim: int, stretch: float = 1.0, device: torch.device | None = None) -> torch.Tensor:
    """Fixed positions [height * width, dim]: a quarter each of sin and cos of the column, then of the row, at falling frequencies.

    `stretch`: how many places of the grid that was trained one of these patches fills, so that either grid spans the whole picture.
    """
    frequencies = 10_000 ** -(torch.arange(dim // 4, dtype=torch.float64, device=device) / (dim // 4))
    rows, columns = (_middles(count, stretch, device) for count in (height, width))
    places = torch.meshgrid(rows, columns, indexing="ij")
    parts = [wave(place.flatten()[:, None] * frequencies) for place in reversed(places) for wave in (torch.sin, torch.cos)]
    return torch.cat(parts, 1).float()


def _middles(count: int, stretch: float, device: torch.device | None) -> torch.Tensor:
    """Where the middles of patches lie that fill `stretch` places each: 0, 1, 2, ... where it is 1."""
    return (torch.arange(count, dtype=torch.float64, device=device) + 0.5) * stretch - 0.5


def positions_at(net: nn.Module, side: int) -> torch.Tensor:
    """A ViT's positions [1, tokens, dim] for side x side patches, laid over the same picture as its own: the very tensor where that is its
    own side; learned ones interpolated bicubically, as timm does it, and sincos ones computed anew. Prefix tokens keep theirs."""
    own = net.patch_embed.grid_size[0]
    if side == own:
        return net.pos_embed
    prefix, patches = net.pos_embed.split((net.pos_embed.shape[1] - own * own, own * own), 1)
    if "pos_embed" in dict(net.named_buffers(recurse=False)):
        laid_out = sincos_table(side, side, patches.shape[2], own / side, patches.device)[None]
    else:
        with torch.autocast(patches.device.type, enabled=False):
            laid_out = _bicubic(own, side, patches.device) @ patches.float()
    return torch.cat((prefix, laid_out.to(prefix.dtype)), 1)


def _bicubic(own: int, side: int, device: torch.device) -> torch.Tensor:
    """Weights [side * side, own * own] that interpolate a square table. As a product its gradient is deterministic on every device,
    which that of torch's own interpolation is not."""
    each = torch.eye(own * own, device=device).view(-1, 1, own, own)
    return F.interpolate(each, size=(side, side), mode="bicubic", antialias=True).flatten(1).T


def placed(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """A ViT's tokens [N, tokens, dim] of square images of any side, their positions added: what its blocks are given."""
    patches = net.patch_embed
    side = images.shape[-1] // patches.patch_size[0]
    if side == patches.grid_size[0]:
        return net._pos_embed(patches(images))
    tokens = patches.norm(patches.proj(images).flatten(2).transpose(1, 2))
    before = [token.expand(len(tokens), -1, -1) for token in (net.cls_token, net.reg_token) if token is not None]
    if net.pos_embed is None:
        return torch.cat((*before, tokens), 1)
    if net.no_embed_class:
        return net.pos_drop(torch.cat((*before, tokens + positions_at(net, side)), 1))
    return net.pos_drop(torch.cat((*before, tokens), 1) + positions_at(net, side))


def features_of(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """timm's forward_features, of square images of any side."""
    return net.norm(net.blocks(net.norm_pre(net.patch_drop(placed(net, images)))))
