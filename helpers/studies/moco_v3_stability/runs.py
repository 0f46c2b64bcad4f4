"""The grid of the study of MoCo v3: the line of methods, what makes a ViT wobble, what else trains the same ViT, sizes, rates that were
tried."""

from dataclasses import asdict, dataclass

import torch

from helpers.core.errors import UserError
from helpers.models import build_encoder
from helpers.runs.config import Data, Encoder, RunConfig
from helpers.runs.material import material
from helpers.runs.plan import Cell
from helpers.runs.run import build
from helpers.studies.moco_v3_stability.settings import (
    ADAMW,
    BATCH_NORM,
    BYOL,
    CHANGES,
    CLIPPED,
    EQUAL,
    FROZEN,
    JUDGED,
    LAMB,
    LARS,
    LEARNED,
    LINE,
    LONG,
    NAMES,
    OTHERS,
    OWN,
    PUBLISHED,
    SHORT,
    SIMCLR,
    SUPERVISED,
    V1,
    V2,
    V2_PLUS,
    V3,
    Settings,
)

OPTIMIZERS = {ADAMW: "adamw", LAMB: "lamb", LARS: "lars"}
MEANT = 256  # the batch that a ViT's rates are said for, as published
# Passes of an image through the encoder in a step: three for a view that learns (the backward pass is two), one through an average.
PASSES = {SIMCLR: 6, V1: 4, V2: 4, V2_PLUS: 8, BYOL: 8, V3: 8}
USUAL_PASSES = 6  # of two views, as InstDisc sees them here too, where one would suffice


@dataclass(frozen=True)
class Place:
    """One place of the study's tables."""

    part: str  # line | stability | others | sizes | priced | rates
    arm: str  # a method of the line or of OTHERS, a change of CHANGES, a size; "" in the grid of rates, batches and patches
    seed: int = 0
    length: str = ""  # of the line: SHORT, LONG or EQUAL
    optimizer: str = ""  # of the ViT
    patches: str = LEARNED
    rate: float = 0.0  # for a batch of 256; 0: the line's own
    batch: int = 0


def passes(method: str) -> int:
    return PASSES.get(method, USUAL_PASSES)


def places(s: Settings) -> list[Place]:
    """What was tried first, then a seed of everything that claims compare before the next seed, and last what no claim asks for."""
    found = _tried(s)
    for seed in range(s.seeds):
        found += [*_compared_vits(s, seed), *_compared_line(s, seed)]
    for seed in range(s.side_seeds):
        found += [*_side_vits(s, seed), *_side_line(s, seed)]
    return found + [Place("priced", name) for name in s.priced]


def _tried(s: Settings) -> list[Place]:
    if not s.tried:
        return []
    line = [Place("rates", method, rate=rate) for method in LINE for rate in s.tried.line]
    return line + [
        Place("rates", *(("", 0, "", name) if name in OPTIMIZERS else (name, 0, "", ADAMW)), rate=rate, batch=s.vit.batches[0])
        for name, rates in s.tried.vit.items()
        for rate in rates
    ]


def _compared_vits(s: Settings, seed: int) -> list[Place]:
    """Rates by patches with AdamW, rates with LAMB, batches, batch norm, supervised training."""
    usual = {"seed": seed, "batch": s.vit.batches[0]}
    at = usual | {"optimizer": ADAMW, "rate": s.vit.middle}
    found = [
        Place("stability", "", **usual, optimizer=ADAMW, rate=rate, patches=patches)
        for rate in reversed(s.vit.rates[ADAMW])
        for patches in (LEARNED, FROZEN)
    ]
    found += [Place("stability", "", **usual, optimizer=LAMB, rate=rate) for rate in s.vit.rates.get(LAMB, ())]
    found += [Place("stability", "", **at | {"batch": batch}) for batch in s.vit.batches[1:]]
    found += [Place("stability", BATCH_NORM, **at)]
    return found + [Place("others", name, **at | {"rate": s.vit.others[name]}) for name in (SUPERVISED,) if name in s.vit.others]


def _compared_line(s: Settings, seed: int) -> list[Place]:
    both = [Place("line", method, seed, length) for length in (LONG, SHORT) for method in PUBLISHED]
    return both + [Place("line", method, seed, LONG) for method in JUDGED if method not in PUBLISHED]


def _side_vits(s: Settings, seed: int) -> list[Place]:
    usual = {"seed": seed, "batch": s.vit.batches[0]}
    at = usual | {"optimizer": ADAMW, "rate": s.vit.middle}
    found = [Place("stability", name, **at) for name in CHANGES if name != BATCH_NORM and changes_something(s, name)]
    if s.vit.clip:
        found.append(Place("stability", CLIPPED, **at | {"rate": s.vit.rates[ADAMW][-1]}))
    found += [Place("stability", "", **usual, optimizer=LARS, rate=rate) for rate in s.vit.rates.get(LARS, ())]
    found += [Place("others", name, **at | {"rate": rate}) for name, rate in s.vit.others.items() if name != SUPERVISED]
    return found + [Place("sizes", name, **at) for name in s.sizes]


def changes_something(s: Settings, name: str) -> bool:
    """Whether the usual ViT is not already so."""
    of_net, of_method = CHANGES[name]
    return not (of_net.items() <= s.vit.net.options.items() and of_method.items() <= s.vit.options.items())


def _side_line(s: Settings, seed: int) -> list[Place]:
    """Those that no claim asks for, and everything for as many operations as SimCLR's long training has."""
    rest = [Place("line", method, seed, length) for method in LINE for length in (LONG, SHORT)]
    asked = {(method, length) for method in PUBLISHED for length in (LONG, SHORT)} | {(method, LONG) for method in JUDGED}
    equal = [Place("line", method, seed, EQUAL) for method in LINE if passes(method) != passes(SIMCLR)]
    return [place for place in rest if (place.arm, place.length) not in asked] + equal


def cells(s: Settings) -> list[Cell]:
    return [cell_of(s, place) for place in places(s)]


def cell_of(s: Settings, place: Place) -> Cell:
    """A place with its run, which is checked here, before anything is trained."""
    try:
        return Cell(config_of(s, place), asdict(place))
    except UserError as error:
        raise UserError(f"{place.part}, {place.arm or place.optimizer}: {error}") from error


def config_of(s: Settings, place: Place) -> RunConfig:
    """By whether it has a batch of its own: what trains a ViT has one, the line is all trained with the same."""
    return _vit(s, place) if place.batch else _priced(s, place) if place.part == "priced" else _line(s, place)


def _data(s: Settings, place: Place) -> Data:
    data = Data(**s.data())
    if place.part == "rates":
        return data.model_copy(update={"validation": s.tried.validation, "test_images": None})
    return data


def _line(s: Settings, place: Place) -> RunConfig:
    line, tried = s.line, place.part == "rates"
    epochs = s.tried.line_epochs if tried else epochs_of(s, place.arm, place.length)
    options = line.options.get(place.arm, {}) | OWN.get(place.arm, {})
    return RunConfig(
        data=_data(s, place),
        encoder=line.net,
        views={"recipe": s.views},
        method={"name": NAMES[place.arm], "options": options},
        training={
            "epochs": epochs,
            "batch_size": line.batch_size,
            "optimizer": line.optimizer,
            "weight_decay": line.weight_decay,
            "schedule": line.schedule,
            "warmup_epochs": min(line.warmup_epochs, epochs),
            "rate": place.rate or line.rates[place.arm],
            "precision": s.precision,
        },
        evaluation=_read(s, 0 if tried else 1),
        seed=place.seed,
    )


def epochs_of(s: Settings, method: str, length: str) -> int:
    if length == EQUAL:
        return max(1, round(s.line.long * passes(SIMCLR) / passes(method)))
    return s.line.short if length == SHORT else s.line.long


def _vit(s: Settings, place: Place) -> RunConfig:
    vit, tried = s.vit, place.part == "rates"
    method, options = (OTHERS[place.arm], {}) if place.arm in OTHERS else ("moco_v3", vit.options)
    of_net, of_method = CHANGES.get(place.arm, ({}, {})) if place.part == "stability" else ({}, {})
    net = s.sizes[place.arm] if place.part == "sizes" else vit.net
    if place.patches == FROZEN:
        of_net = of_net | {"freeze_patches": True}
    epochs = s.tried.vit_epochs if tried else vit.epochs
    return RunConfig(
        data=_data(s, place),
        encoder=Encoder(**net.model_dump() | {"options": net.options | of_net}),
        views={"recipe": s.views} | ({"options": {"count": 1}} if place.arm in (SUPERVISED, "masked patches") else {}),
        method={"name": method, "options": options | of_method},
        training={
            "epochs": epochs,
            "epoch_images": vit.epoch_images,
            "batch_size": place.batch,
            "optimizer": OPTIMIZERS[place.optimizer],
            "weight_decay": vit.weight_decays.get(place.optimizer, vit.weight_decay),
            "rate": place.rate,
            "rate_batch": MEANT,
            "schedule": "warmup_cosine",
            "warmup_epochs": min(vit.warmup_epochs, epochs),
            "clip_gradients": vit.clip if place.arm == CLIPPED else 0.0,
            "precision": s.precision,
        },
        evaluation=_read(s, 0 if tried else 1) | {"gradients": not tried},
        seed=place.seed,
    )


def _priced(s: Settings, place: Place) -> RunConfig:
    """Four steps, for what they cost; what is read from so little is next to nothing."""
    batch = s.vit.batches[0]
    return RunConfig(
        data=Data(**s.data() | {"train_images": 4 * batch, "test_images": 500}),
        encoder=s.priced[place.arm],
        views={"recipe": s.views},
        method={"name": "moco_v3", "options": s.vit.options},
        training={"epochs": 1, "batch_size": batch, "optimizer": "adamw", "rate": 1e-4, "precision": s.precision},
        evaluation=_read(s, 0),
    )


def _read(s: Settings, every: int) -> dict:
    asked = {"probe_every": every, "cka": False, "maps": None}
    return asked | ({"probe": "knn20_t0.1", "probe_bank": s.vit.bank, "probe_images": s.vit.read} if every else {})


def check(s: Settings) -> None:
    """Read every image set that is named and build every net and every method once, so that what is missing or cannot be is said before
    the first run and not between them."""
    size = [material(data) for data in (Data(**s.data()), *s.transfer)][0].dataset.image_size
    for name, net in (s.sizes | s.priced).items():
        try:
            build_encoder(net.name, size, stem=net.stem, **net.options)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error
    kinds = {
        (place.arm, place.patches, place.batch, place.optimizer): place for place in places(s) if place.part not in ("sizes", "priced")
    }
    for place in kinds.values():
        try:
            method, batches = build(config_of(s, place), torch.device("cpu"))
            method.check(len(batches.positions), batches.batch_size)
        except UserError as error:
            raise UserError(f"{place.part}, {place.arm or f'{place.optimizer}, batch {place.batch}'}: {error}") from error
