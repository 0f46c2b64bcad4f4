"""Random views of images: batched, on any device, from a generator."""

from helpers.views.geometry import quarter_turns
from helpers.views.lab import rgb_to_lab
from helpers.views.recipes import RECIPES, make_views
from helpers.views.render import unnormalised
from helpers.views.saliency import saliency
from helpers.views.settings import ViewSettings
from helpers.views.views import Views

__all__ = ["RECIPES", "ViewSettings", "Views", "make_views", "quarter_turns", "rgb_to_lab", "saliency", "unnormalised"]
