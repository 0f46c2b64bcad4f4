"""CIE Lab, the colours in which a distance is near to what an eye sees: lightness 0 to 100, then green to red and blue to yellow."""

import torch
from torch import Tensor

# From linear sRGB to X, Y, Z as shares of white's (D65): each row sums to 1, so that any grey has no colour exactly.
XYZ = ((0.4339499, 0.3762098, 0.1898403), (0.2126729, 0.7151521, 0.0721750), (0.0177566, 0.1094680, 0.8727754))
EDGE = (6 / 29) ** 3  # below it the cube root is replaced by the line that meets it there


def rgb_to_lab(images: Tensor) -> Tensor:
    """sRGB images [N, 3, H, W] in [0, 1] as L, a, b, float32."""
    images = images.float()
    linear = torch.where(images <= 0.04045, images / 12.92, ((images + 0.055) / 1.055) ** 2.4)
    red, green, blue = linear.unbind(1)
    x, y, z = (_root(red * r + green * g + blue * b) for r, g, b in XYZ)  # written out: a matrix product may run in lower precision
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def _root(share: Tensor) -> Tensor:
    return torch.where(share > EDGE, share.clamp(min=EDGE) ** (1 / 3), share * (29**2 / (3 * 6**2)) + 4 / 29)
