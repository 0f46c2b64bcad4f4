"""Does colour decide? Test images tinted blue or red, and what their predictions flip to."""

import numpy as np
import torch

from helpers.core.errors import UserError, pick, unknown
from helpers.views.colour import GREY

HUES = {"blue": (0.0, 0.0, 1.0), "red": (1.0, 0.0, 0.0)}


def tinted(images, colour: str, strength: float) -> torch.Tensor:
    """uint8 [n, 3, H, W], every pixel moved by `strength` (0 to 1) towards the strongest blue or red of its own luma.

    Brightness thus stays and only colour changes; black and white, which have no colour of their luma, stay as they are.
    """
    hue = torch.tensor(pick("colour", colour, HUES))
    if not 0 <= strength <= 1:
        raise UserError(f"A tint's strength is between 0 and 1, not {strength}.")
    images = torch.as_tensor(np.ascontiguousarray(images) if isinstance(images, np.ndarray) else images)
    grey = torch.tensor(GREY) / sum(GREY)
    away = (hue - hue @ grey).to(images.device)  # a direction without luma
    x = images.float().div(255)
    luma = torch.einsum("nchw,c->nhw", x, grey.to(images.device)).unsqueeze(1)
    reach = torch.minimum((1 - luma) / away.max(), luma / -away.min())  # up to the edge of what can be shown
    target = luma + reach * away[None, :, None, None]
    return x.lerp(target, strength).mul_(255).round_().clamp_(0, 255).byte()


def flips(before, after, classes, target: str) -> dict:
    """Of the images not called c before, the percent called c after: of the target class and of each other class, and their mean."""
    if target not in classes:
        raise unknown("class", target, classes)
    before, after = np.asarray(before).astype(np.int64), np.asarray(after).astype(np.int64)
    if before.shape != after.shape:
        raise UserError(f"Flips compare predictions of the same images: {len(before)} before, {len(after)} after.")
    into = np.bincount(after[before != after], minlength=len(classes))
    open_to = len(before) - np.bincount(before, minlength=len(classes))
    shares = 100 * into / np.maximum(open_to, 1)
    others = [index for index, name in enumerate(classes) if name != target]
    return {
        "images": len(before),
        "changed": int(into.sum()),
        "counts": {name: int(into[index]) for index, name in enumerate(classes)},
        "to_target": float(shares[classes.index(target)]),
        "to_others": float(shares[others].mean()) if others else float("nan"),
        "most": classes[int(shares.argmax())] if into.any() else None,
    }
