"""Intervals, at 95 % unless said: over seeds (t), over test images (binomial, of one run), over both together (crossed random effects)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

LEVEL = 0.95
TAILS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


@dataclass(frozen=True)
class Summary:
    """Mean, sample deviation and t interval of n values; deviation and interval are None where n leaves them undefined."""

    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Estimate:
    """A difference with its interval (None where there is none), the number of seeds behind it, and what the interval is made of: enough
    to state it at another level (`at`), to test it against a margin (`above`, `below`) and to say what more seeds would bring.

    error squared is by_seed / seeds + by_images. `rivals`: out of how many it was picked as the one that speaks most against a claim;
    `spared`: how many that spoke more against it were set aside."""

    value: float
    low: float | None
    high: float | None
    seeds: int
    error: float | None = None
    freedom: float = math.inf
    by_seed: float = 0.0  # variance from seed to seed, which further seeds average out
    by_images: float = 0.0  # variance that all seeds share, as they are tested on the same images
    level: float = LEVEL
    rivals: int = 1
    spared: int = 0

    def at(self, level: float) -> Estimate:
        """The same with its interval at another level."""
        if self.error is None:
            return replace(self, level=level)
        from scipy.special import stdtrit  # the t of scipy.stats without its checks of arguments, a hundred times as fast

        free = freedom(self.by_seed / self.seeds, self.by_images, self.seeds, level)
        reach = float(stdtrit(free, (1 + level) / 2)) * self.error
        return replace(self, low=self.value - reach, high=self.value + reach, freedom=free, level=level)

    def above(self, margin: float) -> float:
        """The one-sided p-value of lying above the margin: the tail of the level whose interval just ends there."""
        if not self.error:  # without an interval it says nothing, with one of no width everything
            return 0.0 if self.error == 0 and self.value > margin else 1.0
        from scipy.special import stdtr

        def beyond(tail: float) -> float:
            free = freedom(self.by_seed / self.seeds, self.by_images, self.seeds, 1 - 2 * tail)
            return float(stdtr(free, (margin - self.value) / self.error))

        low, high = beyond((1 - LEVEL) / 2), (1 - LEVEL) / 2
        if low >= high:  # up to the usual level the freedom is the same
            return low
        low = max(low, 1e-300)
        while high > 1.0001 * low:  # freedom falls with the tail, so that there is one tail that is its own
            middle = (low * high) ** 0.5
            low, high = (middle, high) if beyond(middle) > middle else (low, middle)
        return low

    def below(self, margin: float) -> float:
        """The same of lying below it."""
        return replace(self, value=-self.value).above(-margin)


def summary(values) -> Summary:
    """Mean, deviation and t interval over seeds."""
    values = np.asarray(values, dtype=float)
    n = len(values)
    if n == 0:
        return Summary(None, None, None, None, 0)
    mean = float(values.mean())
    if n == 1:
        return Summary(mean, None, None, None, 1)
    from scipy import stats  # half a second, and runs are made without it

    sd = float(values.std(ddof=1))
    reach = float(stats.t.ppf(TAILS[1], n - 1)) * sd / n**0.5
    return Summary(mean, sd, mean - reach, mean + reach, n)


def bootstrap_images(correct) -> tuple[float, float]:
    """Percentile bootstrap over test images of one run's accuracy, in percent.

    Resampling n images of which a share p is right draws Binomial(n, p): its quantiles are the interval, without a draw.
    """
    from scipy import stats

    correct = np.asarray(correct, dtype=bool)
    low, high = stats.binom.ppf(TAILS, len(correct), correct.mean()) / len(correct)
    return 100 * float(low), 100 * float(high)


def paired_values(a, b=0.0) -> Estimate:
    """a - b over paired seeds where each seed gives one number: t interval, so it knows nothing of the test images."""
    found = summary(np.asarray(a, dtype=float) - np.asarray(b, dtype=float))
    if found.n < 2:
        return Estimate(found.mean, None, None, found.n)
    return made(found.mean, found.sd**2, 0.0, found.n)


def paired_difference(a, b) -> Estimate:
    """a - b in points of accuracy, over seeds and test images.

    a: [seeds, images] of right and wrong (or any score per image), its rows paired with those of b by seed;
    b: the same shape, or one published constant in points.
    """
    a = np.atleast_2d(np.asarray(a, dtype=float))
    constant = np.ndim(b) == 0
    scores = 100 * (a if constant else a - np.atleast_2d(np.asarray(b, dtype=float)))
    return crossed(scores.mean(axis=1) - (float(b) if constant else 0.0), of_images(scores))


def difference_of_groups(first, second) -> Estimate:
    """Mean over the images of one group minus mean over those of another, [seeds, images] each, in the scores' own unit."""
    first, second = np.atleast_2d(np.asarray(first, dtype=float)), np.atleast_2d(np.asarray(second, dtype=float))
    return crossed(first.mean(axis=1) - second.mean(axis=1), of_images(first) + of_images(second))


def of_images(scores: np.ndarray) -> np.ndarray:
    """Covariances [seeds, seeds] that the means over images [seeds, images] have because these images were drawn and not others."""
    return np.atleast_2d(np.cov(scores)) / scores.shape[1]


def of_draws(points: np.ndarray, resampled: np.ndarray) -> Estimate:
    """The same estimate of what is no mean over images: points [seeds], and the same under resampled images [draws, seeds]."""
    return crossed(np.asarray(points), np.atleast_2d(np.cov(resampled.T)))


def crossed(points: np.ndarray, covariance: np.ndarray) -> Estimate:
    """The mean of the seeds' points where seeds and test images are both drawn, crossed: every seed sees the same images.

    points: [seeds], the estimate of each seed; covariance: [seeds, seeds], that of the points under other images. Points differ by
    the seed and by what the images do to one seed alone: their variance over n is what seeds leave open. What the images do to all
    seeds alike is the mean covariance between two seeds; it stays, however many seeds there are. For means over images these are
    MSA / nm and (MSB - MSE) / nm of the analysis of variance with two crossed random factors. One seed leaves the images' part alone.
    """
    seeds = len(points)
    if seeds == 1:
        return made(float(points[0]), 0.0, float(covariance[0, 0]), 1)
    shared = (covariance.sum() - np.trace(covariance)) / (seeds * (seeds - 1))
    return made(float(np.mean(points)), float(np.var(points, ddof=1)), max(float(shared), 0.0), seeds)


def made(value: float, by_seed: float, by_images: float, seeds: int) -> Estimate:
    """An estimate from its two parts; see `crossed` for these and `freedom` for how they make a t interval."""
    error = (by_seed / seeds + by_images) ** 0.5
    return Estimate(value, None, None, seeds, error, by_seed=by_seed, by_images=by_images).at(LEVEL)


def freedom(of_seeds: float, of_images: float, seeds: int, level: float = LEVEL) -> float:
    """Degrees of freedom of a sum of two variances: the seeds' with n - 1, the images' (of thousands) taken as known.

    Satterthwaite's (1 + r)^2 (n - 1), r the images' part over the seeds', takes an r that is large by luck at its word: three seeds
    then cover 92.2 % where their part is nine tenths. With 1 + r / 4 + r^2 / 2 instead it is 94.8 to 95.9 % for any number of seeds
    and any r. Further out luck matters more, and three seeds would miss 2 % at 99 %, 1 % at 99.9 %: what r adds is lowered with the
    level, so that down to a tail of a thousandth no more is missed than said, and for mixed parts less. Without either part both are
    exact. (Integrated numerically over the distribution of the seeds' part.)
    """
    if seeds == 1 or of_images == 0:
        return seeds - 1 if seeds > 1 else math.inf
    ratio = of_images / of_seeds if of_seeds else math.inf
    trust = min(1.0, (1 - level) / (1 - LEVEL)) ** (2.5 / (seeds - 1))
    return (seeds - 1) * (1 + trust * (ratio / 4 + ratio**2 / 2))


def resample_images(scores: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Means over resampled images, [draws, seeds]. Every seed sees the same resampled images, as all are tested on one test set.

    Images with equal scores under every seed are interchangeable, so the draw is a multinomial over the few patterns of right
    and wrong instead of over the images: exactly the same distribution at a fraction of the cost.
    """
    patterns, counts = np.unique(scores, axis=1, return_counts=True)
    weights = rng.multinomial(counts.sum(), counts / counts.sum(), size=draws)
    return weights @ patterns.T / counts.sum()


def spearman(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The rank correlation of each row with the values; 0 where either has one rank alone."""
    from scipy.stats import rankdata

    ranks, others = rankdata(rows, axis=1), rankdata(values)
    ranks, others = ranks - ranks.mean(axis=1, keepdims=True), others - others.mean()
    spread = np.sqrt((ranks**2).sum(axis=1) * (others**2).sum())
    return np.divide(ranks @ others, spread, out=np.zeros(len(rows)), where=spread > 0)
