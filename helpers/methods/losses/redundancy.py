"""Losses that keep an embedding from collapsing by its statistics over the batch: decorrelated, and of a variance of one."""

import torch
import torch.nn.functional as F

from helpers.methods.gather import gathered


def barlow_twins(z1: torch.Tensor, z2: torch.Tensor, off_diagonal_weight: float) -> torch.Tensor:
    """The cross-correlation matrix of two views' coordinates against the identity, summed over the whole matrix. z1, z2: [N, d].

    Each coordinate is centred and divided by its biased standard deviation over the batch of all processes. With equal views and
    uncorrelated coordinates it is 0.
    """
    with torch.autocast(z1.device.type, enabled=False):
        z1, z2 = (_standardised(gathered(z.float())) for z in (z1, z2))
        correlation = z1.T @ z2 / len(z1)
        diagonal = correlation.diagonal()
        off_diagonal = correlation.square().sum() - diagonal.square().sum()
        return (diagonal - 1).square().sum() + off_diagonal_weight * off_diagonal


def vicreg(z1: torch.Tensor, z2: torch.Tensor, invariance: float, variance: float, covariance: float) -> torch.Tensor:
    """VICReg's three weighted terms, of embeddings [N, d] whose scale matters, so that they are not normalised here.

    invariance  mean squared difference of the views, over samples and coordinates
    variance    how far each coordinate's standard deviation (unbiased) is below 1: mean over coordinates and the two views
    covariance  squares of the covariances of different coordinates: sum over the matrix by d, added over the two views
    """
    with torch.autocast(z1.device.type, enabled=False):
        z1, z2 = gathered(z1.float()), gathered(z2.float())
        count, width = z1.shape
        below, shared = 0.0, 0.0
        for z in (z1, z2):
            centred = z - z.mean(0)
            spread = (centred.square().sum(0) / (count - 1) + 1e-4).sqrt()
            below = below + F.relu(1 - spread).mean() / 2
            matrix = centred.T @ centred / (count - 1)
            shared = shared + (matrix.square().sum() - matrix.diagonal().square().sum()) / width
        return invariance * F.mse_loss(z1, z2) + variance * below + covariance * shared


def _standardised(z: torch.Tensor) -> torch.Tensor:
    variance, mean = torch.var_mean(z, dim=0, correction=0)
    return (z - mean) * variance.clamp(min=1e-8).rsqrt()  # a coordinate that is the same everywhere becomes 0, not noise
