"""The names of a study's variants. Commands check them before anything heavy is imported."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from helpers.core.files import slug

# The presets every study has, each with the hours after which a single cell counts as hanging.
PRESETS = {"demo": 1, "quick": 24, "cpu": 24, "gpu": 48, "paper": 24 * 60}
# All presets of a study that has more: the race is run to the minute.
MORE = {"speedrun": {"demo": 1, "cpu1": 24, "cpu": 24, "cpu15": 24, "cpu60": 24, "gpu": 48, "paper": 24 * 60}}
DEFAULT_READING = "as_written"


def presets_of(study: str) -> dict[str, int]:
    return MORE.get(study, PRESETS)


# Parameters that leave a variant what it is: how it is run, and how often. Any other makes it a study of the user's own.
FREE = ("preset", "reading", "device", "workers", "time_budget", "train", "part", "map_images", "decide")


def is_custom(given: Iterable[str]) -> bool:
    """Whether the parameters given beside the preset change what is studied."""
    return any(name not in FREE and not name.endswith("seeds") for name in given)


def variant_name(preset: str, reading: str | None = None, given: Mapping[str, object] | None = None) -> str:
    """The name of the results folder: the preset, the reading where it is not the default one, "custom" where more was changed, and
    whose images they are where the user brought some: one folder's results never replace another's."""
    given = given or {}
    name = preset if reading in (None, DEFAULT_READING) else f"{preset}-{reading}"
    whose = f"-{slug(Path(str(given['data_dir'])).name)}" if given.get("data_dir") else ""
    return f"{name}-custom{whose}" if is_custom(given) else name
