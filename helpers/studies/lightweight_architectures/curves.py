"""The claims on accuracy along the pretraining: plateaus, overtaking, stability."""

from dataclasses import replace

import numpy as np

from helpers.judging.arms import Arm, paired, same_images
from helpers.judging.claims import Part, Undecided
from helpers.judging.competence import FALLEN
from helpers.judging.statistics import Estimate, of_draws, paired_difference, paired_values, resample_images
from helpers.studies.lightweight_architectures.cells import CONTRASTIVE, NETS, OTHERS, TECHNIQUES, curve, grid, on_the_way

NEAR = 0.95  # of the best checkpoint: where a plateau starts
WARM_UP = 1 / 3  # of the epochs, in which every technique still rises


def plateau(accuracies: np.ndarray) -> int:
    """The first checkpoint within 95 % of the best."""
    return int(np.argmax(accuracies >= NEAR * accuracies.max()))


def w5(cells, readout):
    """Of each run the plateau's start is found on every other test image, by the mean of its seeds, and judged on the rest: a first
    checkpoint above a line is one that was lucky on the images which drew that line. A technique that has still not settled at its
    last checkpoint on some net cannot be judged: the difference would be nothing by construction."""

    def estimate(rows) -> Estimate:
        same_images("last − plateau's start", rows)
        scores = np.array([[on_the_way(record, readout)[1] for record in row] for row in rows], dtype=np.float32)  # [seeds, nets, m, n]
        starts = [plateau(each) for each in scores[..., ::2].mean(axis=(0, 3))]
        rising = [net for net, start in zip(NETS, starts, strict=True) if start == scores.shape[2] - 1]
        if rising:
            raise Undecided(f"{technique} has no checkpoint after the plateau's start on {', '.join(rising)}")
        judged = scores[..., 1::2]
        return paired_difference(np.mean([judged[:, net, -1] - judged[:, net, start] for net, start in enumerate(starts)], axis=0), 0.0)

    parts = []
    for technique in TECHNIQUES:
        arms = _may_fall(grid(cells, (technique,)))
        parts.append(_same_schedule(arms, readout) or paired(f"{technique}: last − plateau's start", arms, estimate))
    return parts


def w6(cells, readout):
    """One number a run, so the interval is over seeds alone. A curve that still rises at its last checkpoint might need more epochs
    than the run had: how many do is said beside the difference."""

    def needed(record) -> float:
        line = curve(record, readout)
        return float(line.index[plateau(line.to_numpy())])

    def estimate(rows) -> Estimate:
        later, sooner = (
            np.array([[needed(record) for record in part] for part in half]).mean(axis=1) for half in _split(rows, contrastive)
        )
        return paired_values(later, sooner)

    def against(other: str) -> Part:
        arms = grid(cells, CONTRASTIVE) + grid(cells, (other,))
        name = f"contrastive − {other}"
        part = paired(name, arms, estimate)
        if part.estimate is None:
            return part
        curves = [curve(record, readout) for arm in arms for record in arm.records.values()]
        rising = sum(line.idxmax() == line.index[-1] for line in curves)
        return replace(part, name=f"{name} ({rising} of {len(curves)} runs were best at their last checkpoint)") if rising else part

    contrastive = len(CONTRASTIVE) * len(NETS)
    return [against(other) for other in OTHERS]


def w9(cells, readout):
    """Ranks are no means over images, so each draw of images makes ranks of its own."""
    mine = NETS.index("ShuffleNetV2")
    arms = grid(cells, CONTRASTIVE)

    def estimate(rows) -> Estimate:
        from scipy.stats import rankdata

        same_images("rank", rows)
        ends = np.array([[on_the_way(record, readout)[1][[0, -1]] for record in row] for row in rows])  # [seeds, arms, (first, last), n]
        right = ends.reshape(-1, ends.shape[-1])
        tables = np.vstack([right.mean(axis=1), resample_images(right, 2000, np.random.default_rng(0))])
        tables = tables.reshape(len(tables), len(rows), len(CONTRASTIVE), len(NETS), 2)
        ranks = rankdata(-tables, axis=3)[:, :, :, mine].mean(axis=2)  # [draws, seeds, (first, last)]
        gained = ranks[..., 0] - ranks[..., 1]
        return of_draws(gained[0], gained[1:])

    return [_same_schedule(arms, readout) or paired("ShuffleNetV2: first − last rank", arms, estimate)]


def w10(cells, readout):
    """The deviation about a straight line: a technique that is still learning is not unstable. One number a run, so the interval is over
    seeds alone."""

    def spread(record) -> float:
        line = curve(record, readout)
        settled = line[line.index > WARM_UP * record.metrics["epoch"].max()]
        if len(settled) < 3:
            raise Undecided(f"{len(settled)} checkpoints after the warm-up; a deviation needs at least 3")
        line = np.polynomial.Polynomial.fit(settled.index, settled, 1)
        return float(np.sqrt(np.square(settled - line(settled.index)).sum() / (len(settled) - 2)))

    def estimate(rows) -> Estimate:
        byol, others = (np.array([[spread(record) for record in part] for part in half]).mean(axis=1) for half in _split(rows, len(NETS)))
        return paired_values(others, byol)

    rivals = [name for name in TECHNIQUES if name != "BYOL"]
    return [paired("others − BYOL", _may_fall(grid(cells, ("BYOL",)) + grid(cells, rivals)), estimate)]


def _may_fall(arms: list[Arm]) -> list[Arm]:
    """Whether more training hurts, and how steady a technique is, are what these claims ask."""
    return [replace(arm, excused=(FALLEN,)) for arm in arms]


def _split(rows, place: int):
    return [row[:place] for row in rows], [row[place:] for row in rows]


def _same_schedule(arms: list[Arm], readout: str) -> Part | None:
    """A part that says why runs read out at different epochs, or at only one, cannot be compared; None where they can."""
    epochs = set()
    for arm in arms:
        for record in arm.records.values():
            try:
                epochs.add(tuple(on_the_way(record, readout)[0]))
            except Undecided as why:
                return Part(arm.name, None, (record.id,), str(why))
    if any(len(each) < 2 for each in epochs) or len(epochs) > 1:
        why = "only one checkpoint was read out" if len(epochs) == 1 else "the runs were read out at different epochs"
        return Part(arms[0].name, None, (), why)
    return None
