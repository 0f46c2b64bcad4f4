"""What can be set in the study of scenes from above, how its presets set it, and the run that stands in each of its places."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from helpers.core.errors import DataError, pick
from helpers.data import own
from helpers.evaluation.knn import protocol_setting
from helpers.models import resolve_stem
from helpers.study.config import Encoder, Positive, RunConfig, Section, Share
from helpers.study.contest_settings import BACKBONES, Backbones, Count, Readout, among

READINGS = ("as_written",)
CORRECT, THEIRS, TESTED = "correct", "theirs", "tested"
SCENES, COMPANION = "scenes", "companion"  # the study's images, and photographs taken from the ground
CONTRAST, SUPERVISED = "contrast", "supervised"
MAIN, AS_RUN = (CORRECT, TESTED), (THEIRS, THEIRS)  # (scaling, rate)
ALTERED_ON = "ResNet"  # the backbone on which augmentations and pretexts are compared
VIEWS = "contest"

# How the authors' repository has it: constants for another colour space on images in [0, 1], rates, and heads that differ.
SCALING = {"mean": [50.0, 6.0, -6.7], "std": [50.0, 92.2, 101.2]}
RATES = {"ResNet": 0.00179, "ConvNeXt": 9.4e-6, "ViT": 10.0}
HEADS = {
    "ResNet": {"hidden": 512, "out": 128, "joint": False},
    "ConvNeXt": {"hidden": 1000, "out": 128, "norm": "none", "activation": "gelu", "joint": False},
    "ViT": {"hidden": 512, "out": 128, "joint": False},
}
# A scene has no "up", so quarter turns are free of corners; a patch is altered by a grey square.
ALTERED = {"rotation": {"quarter_turns": True}, "patch alteration": {"cutout": 0.5, "cutout_side": 0.4}}
FIXED = {"optimizer": "radam", "rate": 3e-3}  # what is no contrast has no range test
PRETEXTS = {
    "rotation": {"method": {"name": "rotnet"}, "views": {"recipe": "rotnet"}, "training": FIXED},
    "inpainting": {
        "method": {"name": "sit", "options": {"tasks": ["inpainting"]}},
        "views": {"recipe": "rotnet"},
        "training": FIXED,
    },
}
LABELLED = {"method": {"name": "supervised"}, "views": {"recipe": "simclr_small", "options": {"count": 1}}, "training": FIXED}


class Companion(Section):
    """Photographs on which the same is asked: are pretexts weak on scenes alone, is it the number of images?"""

    dataset: str
    options: dict[str, Any] = {}
    image_size: Positive
    few: Positive  # as many as there are scenes
    many: Positive
    epochs: Positive  # of the few; the many take as many steps
    test_images: Positive | None = None


class AidSettings(Section):
    """One variant of the study: the preset's values, with whatever the parameters cell or papermill put in their place."""

    scope: str  # embedded | reduced | paper
    dataset: str
    data_dir: str | None = None  # a folder of class folders anywhere, in place of the dataset
    skip_damaged: bool = False
    data_options: dict[str, Any] = {}  # of the embedded dataset's drawing
    test_share: Share = 0.5  # of each class, where the images come without a test split
    train_images: Positive | None = None
    test_images: Positive | None = None
    companion: Companion
    image_size: Positive
    resolutions: Annotated[list[Positive], Field(min_length=1)]
    backbones: Backbones = list(BACKBONES)
    epochs: Positive
    batch_size: Annotated[int, Field(ge=2)]
    scene_batch: Annotated[int, Field(ge=2)] | None = None  # of the scenes, where there are fewer than a batch
    temperature: Annotated[float, Field(gt=0)] = 0.1
    precision: str = "fp32"  # their scaling leaves less to each channel than bf16 resolves
    seeds: Positive  # of the settings that claims are about
    mixed_seeds: Count = 1  # of the other two settings of scaling and rate
    supervised_seeds: Count = 1
    range_seeds: Positive = 1
    range_steps: Annotated[int, Field(ge=10)]
    default_rate: Annotated[float, Field(gt=0)] = 0.1  # where a range test has no minimum
    their_scaling: dict[str, list[float]] = SCALING  # mean, std
    their_rates: dict[str, Annotated[float, Field(gt=0)]] = RATES  # backbone -> the maximum of one cycle
    encoders: dict[str, dict[str, dict[str, Any]]]  # image size -> backbone -> name, stem, options
    heads: dict[str, dict[str, Any]] = HEADS
    altered: dict[str, dict[str, Any]] = ALTERED  # augmentation -> what it adds to the views
    pretexts: dict[str, dict[str, Any]] = PRETEXTS  # pretext -> method, views, training
    supervised: dict[str, Any] = LABELLED  # method, views, training
    map_images: Positive = 600
    readout: Readout = "knn200_t0.1"  # the protocol of the published figures; claims are judged by it

    @model_validator(mode="after")
    def _whole(self):
        among("part of their scaling", list(self.their_scaling), ("mean", "std"))
        if self.image_size not in self.resolutions:
            raise ValueError(f"resolutions = {self.resolutions} does not hold image_size = {self.image_size}: add it")
        for size in [*self.resolutions, self.companion.image_size]:
            if str(size) not in self.encoders:
                known = ", ".join(self.encoders)
                raise ValueError(f"encoders has no entry for {size} px (it has {known}): add one, or leave the resolution out")
            for backbone in self.backbones:
                encoder = Encoder(**pick(f"backbone at {size} px", backbone, self.encoders[str(size)]))
                resolve_stem(encoder.name, size, encoder.stem, encoder.options.get("patch"))
        for name, given in (("heads", self.heads), ("their_rates", self.their_rates)):
            if absent := [backbone for backbone in self.backbones if backbone not in given]:
                raise ValueError(f"{name} has no entry for {', '.join(absent)}: give one, or leave the backbone out of backbones")
        shorter, longer = self.companion.few, self.companion.many
        if longer % shorter or self.companion.epochs % (longer // shorter):
            raise ValueError(
                f"companion: {longer} images in as many steps as {shorter} take in {self.companion.epochs} epochs is no whole number of "
                "epochs. Let many be a multiple of few, and epochs a multiple of that"
            )
        return self

    def prepared(self) -> "AidSettings":
        """A folder of the user's own is packed and goes by its name; sizes that it cannot fill shrink to it."""
        if self.data_dir is None:
            return self
        sizes = [*dict.fromkeys([*self.resolutions, self.companion.image_size])]  # the first are the study's, the last the transfer's
        found = own.adopt(self.data_dir, sizes, test_share=self.test_share, skip_damaged=self.skip_damaged)[0]
        train, test = found.split("train"), found.split("test")
        if train.labels is None or len(np.unique(train.labels)) < 2:
            raise DataError(f"data_dir: {found.source} has images of one class alone, so there is nothing to tell apart. Give two or more.")
        fewer = {"train_images": (self.train_images, len(train)), "test_images": (self.test_images, len(test))}
        changes = {name: None if wish is None or wish >= there else wish for name, (wish, there) in fewer.items()}
        trained = changes["train_images"] or len(train)
        if trained < 2 * protocol_setting("knn10")[0]:
            raise DataError(f"data_dir: {trained} training images ({found.source}) are too few to judge anything by. Give at least 20.")
        wanted = 1 if self.readout == "linear" else protocol_setting(self.readout)[0]
        shown = [size for size in self.resolutions if size <= found.side]
        if self.image_size not in shown:
            raise DataError(
                f"data_dir: half of the images are less than {found.side + 1} px wide or high, and this preset works at {self.image_size} px. "
                f"Take a size that they have: image_size and resolutions are parameters, encoders are known for {', '.join(self.encoders)} px."
            )
        changes |= {"dataset": found.name, "data_options": {}, "data_dir": Path(self.data_dir).name, "resolutions": shown}
        changes |= {"scene_batch": min(self.batch_size, trained), "readout": self.readout if wanted <= trained else "linear"}
        return self.model_copy(update=changes)


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


def about(s: AidSettings, data: str = SCENES) -> str:
    """What was trained on what, for every figure's title."""
    if data == COMPANION:
        return f"{s.companion.dataset}, {s.companion.image_size} px; {s.scope}"
    images = "all training images" if s.train_images is None else f"{s.train_images:,} images"
    return f"{s.dataset}, {images}, {s.epochs} epochs; {s.scope}"


def config_of(s: AidSettings, place: Place) -> RunConfig:
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


def scenes(s: AidSettings, size: int) -> dict:
    """The data section of the study's own images at a size."""
    drawn = s.dataset == "embedded"
    shared = {"dataset": s.dataset, "image_size": size, "train_images": s.train_images, "test_images": s.test_images}
    return shared | ({"options": s.data_options} if drawn else {"test_share": s.test_share, "skip_damaged": s.skip_damaged})


def _companion(s: AidSettings, images: int) -> dict:
    """So many of the companion's images, the same few of them labelled, so that probes know as much whatever was trained on."""
    c = s.companion
    given = {"dataset": c.dataset, "options": c.options, "image_size": c.image_size, "test_images": c.test_images}
    return given | {"train_images": images, "label_fraction": c.few / images}


def _batch(s: AidSettings, place: Place) -> int:
    return s.batch_size if place.data == COMPANION else s.scene_batch or s.batch_size


def _epochs(s: AidSettings, place: Place) -> int:
    if place.part != "count":  # a pretext gets as much on photographs as on scenes
        return s.epochs
    return s.companion.epochs * s.companion.few // (place.images or s.companion.few)


def _recipe(s: AidSettings, place: Place) -> dict:
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


def _rate(s: AidSettings, place: Place):
    if place.rate == THEIRS:
        return s.their_rates[place.backbone]
    return {"default": s.default_rate, "seeds": s.range_seeds, "coarse_steps": s.range_steps, "fine_steps": s.range_steps}


def _readouts(s: AidSettings, place: Place) -> dict:
    main = place.part == "forensic" and (place.scaling, place.rate) == MAIN
    asked = {"probe_every": 0, "cka": False, "maps": s.map_images if main and place.seed == 0 else None}
    before = place.part in ("resolution", "pretext") or (place.scaling, place.rate) == AS_RUN or main
    asked |= {"untrained": before, "pictures": main and place.seed == 0}
    if place.part == "count" and place.images == s.companion.many:
        asked |= {"transfer": scenes(s, s.companion.image_size), "untrained": True}
    return asked
