"""What timm's ViT cannot be told by arguments: MoCo v3's fixed parts and batch norms, and the contest's random positions."""

import torch
from torch import nn

from helpers.core.errors import UserError, unknown

POSITIONS = ("normal", "sincos")
MLP_NORMS = ("batch",)


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


def sincos_table(height: int, width: int, dim: int) -> torch.Tensor:
    """Fixed positions [height * width, dim]: a quarter each of sin and cos of the column, then of the row, at falling frequencies."""
    frequencies = 10_000 ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    parts = [wave(place.flatten()[:, None] * frequencies) for place in (columns, rows) for wave in (torch.sin, torch.cos)]
    return torch.cat(parts, 1).float()
