"""The grid of the study of views: the ladder and what each rung leaves out, rivals, nets, forms, rates that were tried, other images."""

from dataclasses import asdict, dataclass

from helpers.core.errors import UserError
from helpers.methods import METHODS
from helpers.models import build_encoder
from helpers.runs.config import Data, RunConfig
from helpers.runs.material import material
from helpers.runs.plan import Cell
from helpers.studies.relic_views.settings import (
    ARMS,
    BYOL,
    FORMS,
    IMAGES,
    LARGE,
    NAMES,
    NO_LARGE,
    NO_SMALL,
    PASSES,
    RELIC,
    RIVALS,
    SIMCLR,
    SMALL,
    SUPERVISED,
    WHOLE,
    Settings,
)
from helpers.views import RECIPES, make_views

UNALTERED = (RELIC, LARGE)  # are not read out on altered images: no claim asks
FORWARD, TRAINED = 1, 3  # passes of a view: through a target, and through what learns (the backward pass is two more)


@dataclass(frozen=True)
class Place:
    """One place of the study's tables."""

    part: str  # ladder | rivals | nets | forms | sources | rates
    arm: str  # of ARMS, RIVALS or FORMS
    seed: int = 0
    net: str = ""  # "": the main one
    spent: str = IMAGES  # what it has in common with the whole
    source: str = ""  # what it was trained on; "": the study's own images
    rate: float = 0.0  # that was tried; 0: the preset's


def places(s: Settings) -> list[Place]:
    """The most telling first: a seed of everything that claims compare before the next seed."""
    tried = [Place("rates", arm, rate=rate) for arm in (WHOLE, *RIVALS) for rate in (s.tried.rates if s.tried else ())]
    compared = [
        place
        for seed in range(s.seeds)
        for place in (
            *(Place("ladder", arm, seed) for arm in reversed(ARMS)),
            *(Place("rivals", arm, seed) for arm in RIVALS),
            *(Place("nets", arm, seed, net) for net in [*s.nets][1:] for arm in (WHOLE, SUPERVISED) if seed < s.net_seeds),
        )
    ]
    forms = [Place("forms", arm, seed) for seed in range(s.form_seeds) for arm in FORMS]
    equal = [Place("rivals", arm, seed, spent=PASSES) for seed in range(s.equal_seeds) for arm in RIVALS]
    sources = [Place("sources", arm, source=source) for source in s.sources for arm in (WHOLE, SIMCLR)]
    return tried + compared + forms + equal + sources


def cells(s: Settings) -> list[Cell]:
    return [cell_of(s, place) for place in places(s)]


def cell_of(s: Settings, place: Place) -> Cell:
    """A place with its run, which is checked here, before anything is trained."""
    try:
        return Cell(config_of(s, place), asdict(place) | {"net": place.net or s.main})
    except UserError as error:
        raise UserError(f"{place.part}, {place.arm}, {place.net or s.main}: {error}") from error


def config_of(s: Settings, place: Place) -> RunConfig:
    data = Data(**s.data())
    if place.source:
        data = s.sources[place.source]
    if place.part == "rates":
        data = data.model_copy(update={"validation": s.tried.validation, "test_images": None})
    return RunConfig(
        data=data,
        encoder=(s.tried.net if place.part == "rates" else None) or s.nets[place.net or s.main],
        views={"recipe": s.views, "options": views_of(s, place.arm)},
        method=method_of(s, place.arm),
        training={
            "epochs": epochs_of(s, place, data),
            "batch_size": s.batch_size,
            "optimizer": s.optimizer,
            "weight_decay": s.weight_decay,
            "rate": place.rate or s.rates[place.arm if place.arm in RIVALS else RELIC],
            "precision": s.precision,
        },
        evaluation=_readouts(s, place),
        seed=place.seed,
    )


def views_of(s: Settings, arm: str) -> dict:
    """What an arm's views differ in from the recipe that all share: how many, of which size, with masks or without."""
    two, large, small = {"count": 2}, {"count": s.large}, {"small": s.small}
    plain, none = {"mask": 0.0}, {"small": 0}
    options = {
        RELIC: two | none | plain,
        LARGE: large | none | plain,
        SMALL: large | small | plain,
        NO_LARGE: two | small | {"mask": s.mask},
        NO_SMALL: large | none | {"mask": s.mask},
        SIMCLR: two | none | plain,
        BYOL: two | none | plain,
        SUPERVISED: {"count": 1} | none | plain,
    }
    whole = large | small | {"mask": s.mask}
    return options.get(arm) or whole | {name: value for name, value in FORMS.get(arm, {}).items() if name == "mask_first"}


def method_of(s: Settings, arm: str) -> dict:
    options = s.options.get(arm if arm in RIVALS else RELIC, {})
    if arm in RIVALS:
        return {"name": NAMES[arm], "options": options}
    form = {name: value for name, value in FORMS.get(arm, {}).items() if name == "form"}
    return {"name": "relic" if arm == RELIC else "relic_v2", "options": options | form}


def passes(s: Settings, arm: str) -> float:
    """Passes of a whole image through the encoder, forwards and backwards, for each image that a step takes."""
    views = views_of(s, arm)
    seen = views["count"] + views["small"] * RECIPES[s.views].small_side ** 2
    through_target = 0 if arm in (SIMCLR, SUPERVISED) else views["count"]
    return TRAINED * seen + FORWARD * through_target


def epochs_of(s: Settings, place: Place, data: Data) -> int:
    if place.part == "rates":
        return s.tried.epochs
    if place.spent == PASSES:
        return max(1, round(s.epochs * passes(s, WHOLE) / passes(s, place.arm)))
    if place.source:  # as many images seen
        return max(1, round(s.epochs * s.train_images / data.train_images))
    return s.epochs


def _readouts(s: Settings, place: Place) -> dict:
    asked = {"probe_every": 0, "cka": False, "maps": None}
    if place.part == "rates":
        return asked
    compared = place.part in ("ladder", "rivals") and place.arm in (WHOLE, *RIVALS)
    if compared:
        asked |= {"every": max(1, epochs_of(s, place, Data(**s.data())) // s.on_the_way)}
    if place.part in ("ladder", "rivals") and place.spent == IMAGES and place.arm not in UNALTERED:
        asked |= {"robustness": {"images": s.robust_images, "masks": s.masks}}
    if compared and place.spent == IMAGES and s.labels and place.seed < s.label_seeds:
        asked |= {"labels": s.labels}
    return asked


def check(s: Settings) -> None:
    """Read every image set that is named and put every net before small views, so that what is missing or cannot be is said before the
    first run and not between them."""
    found = [material(data) for data in (Data(**s.data()), *s.sources.values(), *s.transfer)]
    size = found[0].dataset.image_size
    for name, net in s.nets.items():
        try:
            encoder = build_encoder(net.name, size, stem=net.stem, **net.options)
            METHODS["relic_v2"](encoder, make_views(s.views, size, **views_of(s, WHOLE)))
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
