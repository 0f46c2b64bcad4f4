"""The parts a recipe falls into: views of one image need not all be made alike."""

from typing import NamedTuple

from helpers.views import colour
from helpers.views.render import numbers_needed
from helpers.views.settings import ViewSettings


class Part(NamedTuple):
    """Views that are made alike, in one batch."""

    settings: ViewSettings  # hold for each of them
    size: int
    count: int  # how many of an image
    numbers: int  # uniform random numbers a view takes
    places: int  # where the hue may come among the steps of the jitter


def parts_of(settings: ViewSettings, size: int) -> list[Part]:
    """The large views, in two parts where every second one differs, then the small ones, which are never masked."""
    alone = {"alternate": {}, "small": 0}
    sides = [settings.model_copy(update=alone)]
    if settings.alternate and settings.count > 1:
        sides.append(settings.second().model_copy(update=alone))
    found = [_part(side, size, len(range(first, settings.count, len(sides)))) for first, side in enumerate(sides)]
    if settings.small:
        small = settings.model_copy(update=alone | {"crop_scale": settings.small_scale, "mask": 0.0})
        found.append(_part(small, small_side(settings, size), settings.small))
    return found


def small_side(settings: ViewSettings, size: int) -> int:
    """A multiple of 4, so that nets can halve it twice, at least 12, and never more than the large views' side."""
    return min(size, max(12, 4 * round(settings.small_side * size / 4)))


def _part(settings: ViewSettings, size: int, count: int) -> Part:
    strengths = (settings.brightness, settings.contrast, settings.saturation)
    places = colour.hue_places(strengths, settings.hue) if settings.jitter and settings.takes("colour") else 1
    return Part(settings, size, count, numbers_needed(settings, size), places)
