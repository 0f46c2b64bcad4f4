"""What can be set in the study of MoCo v3, and how its presets set it."""

from typing import Annotated, Any

from pydantic import Field, model_validator

from helpers.core.sections import Positive, Section, one_of
from helpers.judging.dips import READINGS_NEEDED
from helpers.models.catalogue import find
from helpers.runs.config import Data, Encoder
from helpers.studies.settings import Above, Batch, Count, Readout, StudySettings, ViewRecipe, among, covered
from helpers.training import OPTIMIZERS, SCHEDULES

READINGS = ("as_written",)
VARIANTS = ("cpu",)  # to be committed
SHOWN = ("stability", "line", "transfer")  # on the page of the study
ABOUT = "M1"  # the claim that it is about
LAID_OVER = ("line", "vit")  # of these a parameter need name only what differs from the preset

SIMCLR, V1, V2, V2_PLUS, V3 = "SimCLR", "MoCo v1", "MoCo v2", "MoCo v2+", "MoCo v3"
INSTDISC, BYOL, SIMSIAM, SWAV = "InstDisc", "BYOL", "SimSiam", "SwAV"
LINE = (INSTDISC, SIMCLR, V1, V2, V2_PLUS, BYOL, SIMSIAM, SWAV, V3)  # in the order in which they came
# Of these the published table has short and long schedules. Its MoCo v2 is the one with both directions: the talk lists the same 72.2 %
# as v2+, and 71.1 % as v2.
PUBLISHED = (SIMCLR, V2_PLUS, BYOL, SWAV, SIMSIAM)
JUDGED = (*PUBLISHED, V2, V3)  # by a claim
NAMES = {INSTDISC: "instdisc", SIMCLR: "simclr", V1: "moco_v1", V2: "moco_v2", V2_PLUS: "moco_v2", BYOL: "byol"} | {
    SIMSIAM: "simsiam",
    SWAV: "swav",
    V3: "moco_v3",
}
OWN = {V2_PLUS: {"symmetric": True}}  # what makes a method of the line another than its name
SHORT, LONG, EQUAL = "short", "long", "equal operations"
LEARNED, FROZEN = "learned", "frozen"  # patch projection
VIT_OPTIMIZERS = ADAMW, LAMB, LARS = "AdamW", "LAMB", "LARS"
# What is changed in one run of the ViT at the middle rate, all else as it is: (options of the encoder, options of the method).
CHANGES = {
    "batch norm in the MLP blocks": ({"mlp_norm": "batch"}, {}),
    "heads without batch norm": ({}, {"norm": "none"}),
    "fixed sin-cos positions": ({"positions": "sincos"}, {}),
    "momentum 0.9": ({}, {"momentum": 0.9}),
    "temperature 0.1": ({}, {"temperature": 0.1}),
}
BATCH_NORM = "batch norm in the MLP blocks"  # the one that a claim is about
CLIPPED = "gradients clipped"
SUPERVISED, DINO, MASKED = "supervised", "DINO", "masked patches"
OTHERS = {SUPERVISED: "supervised", DINO: "dino", MASKED: "masked_patches"}  # that the same ViT is trained by


class Line(Section):
    """The line of methods on one convolutional net."""

    net: Encoder
    batch_size: Batch
    optimizer: one_of("optimizer", OPTIMIZERS) = "muon"
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    schedule: one_of("schedule", SCHEDULES) = "one_cycle"
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    short: Positive  # epochs
    long: Positive
    rates: dict[str, Above]  # of each method of the line
    options: dict[str, dict[str, Any]] = {}  # of the methods, by the same names

    @model_validator(mode="after")
    def _whole(self):
        covered("rates", self.rates, LINE)
        for name in ("rates", "options"):
            among(f"method of {name}", list(getattr(self, name)), LINE)
        if self.short >= self.long:
            raise ValueError(f"short = {self.short} must be shorter than long = {self.long}")
        return self


class Vit(Section):
    """MoCo v3 on a ViT, whose training is watched."""

    net: Encoder
    epochs: Annotated[int, Field(gt=READINGS_NEEDED)]  # after each of which kNN is read; fewer readings do not say what their noise is
    epoch_images: Positive | None = None
    warmup_epochs: Annotated[float, Field(ge=0)]
    batches: Annotated[list[Batch], Field(min_length=1)]  # the first is that of everything else
    rates: dict[str, Annotated[list[Above], Field(min_length=1)]]  # of each optimizer, for a batch of 256, rising
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    weight_decays: dict[str, Annotated[float, Field(ge=0)]] = {}  # of optimizers that take another one
    clip: Annotated[float, Field(gt=0)] | None = None  # a further run at the highest rate has its gradients clipped at this length
    options: dict[str, Any] = {}  # of MoCo v3
    others: dict[str, Above] = {}  # rate of each other method that the same net is trained by: supervised, DINO, masked patches
    read: Positive | None = None  # test images of the kNN on the way
    bank: Positive | None = None  # and the training images that it compares them with

    @model_validator(mode="after")
    def _whole(self):
        if find(self.net.name).family != "vit":
            raise ValueError(
                f"vit.net = {self.net.name!r} has no patches and no MLP blocks, of which this part is: name a ViT, as vit_micro"
            )
        covered("rates", self.rates, (ADAMW,))
        for name in ("rates", "weight_decays"):
            among(f"optimizer of {name}", list(getattr(self, name)), VIT_OPTIMIZERS)
        among("method of others", list(self.others), OTHERS)
        for name, rates in self.rates.items():
            if rates != sorted(set(rates)):
                raise ValueError(f"rates of {name} = {rates}: from the lowest to the highest, each once")
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs = {self.warmup_epochs:g} is longer than the run of epochs = {self.epochs}: lower it")
        return self

    @property
    def middle(self) -> float:
        return middle(self.rates[ADAMW])

    @property
    def called(self) -> str:
        """The net as figures and tables name it, in the manner of `sizes`: width x blocks where these are given."""
        sides = [self.net.options.get(name) for name in ("dim", "depth")]
        return f"ViT {sides[0]} x {sides[1]}" if all(sides) else self.net.name


class Tried(Section):
    """Rates that were tried on training images held out, before the study: what the preset's rates rest on. The same number for each."""

    validation: Positive
    line: list[Above] = []
    line_epochs: Positive = 1
    vit: dict[str, list[Above]] = {}  # by optimizer of MoCo v3, and by what else trains the same net
    vit_epochs: Positive = 1

    @model_validator(mode="after")
    def _known(self):
        among("optimizer or method of vit", list(self.vit), (*VIT_OPTIMIZERS, *OTHERS))
        return self


class Settings(StudySettings):
    views: ViewRecipe = "simclr_small"  # of everything that is compared
    line: Line
    vit: Vit
    tried: Tried | None = None
    seeds: Positive  # of what claims compare
    side_seeds: Count = 1  # of everything else
    transfer: list[Data] = []  # other images to fine-tune the ViTs on
    fractions: list[Annotated[float, Field(gt=0, le=1)]] = [1.0]  # of their labels
    transfer_epochs: Positive = 10
    transfer_steps: Count = 100  # at least
    sizes: dict[str, Encoder] = {}  # further ViTs, trained as the main one, to hold accuracy against parameters
    priced: dict[str, Encoder] = {}  # ViTs that take a few steps, for what they cost
    precision: str = "auto"
    readout: Readout = "linear"  # the protocol that claims are judged by

    @model_validator(mode="after")
    def _possible(self):
        for name, net in (self.sizes | self.priced).items():
            if find(net.name).family != "vit":
                raise ValueError(f"sizes and priced are of ViTs, and {name} is a {net.name}")
        if len({data.dataset for data in self.transfer}) < len(self.transfer):
            raise ValueError("transfer: name each dataset once")
        if self.transfer and SUPERVISED not in self.vit.others:
            raise ValueError("transfer compares with supervised training: give its rate in vit.others")
        return self


def middle(values: list) -> Any:
    """Of an even number the lower one: the higher is on the side where training wobbles."""
    return values[(len(values) - 1) // 2]


def about(s: Settings) -> str:
    """What was trained on what, for every figure's title."""
    return f"{s.images()}; {s.scope}"


def about_vit(s: Settings) -> str:
    seen = s.vit.epochs * (s.vit.epoch_images or s.train_images or 0)
    return f"{s.images()}, {f'{seen:,} seen' if seen else f'{s.vit.epochs} epochs'}; {s.scope}"


def about_line(s: Settings) -> str:
    return f"{s.images()}, {s.line.short} and {s.line.long} epochs; {s.scope}"
