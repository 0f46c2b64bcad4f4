"""The names of a study's variants. Commands check them before anything heavy is imported."""

# The presets every study has, each with the hours after which a single cell counts as hanging.
PRESETS = {"demo": 1, "cpu": 24, "gpu": 48, "paper": 24 * 60}
DEFAULT_READING = "as_written"


def variant_name(preset: str, reading: str | None = None) -> str:
    """The name of the results folder: the preset, with the reading where it is not the default one."""
    return preset if reading in (None, DEFAULT_READING) else f"{preset}-{reading}"
