"""A view recipe in words, from its settings alone."""

from collections.abc import Callable

from helpers.views import ViewSettings

# Settings that only say how another one works; they are told with it, or by their own name where they are changed alone.
DETAILS = {
    "crop_ratio": "crop_scale",
    "brightness": "jitter",
    "contrast": "jitter",
    "saturation": "jitter",
    "hue": "jitter",
    "blur_sigma": "blur",
    "blur_kernel": "blur",
    "noise_sigma": "noise",
    "cutout_side": "cutout",
    "small_side": "small",
    "small_scale": "small",
}


def _percent(share: float) -> str:
    return f"{100 * share:.3g}"


def _range(limits) -> str:
    return f"{_percent(limits[0])} to {_percent(limits[1])} %"


def _sometimes(what: str) -> Callable:
    return lambda value, settings: what if value == 1 else f"{what} with probability {value:g}"


def _jitter(value, settings) -> str:
    strengths = ", ".join(f"{name} {getattr(settings, name):g}" for name in ("brightness", "contrast", "saturation", "hue"))
    return f"{_sometimes('colours jittered')(value, settings)} ({strengths})"


def _count(value, settings) -> str:
    return f"{value} {'large ' if settings.small else ''}view{'s' if value > 1 else ''}"


def _small(value, settings) -> str:
    made = f"{_percent(settings.small_side)} % of the side, cropped to {_range(settings.small_scale)} of the area"
    return f"besides them {value} small view{'s' if value > 1 else ''} of {made}"


def _alternate(value, settings) -> str:
    return f"but every second view {', '.join(_phrase(name, each, settings.second()) for name, each in value.items())}"


def _order(value, settings) -> str:
    return f"of what follows {', then '.join(value)} alone" if value else "none of it"


PHRASES: dict[str, Callable] = {
    "count": _count,
    "order": _order,
    "crop_scale": lambda value, settings: f"cropped to {_range(value)} of the area",
    "shift": lambda value, settings: f"moved by up to {_percent(value)} % of the side",
    "flip": _sometimes("mirrored"),
    "quarter_turns": lambda value, settings: "turned by quarter turns",
    "rotation": lambda value, settings: f"turned by up to {value:g} degrees",
    "jitter": _jitter,
    "grey": _sometimes("made grey"),
    "blur": _sometimes("blurred"),
    "solarize": _sometimes("solarized"),
    "sobel": _sometimes("reduced to edges"),
    "noise": _sometimes("made noisy"),
    "cutout": _sometimes("a square cut out"),
    "mask": _sometimes("shown without their background"),
    "mask_first": lambda value, settings: "which is removed before crop and colours",
    "alternate": _alternate,
    "small": _small,
}
LAST = ("alternate", "small")  # what is said of other views, after all that is said of the large ones


def in_words(settings: ViewSettings) -> str:
    """Everything a recipe does; what it leaves out is not told."""
    changed = {name: value for name, value in settings if value != type(settings).model_fields[name].default}
    told = {"count": settings.count} | {name: value for name, value in changed.items() if not changed.get(DETAILS.get(name))}
    ordered = sorted(told, key=lambda name: LAST.index(name) + 1 if name in LAST else 0)
    return "; ".join(_phrase(name, told[name], settings) for name in ordered)


def _phrase(name: str, value, settings: ViewSettings) -> str:
    return PHRASES[name](value, settings) if name in PHRASES else f"{name} {plain(value)}"


def plain(value) -> str:
    """A setting's value."""
    if isinstance(value, list | tuple):
        return (" to " if len(value) == 2 else ", ").join(map(plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
