"""The grid of scenes from above: the corrected contest and what was done wrong, resolutions, augmentations, pretexts, photographs."""

from dataclasses import asdict, dataclass

from helpers.core.errors import UserError, pick
from helpers.evaluation.knn import protocol_setting
from helpers.runs.config import Data, RunConfig
from helpers.runs.material import material
from helpers.runs.plan import Cell
from helpers.studies.aid_remote_sensing.settings import (
    AS_RUN,
    COMPANION,
    CONTRAST,
    CORRECT,
    MAIN,
    SCENES,
    SUPERVISED,
    TESTED,
    THEIRS,
    VIEWS,
    Settings,
)

SETTINGS = tuple((scaling, rate) for scaling in (CORRECT, THEIRS) for rate in (TESTED, THEIRS))  # of the forensic grid


@dataclass(frozen=True)
class Place:
    """One place of the study's tables. What is left out is as in the corrected contest: scenes, contrast, right scaling, tested rate."""

    part: str  # forensic | resolution | augmentation | pretext | supervised | count
    backbone: str
    seed: int = 0
    scaling: str = CORRECT
    rate: str = TESTED
    size: int | None = None  # pixels; None: the study's image size
    added: str = ""  # an augmentation
    pretext: str = CONTRAST
    data: str = SCENES
    images: int | None = None  # of the companion; None: few


def places(s: Settings) -> list[Place]:
    several, first = range(s.seeds), range(s.seeds)[:1]
    forensic = [
        Place("forensic", backbone, seed, *setting)
        for seed in several
        for setting in SETTINGS
        for backbone in s.backbones
        if setting in (MAIN, AS_RUN) or seed < s.mixed_seeds
    ]
    references = [Place("supervised", backbone, seed, pretext=SUPERVISED) for seed in range(s.supervised_seeds) for backbone in s.backbones]
    resolution = [
        Place("resolution", backbone, seed, size=size)
        for seed in several
        for size in s.resolutions
        for backbone in s.backbones
        if size != s.image_size
    ]
    augmentation = [Place("augmentation", "ResNet", seed, added=added) for seed in several for added in s.altered]
    pretext = [
        Place("pretext", "ResNet", seed, pretext=name, data=data) for seed in several for name in s.pretexts for data in (SCENES, COMPANION)
    ]
    count = [
        Place("count", backbone, seed, data=COMPANION, images=images)
        for seed in several
        for images in (s.companion.few, s.companion.many)
        for backbone in s.backbones
        if backbone in ("ResNet", "ViT") or (seed in first and images == s.companion.many)
    ]
    return forensic + references + resolution + augmentation + pretext + count


def cells(s: Settings) -> list[Cell]:
    return [cell_of(s, place) for place in places(s)]


def cell_of(s: Settings, place: Place) -> Cell:
    """A place with its run, which is checked here, before anything is trained."""
    try:
        config = config_of(s, place)
    except UserError as error:
        raise UserError(f"{place.part}, {place.backbone}, {place.pretext} at {place.size or s.image_size} px: {error}") from error
    size, added = config.data.image_size, f", {place.added}" if place.added else ""
    filled = {
        "size": size,
        "images": place.images or (s.companion.few if place.data == COMPANION else 0),
        "optimizer": f"{setting_name(place.scaling)}, {size} px{added}",
    }
    return Cell(config, asdict(place) | filled)


def setting_name(scaling: str, rate: str | None = None) -> str:
    words = {CORRECT: "correct scaling", THEIRS: "their scaling"}[scaling]
    return words if rate is None else f"{words}, {'their rate' if rate == THEIRS else 'tested rate'}"


def config_of(s: Settings, place: Place) -> RunConfig:
    size = s.companion.image_size if place.data == COMPANION else place.size or s.image_size
    recipe = _recipe(s, place)
    return RunConfig(
        data=_companion(s, place.images or s.companion.few) if place.data == COMPANION else scenes(s, size),
        encoder=s.encoders[str(size)][place.backbone],
        views=recipe["views"],
        method=recipe["method"],
        training={"epochs": _epochs(s, place), "batch_size": _batch(s, place), "precision": s.precision} | recipe["training"],
        evaluation=_readouts(s, place),
        seed=place.seed,
    )


def scenes(s: Settings, size: int) -> dict:
    """The data section of the study's own images at a size."""
    drawn = s.dataset == "embedded"
    shared = {"dataset": s.dataset, "image_size": size, "train_images": s.train_images, "test_images": s.test_images}
    return shared | ({"options": s.data_options} if drawn else {"test_share": s.test_share, "skip_damaged": s.skip_damaged})


def _companion(s: Settings, images: int) -> dict:
    """So many of the companion's images, the same few of them labelled, so that probes know as much whatever was trained on."""
    c = s.companion
    given = {"dataset": c.dataset, "options": c.options, "image_size": c.image_size, "test_images": c.test_images}
    return given | {"train_images": images, "label_fraction": c.few / images}


def _batch(s: Settings, place: Place) -> int:
    return s.batch_size if place.data == COMPANION else s.scene_batch or s.batch_size


def _epochs(s: Settings, place: Place) -> int:
    if place.part != "count":  # a pretext gets as much on photographs as on scenes
        return s.epochs
    return s.companion.epochs * s.companion.few // (place.images or s.companion.few)


def _recipe(s: Settings, place: Place) -> dict:
    """Views, method and what is special in training."""
    if place.pretext == SUPERVISED:
        return s.supervised
    if place.pretext != CONTRAST:
        return pick("pretext", place.pretext, s.pretexts)
    options = dict(s.their_scaling) if place.scaling == THEIRS else {}
    options |= pick("augmentation", place.added, s.altered) if place.added else {}
    return {
        "views": {"recipe": VIEWS, "options": options},
        "method": {"name": "simclr", "options": {"temperature": s.temperature} | s.heads[place.backbone]},
        "training": {"optimizer": "radam", "rate": _rate(s, place)},
    }


def _rate(s: Settings, place: Place):
    if place.rate == THEIRS:
        return s.their_rates[place.backbone]
    if s.tried:
        epochs = max(1, round(s.tried.share * _epochs(s, place)))
        held = s.tried.validation if place.data == COMPANION else s.scene_validation or s.tried.validation
        return {"rates": s.tried.rates, "epochs": epochs, "validation": held}
    return {"default": s.default_rate, "seeds": s.range_seeds, "coarse_steps": s.range_steps, "fine_steps": s.range_steps}


def _readouts(s: Settings, place: Place) -> dict:
    main = place.part == "forensic" and (place.scaling, place.rate) == MAIN
    asked = {"probe_every": 0, "cka": False, "maps": s.map_images if main and place.seed == 0 else None}
    before = place.part in ("resolution", "pretext") or (place.scaling, place.rate) == AS_RUN or main
    asked |= {"untrained": before, "pictures": main and place.seed == 0}
    if place.part == "count" and place.images == s.companion.many:
        asked |= {"transfer": scenes(s, s.companion.image_size), "untrained": True}
    return asked


def check(s: Settings) -> None:
    """Read every image set that the runs name, so that what is missing or too small is said before the first run and not between them."""
    needed = 1 if s.readout == "linear" else protocol_setting(s.readout)[0]
    asked = [config for cell in cells(s) for config in (*cell.config.rate_trials(), cell.config)]
    sections = [data for config in asked for data in (config.data, config.evaluation.transfer) if data is not None]
    for data in dict.fromkeys(each.model_dump_json() for each in sections):
        found = material(Data.model_validate_json(data))
        size, side = found.dataset.image_size, found.dataset.side
        if size > side and found.dataset.name != "embedded":
            raise UserError(
                f"{found.dataset.name} comes in {side} px, so {size} px would show nothing more. Leave that size out: "
                f"-p resolutions '{[each for each in s.resolutions if each <= side]}'"
            )
        if needed > len(found.labelled):
            raise UserError(
                f"readout = {s.readout!r} asks {needed} neighbours of {len(found.labelled)} training images. Take linear, or fewer neighbours."
            )
