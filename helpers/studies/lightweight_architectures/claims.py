"""The lightweight study's claims: which runs each compares, and the claims on accuracy at the last checkpoint.

Claims on the way there are in lightweight_curves, those on single classes in lightweight_classes. What becomes of runs that
collapsed is said in arms: here they count as what they reached, and are named.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from helpers.judging.arms import Arm, contrast, hits, paired, same_images
from helpers.judging.claims import SEEDS_NEEDED, Part, Undecided, judge_study, read_claims
from helpers.judging.evidence import evidence, position
from helpers.judging.statistics import Estimate, of_draws, resample_images
from helpers.studies.lightweight_architectures.cells import CONTRASTIVE, HEAVY, LIGHT, NETS, OTHERS, TECHNIQUES, energy_ratio, entrant, grid
from helpers.studies.lightweight_architectures.classes import w7, w12
from helpers.studies.lightweight_architectures.curves import w5, w6, w9, w10

FRUGAL = 0.7  # of the ResNet-18's energy: what W11 calls clearly less


def all_of(parts: list[Part], margin: float) -> Part:
    """Several differences that must all hold, as the one that decides: what contradicts, else what is missing, else the weakest."""
    decisive = min(parts, key=lambda part: _standing(part, margin))
    runs, lacking = (tuple(dict.fromkeys(run for part in parts for run in getattr(part, kind))) for kind in ("runs", "lacking"))
    rivals = sum(part.estimate.rivals for part in parts if part.estimate)
    return replace(decisive, estimate=decisive.estimate and replace(decisive.estimate, rivals=rivals), runs=runs, lacking=lacking)


def at_least(count: int, parts: list[Part], margin: float) -> list[Part]:
    """The parts that are left when all but `count` may fail: those that speak most against are set aside, and named.

    The judge's rule on the rest is then the rule for a count: supported when `count` of them are, contradicted when more are
    contradicted than may fail. Of the rest each holds at the level of so many choices (see `Estimate.spared`).
    """
    ordered = sorted(parts, key=lambda part: _standing(part, margin))
    spare = len(parts) - count
    if not spare:
        return ordered
    aside = ", ".join(part.name for part in ordered[:spare])
    runs = tuple(dict.fromkeys(run for part in ordered[: spare + 1] for run in part.runs))
    kept = [replace(part, estimate=part.estimate and replace(part.estimate, spared=spare)) for part in ordered[spare:]]
    # What is set aside counts as against already, so the runs that it lacks could change nothing.
    return [replace(kept[0], name=f"{kept[0].name} [set aside: {aside}]", runs=runs), *kept[1:]]


def _standing(part: Part, margin: float) -> tuple[int, float, float]:
    """How well a part holds, to be ordered by: contradicted, missing, of too few seeds or of what has not learned (these by their
    values), the rest by what speaks for it."""
    found = part.estimate
    if found is None:
        return 1, 0.0, 0.0
    if found.seeds < SEEDS_NEEDED or part.unfit:
        return 1, 1.0, found.value
    pro, contra = evidence("order", margin, found)
    return (0, contra * found.rivals, 0.0) if position("order", margin, found) == "contradicted" else (2, -pro, 0.0)


def against(name: str, better: list[Arm], worse: list[Arm], readout: str, images: slice = slice(None)) -> Part:
    """Mean accuracy of some arms minus that of others."""
    weighted = [(arm, 1 / len(better)) for arm in better] + [(arm, -1 / len(worse)) for arm in worse]
    return contrast(name, weighted, readout, images=images)


def w1(cells, readout):
    margin = read_claims()["W1"].margin
    rivals = [name for name in TECHNIQUES if name != "BYOL"]

    def on(net: str) -> Part:
        parts = [
            against(f"{net}: BYOL − {rival}", [entrant(cells, "BYOL", net)], [entrant(cells, rival, net)], readout) for rival in rivals
        ]
        return all_of(parts, margin)

    return at_least(4, [on(net) for net in NETS], margin)


def w2(cells, readout):
    margin = read_claims()["W2"].margin
    rivals = [name for name in TECHNIQUES if name != "RotNet"]

    def on(net: str) -> Part:
        parts = [
            against(f"{net}: {rival} − RotNet", [entrant(cells, rival, net)], [entrant(cells, "RotNet", net)], readout) for rival in rivals
        ]
        return all_of(at_least(len(rivals) - 1, parts, margin), margin)

    return [on(net) for net in NETS]


def w3(cells, readout):
    return [against("contrastive − others", grid(cells, CONTRASTIVE), grid(cells, OTHERS), readout)]


def w4(cells, readout):
    margin = read_claims()["W4"].margin

    def between(better: str, worse: str) -> Part:
        return against(f"{better} − {worse}", grid(cells, nets=(better,)), grid(cells, nets=(worse,)), readout)

    first = [between(HEAVY, net) for net in LIGHT]
    above = [between(net, "SqueezeNet") for net in NETS if net != "SqueezeNet"]
    return [all_of(first, margin), all_of(at_least(len(above) - 1, above, margin), margin)]


def explained(accuracies: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums of squares (technique, net, both together) of tables [..., techniques, nets]; of a table of one value a cell the third
    is all that the first two leave."""
    mean = accuracies.mean(axis=(-2, -1), keepdims=True)
    by_technique = accuracies.mean(axis=-1, keepdims=True) - mean
    by_net = accuracies.mean(axis=-2, keepdims=True) - mean
    rest = accuracies - mean - by_technique - by_net
    count = accuracies.shape[-2:]
    return count[1] * (by_technique**2).sum((-2, -1)), count[0] * (by_net**2).sum((-2, -1)), (rest**2).sum((-2, -1))


def w8(cells, readout):
    """One analysis of variance for each seed, over seeds and images: the statistic is no mean over images, so each draw of
    images makes a table of its own."""

    def estimate(rows) -> Estimate:
        same_images("technique − net", rows)
        right = np.array([hits(record, readout) for row in rows for record in row])
        drawn = resample_images(right, 2000, np.random.default_rng(0))
        tables = np.vstack([right.mean(axis=1), drawn])  # the first is ours
        technique, net, rest = explained(tables.reshape(len(tables), len(rows), len(TECHNIQUES), len(NETS)))
        total = technique + net + rest
        if not total[0].all():
            raise Undecided("every run has the same accuracy, so there is no variance to explain")
        shares = (technique - net) / total
        return of_draws(shares[0], shares[1:])

    return [paired("technique − net", grid(cells), estimate, readout)]


def w11(cells, readout):
    """The best light net is chosen on every other test image and judged on the rest: a choice must not see what judges it."""
    ratios = {net: energy_ratio(cells, net) for net in LIGHT}
    frugal = [net for net, (ratio, _) in ratios.items() if ratio <= FRUGAL]
    if not frugal:
        told = ", ".join(f"{net} {ratio:.2f}" for net, (ratio, _) in ratios.items())
        raise Undecided(f"no light net took at most {FRUGAL:g} of {HEAVY}'s energy: {told}")
    if any(not arm.records for arm in grid(cells, nets=frugal)):
        return [against(f"best light net − {HEAVY}", grid(cells, nets=frugal), grid(cells, nets=(HEAVY,)), readout)]  # says what is missing
    means = {net: _mean(grid(cells, nets=(net,)), readout, slice(0, None, 2)) for net in frugal}
    best = max(means, key=means.get)
    ratio, how = ratios[best]
    name = f"{best} ({ratio:.2f} of the energy, {how}) − {HEAVY}"
    part = against(name, grid(cells, nets=(best,)), grid(cells, nets=(HEAVY,)), readout, slice(1, None, 2))
    asked = tuple(run for arm in grid(cells, nets=frugal) for run in arm.lacking)  # the choice needs them all
    return [replace(part, lacking=part.lacking + asked)]


def _mean(arms: list[Arm], readout: str, images: slice) -> float:
    return float(np.mean([np.mean([hits(record, readout)[images].mean() for record in arm.records.values()]) for arm in arms]))


CLAIMS = {"W1": w1, "W2": w2, "W3": w3, "W4": w4, "W5": w5, "W6": w6, "W7": w7, "W8": w8, "W9": w9, "W10": w10, "W11": w11, "W12": w12}


def verdicts(study, cells: pd.DataFrame) -> pd.DataFrame:
    return judge_study(study.name, CLAIMS, cells, study.scope, study.first, readout=study.settings.readout)
