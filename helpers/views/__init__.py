"""Random views of images: batched, on any device, from a generator."""

from helpers.views.geometry import quarter_turns
from helpers.views.recipes import RECIPES, Views, ViewSettings, make_views

__all__ = ["RECIPES", "ViewSettings", "Views", "make_views", "quarter_turns"]
