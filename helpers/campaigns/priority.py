"""Which runs to train first when time is short: those that finish most claims a minute.

What a claim lacks is asked of the claim itself: a study is judged from the records that are there, with nothing trained.
How long a run takes is estimated from its arithmetic and what the device was seen to do; each run that ends corrects the next estimate.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from helpers.evaluation.finetune import BATCH_SIZE, epochs_of
from helpers.judging.claims import SEEDS_NEEDED, Part, read_claims
from helpers.models import build_encoder, macs
from helpers.runs import records
from helpers.runs.config import Encoder, RangeTest, RunConfig
from helpers.runs.material import material
from helpers.studies.open import Study
from helpers.training.growing import mean_area
from helpers.views import make_views

_counted: dict[str, Mapping[str, float]] = {}


@dataclass(frozen=True)
class Wanted:
    """A claim and the runs that would complete it."""

    claim: str
    study: str
    runs: frozenset[str]


def wanted(study: Study) -> list[Wanted]:
    """The claims of a variant that would be judged if the runs they lack were there. Left out are those that cannot be: of the paper's
    scale alone, of another reading, or with too few seeds in the grid."""
    seeds = {config.id: config.seed for config in study.configs}
    claims, found = read_claims(), []
    verdicts = study.verdicts(study.recorded())
    for row in verdicts.itertuples():
        parts = verdicts.attrs["parts"][row.claim]
        lacking = frozenset(run for part in parts for run in part.lacking)
        possible = all(part.asked and _seeds(part, seeds) >= SEEDS_NEEDED for part in parts)
        for_paper = claims[row.claim].scope == "paper" and row.scope != "paper"
        if lacking and possible and not for_paper and lacking <= seeds.keys():
            found.append(Wanted(row.claim, row.study, lacking))
    return found


def _seeds(part: Part, seeds: Mapping[str, int]) -> int:
    return len({seeds[run] for run in (*part.runs, *part.lacking) if run in seeds})


def in_order(
    claims: Iterable[Wanted], configs: Sequence[RunConfig], seconds: Callable[[RunConfig], float], budget: float
) -> list[RunConfig]:
    """The configs, most telling first: again and again the claim that is cheapest to finish, counting every claim that its runs finish
    with it; first those that fit into the budget of seconds, then those that do not, then what no claim asks for, in its own order."""
    known = {config.id: config for config in configs}
    open_claims = [claim for claim in claims if claim.runs]
    chosen: dict[str, RunConfig] = {}
    spent = 0.0

    def cost(claim: Wanted) -> float:
        return sum(seconds(known[run]) for run in claim.runs if run not in chosen)

    def worth(claim: Wanted) -> float:
        finished = sum(other.runs <= claim.runs | chosen.keys() for other in open_claims)
        return finished / max(cost(claim), 1e-9)

    while open_claims:
        fitting = [claim for claim in open_claims if spent + cost(claim) <= budget] or open_claims
        best = max(fitting, key=worth)
        spent += cost(best)
        chosen |= {config.id: config for config in configs if config.id in best.runs and config.id not in chosen}
        open_claims = [claim for claim in open_claims if not claim.runs <= chosen.keys()]
    return list(chosen.values()) + [config for config in known.values() if config.id not in chosen]


@dataclass
class Speed:
    """How long runs take on a device: arithmetic at `flops` a second (of some nets it is known better), no step under `step` seconds, no
    run under `run`; what runs of a kind took before corrects what is expected of the next."""

    flops: float
    step: float
    run: float
    nets: dict[str, float] = field(default_factory=dict)
    factors: dict[str, float] = field(default_factory=dict)

    def seconds(self, config: RunConfig) -> float:
        """Of one run by itself, with the range test that it needs where nobody has made it yet."""
        counts, flops = counts_of(config), self.nets.get(config.encoder.name, self.flops)
        steps = counts["steps"] + _test_steps(config)
        expected = self.run + steps * max(counts["flops"] / flops, self.step) + counts["readout_flops"] / flops
        return expected * self.factors.get(kind(config), self.factors.get("all", 1.0))

    def learn(self, config: RunConfig, took: float) -> None:
        """Take in what a run took by itself."""
        factor = took / replace(self, factors={}).seconds(config)
        self.factors[kind(config)] = factor
        self.factors["all"] = factor


def kind(config: RunConfig) -> str:
    return f"{config.method.name} {config.encoder.name} {config.encoder.stem} {config.training.batch_size}"


def _test_steps(config: RunConfig) -> int:
    rate = config.training.rate
    if not isinstance(rate, RangeTest) or (records.runs_dir() / config.range_test_id).is_dir():
        return 0
    return rate.seeds * (rate.coarse_steps + rate.fine_steps)


def counts_of(config: RunConfig) -> Mapping[str, float]:
    """Steps, operations a step and operations of the readouts; counted once, as counting needs the images' number and size."""
    if config.id not in _counted:
        _counted[config.id] = _counts(config)
    return _counted[config.id]


def _counts(config: RunConfig) -> Mapping[str, float]:
    images = material(config.data)
    count = len(images.train_indices)
    size = images.train.images.shape[-1]
    views = make_views(config.views.recipe, size, **config.views.options)
    one = _macs(config.encoder.model_dump_json(), size) * 2
    area = sum((side / size) ** 2 for side in views.sizes) * mean_area(config.training.sizes, config.training.epochs, views)
    batch = config.training.batch_size * config.training.accumulate
    asked = config.evaluation
    probes = config.training.epochs // asked.probe_every if asked.probe_every else 0
    read = (probes + 1 + asked.untrained) * (len(images.labelled) + len(images.test_indices))
    if asked.labels:
        labelled = [
            max(asked.labels.steps * asked.labels.batch_size, asked.labels.epochs * share * count) for share in asked.labels.fractions
        ]
        read += 2 * asked.labels.draws * sum(labelled) * 3
    if asked.finetune_epochs:
        over = epochs_of(len(images.labelled), BATCH_SIZE, asked.finetune_epochs, asked.finetune_steps) * len(images.labelled)
        read += over * 3 * (1 + config.training.epochs // (asked.finetune_every or config.training.epochs))
    return {
        "steps": config.training.epochs * ((config.training.epoch_images or count) // batch),
        "flops": one * 3 * area * batch,
        "readout_flops": one * read,
    }


@functools.cache
def _macs(encoder: str, size: int) -> int:
    chosen = Encoder.model_validate_json(encoder)
    with torch.device("meta"):  # shapes are all that counting needs
        return macs(build_encoder(chosen.name, size, stem=chosen.stem, **chosen.options))


def fits(order: Sequence[RunConfig], seconds: Callable[[RunConfig], float], workers: int, left: float) -> list[RunConfig]:
    """The runs, in their order, that can be finished in the time left when so many go on at once; one that cannot is passed over."""
    free, chosen = [0.0] * workers, []
    for config in order:
        at = min(range(workers), key=free.__getitem__)
        if free[at] + (took := seconds(config)) <= left:
            free[at] += took
            chosen.append(config)
    return chosen
