"""What can be set in the study of scenes from above, and how its presets set it."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from helpers.core.errors import DataError, pick
from helpers.core.sections import Positive, Section, Share
from helpers.data import own
from helpers.evaluation.knn import protocol_setting
from helpers.models import resolve_stem
from helpers.runs.config import Encoder
from helpers.studies.settings import BACKBONES, Above, Batch, Count, Readout, StudySettings, among, covered, some_of

READINGS = ("as_written",)
VARIANTS = ("cpu", "quick")  # to be committed, the main one first
SHOWN = ("forensic", "pretexts")  # on the page of the study
ABOUT = "D1"  # the claim that it is about
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


FEWEST_HELD = 100  # training images, to choose a rate by


class Tried(Section):
    """Rates that every backbone tries alike, in place of a range test."""

    rates: Annotated[list[Above], Field(min_length=2)]
    share: Share  # of the run's epochs, in each trial; one at least, which is more of a run of few long epochs
    validation: Positive  # training images held out to choose by


class Settings(StudySettings):
    data_dir: str | None = None  # a folder of class folders anywhere, in place of the dataset
    skip_damaged: bool = False
    data_options: dict[str, Any] = {}  # of the embedded dataset's drawing
    test_share: Share = 0.5  # of each class, where the images come without a test split
    companion: Companion
    image_size: Positive
    resolutions: Annotated[list[Positive], Field(min_length=1)]
    backbones: some_of("backbone", BACKBONES) = list(BACKBONES)
    epochs: Positive
    batch_size: Batch
    scene_batch: Batch | None = None  # of the scenes, where there are fewer than a batch
    temperature: Above = 0.1
    precision: str = "fp32"  # their scaling leaves less to each channel than bf16 resolves
    seeds: Positive  # of the settings that claims are about
    mixed_seeds: Count = 1  # of the other two settings of scaling and rate
    supervised_seeds: Count = 1
    tried: Tried | None = None  # None: range tests
    scene_validation: Positive | None = None  # of the scenes, where there are too few for that of `tried`
    range_seeds: Positive = 1
    range_steps: Annotated[int, Field(ge=10)] = 30
    default_rate: Above = 0.1  # where a range test has no minimum
    their_scaling: dict[str, list[float]] = SCALING  # mean, std
    their_rates: dict[str, Above] = RATES  # backbone -> the maximum of one cycle
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
        covered("heads", self.heads, self.backbones)
        covered("their_rates", self.their_rates, self.backbones)
        shorter, longer = self.companion.few, self.companion.many
        if longer % shorter or self.companion.epochs % (longer // shorter):
            raise ValueError(
                f"companion: {longer} images in as many steps as {shorter} take in {self.companion.epochs} epochs is no whole number of "
                "epochs. Let many be a multiple of few, and epochs a multiple of that"
            )
        return self

    def prepared(self) -> "Settings":
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
        held = min(self.tried.validation, trained // 5) if self.tried else 0
        if held < FEWEST_HELD:  # they could not tell one rate from another
            changes["tried"], held = None, 0
        wanted = 1 if self.readout == "linear" else protocol_setting(self.readout)[0]
        shown = [size for size in self.resolutions if size <= found.side]
        if self.image_size not in shown:
            raise DataError(
                f"data_dir: half of the images are less than {found.side + 1} px wide or high, and this preset works at {self.image_size} px. "
                f"Take a size that they have: image_size and resolutions are parameters, encoders are known for {', '.join(self.encoders)} px."
            )
        changes |= {"dataset": found.name, "data_options": {}, "data_dir": Path(self.data_dir).name, "resolutions": shown}
        changes |= {"scene_batch": min(self.batch_size, trained - held), "readout": self.readout if wanted <= trained else "linear"}
        changes["scene_validation"] = held or None
        return self.model_copy(update=changes)


def about(s: Settings, data: str = SCENES) -> str:
    """What was trained on what, for every figure's title."""
    if data == COMPANION:
        return f"{s.companion.dataset}, {s.companion.image_size} px; {s.scope}"
    return f"{s.images('all training images')}, {s.epochs} epochs; {s.scope}"
