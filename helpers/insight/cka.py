"""Linear centred kernel alignment: how alike two encoders lay out the same images, 0 to 1."""

import numpy as np

from helpers.core.errors import UserError


def linear_cka(x, y, debiased: bool = False) -> float:
    """Linear CKA of features [m, d1] and [m, d2] of the same m images; rotating or scaling either changes nothing.

    The plain form grows with d / m: unrelated random features score about d / (m + d), so wide encoders look alike
    whatever they learned. `debiased` uses the unbiased estimate of HSIC, whose mean is 0 for unrelated features
    (so it may fall a little below 0); it is the one to compare encoders of different width with.
    """
    x, y = _centred(x), _centred(y)
    if len(x) != len(y):
        raise UserError(f"CKA compares the same images: {len(x)} rows on one side, {len(y)} on the other. Use records of one dataset.")
    if debiased and len(x) < 4:
        raise UserError(f"Debiased CKA needs at least 4 images, and there are {len(x)}.")
    hsic = _unbiased_hsic if debiased else _hsic
    scale = hsic(x, x) * hsic(y, y)
    return float(hsic(x, y) / np.sqrt(scale)) if scale > 0 else float("nan")


def _centred(x) -> np.ndarray:
    x = np.asarray(x.cpu() if hasattr(x, "cpu") else x, dtype=np.float64)
    x = x - x.mean(0)
    return x / (np.abs(x).max() or 1)


def _hsic(x, y) -> float:
    """Biased HSIC up to its constant, |x^T y|^2: the Gram matrices' inner product without the Gram matrices."""
    return np.square(x.T @ y).sum()


def _unbiased_hsic(x, y) -> float:
    """Unbiased HSIC up to its constant: Gram matrices without their diagonals, where each image is compared to itself."""
    m = len(x)
    k, l = x @ x.T, y @ y.T  # noqa: E741
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    rows_k, rows_l = k.sum(1), l.sum(1)
    return (k * l).sum() + rows_k.sum() * rows_l.sum() / ((m - 1) * (m - 2)) - 2 * (rows_k @ rows_l) / (m - 2)
