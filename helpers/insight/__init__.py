"""What the numbers do not say: maps of the feature space, what a decision hangs on, which images and classes to look at."""

from helpers.insight.cka import linear_cka
from helpers.insight.embedding import cka_features, sample, silhouette, tsne
from helpers.insight.examples import best_and_worst, by_accuracy, most_confused
from helpers.insight.recolour import flips, tinted
from helpers.insight.saliency import Classifier, saliency_maps
from helpers.insight.thumbnails import Layout, keep, kept, montage, thumbnail_layout, thumbnails

__all__ = [
    "Classifier",
    "Layout",
    "best_and_worst",
    "by_accuracy",
    "cka_features",
    "flips",
    "keep",
    "kept",
    "linear_cka",
    "montage",
    "most_confused",
    "saliency_maps",
    "sample",
    "silhouette",
    "thumbnail_layout",
    "thumbnails",
    "tinted",
    "tsne",
]
