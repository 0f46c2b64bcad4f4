"""RunConfig: everything that makes a run what it is. Equal config = same run = never trained twice.

The id is a hash of what differs from the defaults, so a new field leaves old records valid; a default, once
published, must never change (tests/runs hold both). Configs hold requests ("range test x 3/8"); what a request
resolved to is in the record.
"""

import hashlib
import json
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from helpers.core.devices import PRECISIONS
from helpers.core.errors import nearest, pick
from helpers.core.sections import Positive, Section, Share, known, one_of
from helpers.evaluation.finetune import RECIPES as FINETUNING
from helpers.evaluation.knn import protocol_setting
from helpers.methods import METHODS, check_options
from helpers.models import resolve_stem, settled_options
from helpers.models.catalogue import find as find_encoder
from helpers.training import OPTIMIZERS, SCHEDULES
from helpers.views import RECIPES, ViewSettings


class Data(Section):
    """Which images: a name of the catalogue or of a folder in DATA_DIR, how many, at which size."""

    dataset: str = "embedded"
    train_split: str = "train"
    test_split: str = "test"
    label_split: str | None = None  # where the probes' labelled images come from; None: the train split
    train_images: Positive | None = None  # a seeded subset, the same for every run; None takes all
    test_images: Positive | None = None
    image_size: Positive | None = None  # None keeps the native size
    label_fraction: Share = 1.0  # of the train labels that supervised training and the probes may see
    validation: Positive | None = None  # training images kept out of training that stand in for the test set, to choose by
    options: dict[str, Any] = {}  # of the embedded dataset's generator
    test_share: Annotated[float, Field(gt=0, lt=1)] | None = None  # of each class, where a dataset has no test split; None: a fifth
    skip_damaged: bool = False  # leave out images that will not decode


class Encoder(Section):
    name: known(find_encoder) = "resnet_tiny"
    stem: str = "auto"
    options: dict[str, Any] = {}
    weights: str | None = None  # a local file of initial weights


class Views(Section):
    recipe: str = "contest"
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _known(self):
        settings = pick("view recipe", self.recipe, RECIPES)
        for key in self.options:
            if key not in ViewSettings.model_fields:
                raise ValueError(f"views have no option {key!r}. Nearest: {', '.join(nearest(key, ViewSettings.model_fields))}.")
        ViewSettings(**(settings.model_dump() | self.options))
        return self


class MethodChoice(Section):
    name: str = "simclr"
    options: dict[str, Any] = {}

    @model_validator(mode="after")
    def _known(self):
        pick("method", self.name, METHODS)
        check_options(self.name, self.options)
        return self


class RangeTest(Section):
    """The maximum rate is found by a range test: the rate at the lowest loss, times `factor`; `default` where there is none."""

    factor: Annotated[float, Field(gt=0)] = 0.375
    default: Annotated[float, Field(gt=0)] = 0.1
    seeds: Positive = 2
    low: Annotated[float, Field(gt=0)] = 1e-5
    high: Annotated[float, Field(gt=0)] = 1.0
    coarse_steps: Annotated[int, Field(ge=10)] = 100
    fine_steps: Annotated[int, Field(ge=10)] = 100

    @model_validator(mode="after")
    def _ordered(self):
        if self.low >= self.high:
            raise ValueError(f"low = {self.low} must lie below high = {self.high}")
        return self


class RateTrials(Section):
    """The maximum rate is the best of these, each tried in a shorter run on training images of which some are held out to choose by."""

    rates: Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=2)]
    epochs: Positive  # of each trial
    validation: Positive  # images held out

    @field_validator("rates")
    @classmethod
    def _once(cls, value):
        if len(set(value)) < len(value):
            raise ValueError(f"rates = {list(value)}: name each once")
        return value


class Training(Section):
    epochs: Positive = 10
    epoch_images: Positive | None = None  # images an epoch, the next one going on where it stopped; None: all of them, once
    batch_size: Annotated[int, Field(ge=2)] = 128
    accumulate: Positive = 1
    processes: Positive = 1  # of one CPU that share each batch, gradients averaged; batch statistics are each one's own
    optimizer: one_of("optimizer", OPTIMIZERS) = "radam"
    rate: Annotated[float, Field(gt=0)] | RangeTest | RateTrials = 1e-3
    rate_batch: Positive | None = None  # the batch that the rate is meant for: it grows in step with the batch; None: it is taken as it is
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    final_weight_decay: Annotated[float, Field(ge=0)] | None = None  # where half a cosine leads it by the last step; None: it stays
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(gt=0, lt=1)] = 0.999  # of the Adam family
    schedule: one_of("schedule", SCHEDULES) = "one_cycle"
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    clip_gradients: Annotated[float, Field(ge=0)] = 0.0  # the longest a step's gradient may be, all parameters together; 0: any
    precision: one_of("precision", PRECISIONS) = "auto"
    compile: bool = False
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0  # momentum of the average of the encoder that is read; 0: none
    sizes: tuple[
        tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[int, Field(ge=8)]], ...
    ] = ()  # [share of the epochs, side of the views from there on]

    @field_validator("sizes")
    @classmethod
    def _rising(cls, value):
        shares = [share for share, _ in value]
        if shares != sorted(set(shares)):
            raise ValueError("name the shares of the epochs from the smallest to the largest, each once")
        return value


class LabelDraws(Section):
    """What the encoder is worth with few labels, before training and after: frozen under a linear probe, and trained end to end."""

    fractions: tuple[Share, ...] = (0.01, 0.05, 0.1, 0.25, 1.0)  # of each class's labels
    draws: Positive = 3  # of each fraction below one; a run's own, the same for everything that is compared within it
    reference: Share = 0.1  # the fraction that is read on the way, at its first draw
    on_the_way: tuple[Positive, ...] = ()  # epochs after which it is
    epochs: Positive = 20  # over the labelled images, end to end
    steps: Positive = 300  # at least, however few images there are
    batch_size: Positive = 128
    rate: Annotated[float, Field(gt=0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 1e-5
    recipe: one_of("recipe of fine-tuning", FINETUNING) = "plain"  # of what is trained end to end
    pictures: bool = False  # keep some test images with their nearest training images

    @model_validator(mode="after")
    def _ordered(self):
        if not self.fractions or list(self.fractions) != sorted(set(self.fractions)):
            raise ValueError(f"fractions = {list(self.fractions)}: name each once, from the smallest to the largest")
        if self.reference not in self.fractions:
            raise ValueError(f"reference = {self.reference} is none of fractions = {list(self.fractions)}: add it there")
        return self


class Robustness(Section):
    """What the linear probe still knows where test images are corrupted, shifted, or shown before other backgrounds."""

    images: Positive | None = 1000  # test images, the same for every run; None: all
    masks: one_of("kind of mask", ("saliency", "true")) = "saliency"  # whose foreground is told from the background


class Evaluation(Section):
    probe_every: Annotated[int, Field(ge=0)] = 1  # epochs between two kNN probes on test; 0 probes never
    probe: known(protocol_setting) = "knn200_t0.1"  # the protocol of these probes
    probe_bank: Positive | None = None  # train images in the probe's bank; None takes all
    probe_images: Positive | None = None  # test images that it reads, the same every time; None takes all
    gradients: bool = False  # keep how long the gradient was at every step: of the first layer, of the rest, of the heads
    untrained: bool = False  # evaluate the encoder before training as well
    maps: Positive | None = 1000  # test images in t-SNE and silhouette; None draws no maps
    every: Positive | None = None  # epochs between two downstream evaluations on the way (frozen, and fine-tuned where asked)
    finetune_epochs: Annotated[int, Field(ge=0)] = 0  # of fine-tuning on the labelled images; 0: frozen only
    finetune_every: Positive | None = None  # epochs between two fine-tunings on the way; None: the last epoch alone
    finetune_rate: Annotated[float, Field(gt=0)] = 1e-3  # of the encoder
    finetune_recipe: one_of("recipe of fine-tuning", FINETUNING) = "plain"
    finetune_steps: Annotated[int, Field(ge=0)] = 0  # at least, however few labelled images there are
    blocks: bool = False  # probe every block of the encoder as well, and say which is best
    cka: bool = True  # keep principal features, to compare encoders
    tints: bool = False  # keep what the probe calls the test images when they are tinted blue and red
    pictures: bool = False  # keep saliency maps, neighbours and thumbnails of some images
    transfer: Data | None = None  # another dataset, on which the trained encoder is read out as well
    labels: LabelDraws | None = None  # read out with few labels as well
    robustness: Robustness | None = None  # read out on altered test images as well


class RunConfig(Section):
    """One run. `id` names its record."""

    data: Data = Data()
    encoder: Encoder = Encoder()
    views: Views = Views()
    method: MethodChoice = MethodChoice()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    seed: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _possible(self):
        batch = self.training.batch_size
        for name, count in (("data.train_images", self.data.train_images), ("training.epoch_images", self.training.epoch_images)):
            if count is not None and batch > count:
                raise ValueError(f"training.batch_size = {batch} is larger than {name} = {count}: lower the one or raise the other")
        encoder = self.encoder
        settled_options(encoder.name, encoder.options)
        if self.data.image_size is not None:  # else the size is known once the data is read
            resolve_stem(encoder.name, self.data.image_size, encoder.stem, encoder.options.get("patch"))
        if self.data.validation is not None and (self.data.test_images or self.data.label_split):
            raise ValueError("data.validation takes the place of the test set: leave data.test_images and data.label_split out")
        if isinstance(rate := self.training.rate, RateTrials):
            images = self.data.train_images
            if self.data.label_split:
                raise ValueError("training.rate tries rates on training images, which have labels only where data.label_split is left out")
            if images is not None and batch > images - rate.validation:
                raise ValueError(
                    f"training.batch_size = {batch} is larger than the {images - rate.validation} images that trials of rates train on, as "
                    f"training.rate.validation = {rate.validation} are held out: lower one of them"
                )
        _check_training(self.training)
        if batch % self.training.processes:
            raise ValueError(
                f"training.batch_size = {batch} cannot be shared by training.processes = {self.training.processes}: no rest may be"
            )
        kind, views = METHODS[self.method.name], RECIPES[self.views.recipe].model_dump() | self.views.options
        if views["count"] < kind.views_needed:
            raise ValueError(
                f"views.count = {views['count']} in recipe {self.views.recipe!r}: {kind.card.title} compares at least two views; "
                f"its own recipe is {kind.card.recipe!r}"
            )
        if self.training.processes > 1 and not kind.takes_processes:
            able = ", ".join(name for name, other in METHODS.items() if other.takes_processes)
            raise ValueError(f"training.processes = {self.training.processes}: {kind.card.title} has a process to itself; {able} may share")
        if views.get("small") and not kind.takes_small_views:
            raise ValueError(
                f"recipe {self.views.recipe!r} makes small views, and {kind.card.title} takes none: set views.options.small = 0"
            )
        if self.encoder.weights and not kind.takes_weights:
            raise ValueError(f"encoder.weights cannot be used with {kind.card.title}, which builds nets of its own: leave it out")
        if self.evaluation.finetune_every and not self.evaluation.finetune_epochs:
            raise ValueError("evaluation.finetune_every needs evaluation.finetune_epochs of at least 1")
        return self

    @property
    def id(self) -> str:
        return f"{slug(self.data.dataset)}-{digest(self.changes())}"

    def rate_trials(self) -> list["RunConfig"]:
        """The runs by which its rate is chosen, none where it is not: the same for every seed, and on the training images alone."""
        asked = self.training.rate
        if not isinstance(asked, RateTrials):
            return []
        changes = self.changes()
        split = {name: None for name in ("test_images", "label_split")} | {"validation": asked.validation}
        shared = {name: changes[name] for name in ("encoder", "views", "method") if name in changes}
        shared |= {"data": changes.get("data", {}) | split, "evaluation": {"probe_every": 0, "maps": None, "cka": False}}
        training = changes["training"] | {"epochs": asked.epochs}
        return [RunConfig(**shared, training=training | {"rate": rate}) for rate in asked.rates]

    @property
    def range_test_id(self) -> str:
        """The record of the range test this run asks for: shared by every run that differs only in what the test does not see."""
        return f"{slug(self.data.dataset)}-range-{digest(self.range_test_config())}"

    def range_test_config(self) -> dict:
        """All that a range test depends on; not the seed, the number of epochs or what is done with the result."""
        changes = self.changes()
        unseen = ("epochs", "schedule", "warmup_epochs", "final_weight_decay", "average")
        training = {k: v for k, v in changes.get("training", {}).items() if k not in unseen}
        if isinstance(self.training.rate, RangeTest):
            training["rate"] = self.training.rate.model_dump(mode="json", exclude_defaults=True, exclude={"factor", "default"})
        data = {k: v for k, v in changes.get("data", {}).items() if k not in ("test_images", "test_split")}
        kept = {k: v for k, v in changes.items() if k in ("encoder", "views", "method")}
        return kept | {"data": data, "training": training}


def _check_training(asked: Training) -> None:
    """An error, before anything is read or built, where what is asked for cannot have a meaning."""
    for what, epochs in {"run of training": asked.epochs, "trials of training.rate": getattr(asked.rate, "epochs", asked.epochs)}.items():
        if (warmup := asked.warmup_epochs) > epochs:
            raise ValueError(f"training.warmup_epochs = {warmup:g} is longer than the {what}.epochs = {epochs}: lower it, or train longer")
    if asked.beta2 != 0.999 and asked.optimizer in ("sgd", "lars"):
        raise ValueError(f"training.beta2 = {asked.beta2:g}: {asked.optimizer} has no second beta; leave it out, or take adamw or lamb")
    if asked.rate_batch and isinstance(asked.rate, RangeTest):
        raise ValueError("training.rate_batch: a range test finds the rate at the very batch that is trained; leave it out")


def slug(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name.lower())


def digest(content: dict) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
