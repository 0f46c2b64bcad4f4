"""What can be set in the study of views, and how its presets set it."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from helpers.core.sections import Positive, Section, Share, one_of
from helpers.runs.config import Data, Encoder, LabelDraws
from helpers.studies.settings import Above, Batch, Count, Readout, StudySettings, ViewRecipe, among, covered

READINGS = ("as_written",)
VARIANTS = ("cpu",)  # to be committed
SHOWN = ("rivals", "ladder", "corruptions")  # on the page of the study
ABOUT = "R1"  # the claim that it is about

RELIC, SIMCLR, BYOL, SUPERVISED = "ReLIC", "SimCLR", "BYOL", "supervised"
LARGE, SMALL, WHOLE = "+ large views", "+ small views", "ReLICv2"
NO_LARGE, NO_SMALL = "ReLICv2, two large", "ReLICv2, none small"
LADDER = (RELIC, LARGE, SMALL, WHOLE)  # each rung adds one thing; without masks the whole is the rung before it
ARMS = (*LADDER, NO_LARGE, NO_SMALL)
RIVALS = (SIMCLR, BYOL, SUPERVISED)
IMAGES, PASSES = "images", "passes"  # what two methods have spent equally
FORMS = {"KL between views": {"form": "views"}, "masked first": {"mask_first": True}}
NAMES = {SIMCLR: "simclr", BYOL: "byol", SUPERVISED: "supervised"}


class Tried(Section):
    """Rates that each method tries on training images held out, before the study: what the preset's rates rest on."""

    rates: Annotated[list[Above], Field(min_length=2)]
    epochs: Positive
    validation: Positive
    net: Encoder | None = None  # that they are tried on; None: the main one


class Settings(StudySettings):
    data_options: dict[str, Any] = {}  # of the embedded dataset's drawing
    nets: dict[str, Encoder]  # by the name that figures show; the first is the one that everything else is asked of
    views: ViewRecipe = "relic_v2_small"  # everything that is compared sees its colours, and crops of its range
    large: Annotated[int, Field(ge=3)] = 4  # large views of the whole; ReLIC has two
    small: Positive = 2
    mask: Share = 0.15  # probability that a large view shows the foreground alone
    masks: one_of("kind of mask", ("saliency", "true")) = "saliency"  # by which backgrounds are swapped in the readouts
    epochs: Positive
    batch_size: Batch
    optimizer: str = "muon"
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    rates: dict[str, Above]  # ReLIC (all arms of it), SimCLR, BYOL, supervised
    options: dict[str, dict[str, Any]] = {}  # of the methods, by the same names
    tried: Tried | None = None
    seeds: Positive  # of the ladder and its rivals at equal images
    net_seeds: Count = 1  # of the further nets
    equal_seeds: Count = 1  # of the rivals at equal arithmetic
    form_seeds: Count = 1  # of the other form of the KL and the other order of masking
    label_seeds: Count = 1  # that are read out with few labels too
    labels: LabelDraws | None = None
    sources: dict[str, Data] = {}  # other images to train on, by a name, with the epochs that make as many images seen
    transfer: list[Data] = []  # other images to read the encoders out on
    transfer_epochs: Count = 0  # of fine-tuning there
    transfer_runs: list[str] = []  # further runs, of any study, by their id
    robust_images: Positive | None = 1000  # test images that are altered
    on_the_way: Positive = 2  # of a frozen probe on the way, evenly spaced
    precision: str = "auto"
    readout: Readout = "linear"  # the protocol that claims are judged by

    @model_validator(mode="after")
    def _whole(self):
        if not self.nets:
            raise ValueError("nets is empty: name one")
        covered("rates", self.rates, (RELIC, *RIVALS))
        for name in ("rates", "options"):
            among(f"method of {name}", list(getattr(self, name)), (RELIC, *RIVALS))
        if self.sources and not (self.train_images and all(data.train_images for data in self.sources.values())):
            raise ValueError("sources are trained on as many images as the study's own: give train_images of both")
        if self.masks == "true" and self.dataset != "embedded":
            raise ValueError(f"masks = 'true': {self.dataset} has no true masks, only the embedded dataset has. Take masks = 'saliency'")
        return self

    def data(self) -> dict:
        found = super().data()
        return found | ({"options": self.data_options} if self.dataset == "embedded" else {})

    @property
    def main(self) -> str:
        return next(iter(self.nets))


def about(s: Settings) -> str:
    """What was trained on what, for every figure's title."""
    return f"{s.images()}, {s.epochs} epochs, {s.main}; {s.scope}"
