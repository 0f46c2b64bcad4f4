"""Small arrays that a record keeps of the feature space: t-SNE points, silhouettes, principal components for CKA."""

import numpy as np
import torch

from helpers.core.errors import UserError
from helpers.core.seeds import generator


def sample(count: int, n: int) -> np.ndarray:
    """n sorted rows of `count`, the same in every run: test sets may be sorted by class, so not the first n."""
    return torch.randperm(count, generator=generator("cpu", "insight", count))[:n].sort().values.numpy()


def tsne(features, n: int = 1000, seed: int = 0, perplexity: float = 30) -> np.ndarray:
    """Points float16 [n, 2] of the rows sample(len(features), n); perplexity goes down where there are too few rows for it."""
    from sklearn.manifold import TSNE  # half a second that reading records need not pay

    x = _principal(_host(features)[sample(len(features), n)], 50)
    if len(x) < 5:
        raise UserError(f"t-SNE needs at least 5 images, and there are {len(x)}.")
    spread = x[:, 0].std()
    if not spread > 0:  # a collapsed encoder; scikit-learn would divide by zero and crash the whole process
        return np.zeros((len(x), 2), np.float16)
    x = x / spread
    points = TSNE(perplexity=min(perplexity, (len(x) - 1) / 3), init="pca", random_state=seed).fit_transform(x.astype(np.float32))
    return points.astype(np.float16)


def silhouette(features, labels) -> np.ndarray:
    """Per image, -1 to 1: how much nearer (by cosine) it is to its own class than to the next one; NaN with a single class."""
    from sklearn.metrics import silhouette_samples

    x, labels = _host(features), _host(labels)
    if not 1 < len(np.unique(labels)) < len(labels):
        return np.full(len(labels), np.nan)
    return silhouette_samples(x, labels, metric="cosine")


def cka_features(x, m: int = 500, d: int = 96) -> np.ndarray:
    """Principal scores float16 [m, d] of the rows sample(len(x), m), scaled as a whole, which CKA does not notice."""
    scores = _principal(_host(x)[sample(len(x), m)], d)
    return (scores / (np.sqrt(np.square(scores).mean()) or 1)).astype(np.float16)


def _principal(x, d: int) -> np.ndarray:
    x = x.astype(np.float64)
    left, values, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
    return (left * values)[:, :d]


def _host(values) -> np.ndarray:
    return values.cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
