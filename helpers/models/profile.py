"""What an encoder costs: parameters, and multiply-adds of one image; and the same as others have published it."""

import tomllib
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from helpers.models.build import build_encoder


def parameters(encoder: nn.Module) -> int:
    """The number of parameters, trained or not; buffers are not counted."""
    return sum(parameter.numel() for parameter in encoder.parameters())


def macs(encoder: nn.Module) -> int:
    """Multiply-adds of one image's forward pass.

    Convention: convolutions, matrix products and attention, as torch's flop counter sees them, halved: FLOPs are two for every
    multiply-add, so FLOPs = 2 x macs(). Papers and torchvision's pages often print multiply-adds under the name of FLOPs. Norms,
    activations and pooling are left out, as in the papers. A training step costs about three times this an image.
    """
    from torch.utils.flop_counter import FlopCounterMode  # it imports Triton, where that is installed

    device = next(encoder.parameters()).device
    training = encoder.training
    encoder.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            encoder(torch.zeros(1, 3, encoder.image_size, encoder.image_size, device=device))
    finally:
        encoder.train(training)
    return counter.get_total_flops() // 2


def published_counts() -> dict[str, dict]:
    """By encoder: multiply-adds and parameters at 224 px with classifier, and where they are published."""
    return tomllib.loads(Path(__file__).with_name("published_counts.toml").read_text(encoding="utf-8"))


def counts_table() -> list[dict]:
    """Our count of each net, with the classifier that its publishers count, beside theirs; differences in percent of theirs."""
    rows = []
    for name, published in published_counts().items():
        with torch.device("meta"):  # shapes are all that counting needs
            encoder = build_encoder(name, 224, stem="imagenet")
            own_macs, own_parameters = macs(encoder), parameters(encoder)
        for before, after in pairwise(published["classifier"]):
            own_macs += before * after * published.get("positions", 1)
            own_parameters += before * after + after
        rows.append(
            {
                "encoder": name,
                "macs": own_macs,
                "published macs": int(published["macs"]),
                "macs off by %": 100 * (own_macs / published["macs"] - 1),
                "parameters": own_parameters,
                "published parameters": int(published["parameters"]),
                "parameters off by %": 100 * (own_parameters / published["parameters"] - 1),
                "the study's paper": int(published["study_macs"]) if "study_macs" in published else None,
                "source": published["source"],
                "note": published.get("note", ""),
            }
        )
    return rows
