"""What the numbers do not say: maps of the feature space, and how alike two encoders see."""

from helpers.insight.cka import linear_cka
from helpers.insight.embedding import cka_features, sample, silhouette, tsne

__all__ = ["cka_features", "linear_cka", "sample", "silhouette", "tsne"]
