"""How often the intervals hold the truth, and how often campaigns that add seeds decide wrongly: drawn scores whose truth is known.

Each test image is right or wrong under two nets in each seed: where a normal number lies below the net's threshold. Of that number a
part may be the image's own, the same in every seed, the rest is drawn anew; the threshold moves from seed to seed.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd

from helpers.judging.claims import Claim, Part, judge_parts
from helpers.judging.looks import MOST, alpha, futile
from helpers.judging.statistics import LEVEL, crossed, made, of_images, paired_difference

SEEDS = (3, 4, 5, 8, 12, 20)
IMAGES = 2000
RIGHT = (0.70, 0.67)  # the two nets' accuracies over seeds and images
BESIDE = {"none": 0.0, "small": 0.3, "equal": 1.0, "large": 3.0}  # the seeds' deviation over that of the images
SHARED = {"alike": 0.6, "anew": 0.0}  # of an image's number, from seed to seed
BEGINS = 3  # seeds of an adaptive campaign
MIXED = 0.1  # scale of the t mixture's prior


@dataclass(frozen=True)
class World:
    """Two nets, their seeds' deviation and the images' share; `difference` is the truth in points."""

    beside: float
    shared: float
    right: tuple[float, float] = RIGHT

    @property
    def difference(self) -> float:
        return 100 * (self.right[0] - self.right[1])

    def draw(self, seeds: int, rng: np.random.Generator) -> np.ndarray:
        """Right minus right [seeds, images]."""
        scores = np.zeros((seeds, IMAGES), dtype=np.float32)
        for sign, right in zip((1, -1), self.right, strict=True):
            quantile, of_one = NormalDist().inv_cdf(right), (right * (1 - right) / IMAGES) ** 0.5
            spread = self.beside * of_one / NormalDist().pdf(quantile)
            # The threshold is moved out so that over all seeds the share that is right is the asked one.
            threshold = quantile * (1 + spread**2) ** 0.5 + spread * rng.standard_normal((seeds, 1), dtype=np.float32)
            own = rng.standard_normal((seeds, IMAGES), dtype=np.float32) * (1 - self.shared) ** 0.5
            scores += sign * (own + self.shared**0.5 * rng.standard_normal(IMAGES, dtype=np.float32) < threshold)
        return scores


def intervals(trials: int = 4000, worlds=None, seeds=SEEDS) -> pd.DataFrame:
    """A row a number of seeds and a world: how many of the intervals held the truth, and how wide they were, beside those of before."""
    rows = []
    for name, images in worlds or [(beside, shared) for beside in BESIDE for shared in SHARED]:
        world = World(BESIDE[name], SHARED[images])
        for n in seeds:
            rng = np.random.default_rng([n, list(BESIDE).index(name), list(SHARED).index(images)])
            found = np.array([_one(world, n, rng) for _ in range(trials)])
            inside, wide, most, before, before_wide = found.mean(axis=0)
            rows.append(
                {"seeds": n, "seeds beside images": name, "images from seed to seed": images, "covers (%)": 100 * inside}
                | {"width": wide, "of 99 %": 100 * most, "before (%)": 100 * before, "width before": before_wide}
                | {"± (%)": 100 * (LEVEL * (1 - LEVEL) / trials) ** 0.5}
            )
    return pd.DataFrame(rows)


def _one(world: World, seeds: int, rng: np.random.Generator) -> tuple[float, ...]:
    scores = 100 * world.draw(seeds, rng)
    points, covariance = scores.mean(axis=1), of_images(scores)
    now = crossed(points, covariance)
    wider = now.at(0.99)
    before = bootstrap_reach(points, covariance)
    off = abs(now.value - world.difference)
    reach, most = now.high - now.value, wider.high - wider.value
    return off <= reach, 2 * reach, off <= most, off <= before, 2 * before


def bootstrap_reach(points: np.ndarray, covariance: np.ndarray) -> float:
    """Half the interval of the widened hierarchical bootstrap that stood here before, from the variance of its draws: seeds drawn with
    replacement, their part widened to that of t, each with its images drawn again."""
    n = len(points)
    alike, apart = np.trace(covariance), covariance.sum() - np.trace(covariance)
    of_draw = ((2 - 1 / n) * alike + (1 - 1 / n) * apart) / n**2
    t = made(0.0, float(np.var(points, ddof=1)), 0.0, n).high
    return float((t**2 + NormalDist().inv_cdf((1 + LEVEL) / 2) ** 2 * of_draw) ** 0.5)


# -- campaigns that look again --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Planted:
    """A campaign's claim and how far the truth lies from its margin, in standard deviations of one seed's difference."""

    name: str
    kind: str
    away: float
    beside: float = 1.0
    shared: float = SHARED["alike"]


PLANTED = (
    *(Planted("on the margin", "difference", 0.0, beside, shared) for beside in BESIDE.values() for shared in SHARED.values()),
    Planted("on the margin", "equivalence", 0.0),
    Planted("on the margin", "equivalence", 0.0, 3.0, 0.0),
    *(Planted("beyond it", "difference", away, 3.0) for away in (1.0, 2.0, 3.0)),
    *(Planted("within it", "equivalence", away, 3.0) for away in (1.0, 2.0, 3.0)),
)


def campaigns(trials: int = 1000, planted=PLANTED) -> pd.DataFrame:
    """A row a planted truth: what becomes of so many campaigns, from scores to the verdict, with a look after each further seed."""
    rows = []
    for place, each in enumerate(planted):
        world = World(each.beside, each.shared)
        rng = np.random.default_rng([place, 7])
        deviation = np.std([100 * world.draw(1, rng).mean() for _ in range(500)])
        ends = [one_campaign(world, each.kind, margin_of(world, each, float(deviation)), rng) for _ in range(trials)]
        verdicts, seeds, hopeless = (np.array(values) for values in zip(*ends, strict=True))
        right = "supported" if each.away else ""
        wrong = ~np.isin(verdicts, ("undecided", right))
        rows.append(
            {"truth": each.name, "kind": each.kind, "deviations away": each.away}
            | {"seeds beside images": {v: k for k, v in BESIDE.items()}[each.beside]}
            | {"images from seed to seed": {v: k for k, v in SHARED.items()}[each.shared]}
            | {"wrong (%)": 100 * wrong.mean(), "found (%)": 100 * (verdicts == right).mean() if each.away else None}
            | {"of them at first (%)": 100 * ((verdicts == right) & (seeds == BEGINS)).mean() if each.away else None}
            | {"mean seeds": seeds.mean(), "when hopeless ones end": np.minimum(seeds, hopeless).mean()}
            | {"found though hopeless (%)": 100 * ((verdicts == right) & (hopeless < seeds)).mean() if each.away else None}
            | {"± (%)": 100 * (0.05 * 0.95 / trials) ** 0.5}
        )
    return pd.DataFrame(rows)


def margin_of(world: World, planted: Planted, deviation: float) -> float:
    """Of a difference below the truth, of an equivalence beyond it."""
    far = planted.away * deviation
    return world.difference + far if planted.kind == "equivalence" else world.difference - far


def one_campaign(world: World, kind: str, margin: float, rng: np.random.Generator) -> tuple[str, int, int]:
    """(verdict, seeds, after how many of them it was hopeless) of a campaign that adds seeds until its claim is decided."""
    claim = Claim("X", "planted", kind, margin, "", "")
    scores, hopeless = world.draw(MOST, rng), MOST
    for seeds in range(BEGINS, MOST + 1):
        found = paired_difference(scores[:seeds], 0.0)
        verdict, _ = judge_parts(claim, [Part("x", found.at(1 - alpha(BEGINS, seeds)))])
        if verdict != "undecided":
            return verdict, seeds, hopeless
        if seeds < hopeless and futile(kind, margin, found, BEGINS):
            hopeless = seeds
    return "undecided", MOST, hopeless


# -- which bounds -----------------------------------------------------------------------------------------------------


def bounds(paths: int = 20_000) -> pd.DataFrame:
    """The two ways to look again beside each other, on t statistics alone: a row a true distance in deviations of a seed."""
    from scipy import stats

    counts = np.arange(BEGINS, MOST + 1)
    ours = np.array([stats.t.isf(alpha(BEGINS, n) / 2, n - 1) for n in counts])
    rows = []
    for away in (0.0, 0.6, 1.0, 1.5, 2.0, 3.0, 5.0):
        values = away + np.random.default_rng(1).standard_normal((paths, MOST))
        total, squares = values.cumsum(axis=1)[:, BEGINS - 1 :], (values**2).cumsum(axis=1)[:, BEGINS - 1 :]
        t = np.abs(total) / np.sqrt(counts * (squares - total**2 / counts) / (counts - 1))
        row = {"deviations away": away}
        for name, crossed_ in (("spent by seeds", t >= ours), ("t mixture", mixture(t, counts) >= 1 / (1 - LEVEL))):
            ever, place = crossed_.any(axis=1), crossed_.argmax(axis=1)
            row |= {f"{name}: at first (%)": 100 * crossed_[:, 0].mean(), f"{name}: ever (%)": 100 * ever.mean()}
            row |= {f"{name}: mean seeds": np.where(ever, counts[place], MOST).mean()}
        rows.append(row)
    return pd.DataFrame(rows)


def mixture(t: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The likelihood ratio of t against a normal prior on the distance in deviations, of precision MIXED: from a true margin it
    exceeds 20 with a chance of 5 % at most over any number of looks."""
    shrunk = MIXED / (counts + MIXED)
    square = t**2 / (counts - 1)
    return shrunk**0.5 * ((1 + square) / (1 + shrunk * square)) ** (counts / 2)
