"""Does the order hold as training goes on? A difference at a quarter, a half and all of the length, from the readings on the way."""

from collections.abc import Sequence

import numpy as np

SHARES = (0.25, 0.5, 1.0)  # of a run's length
NEAR = 0.125  # of it: a reading further off is none of that share


def readings(record, readout: str, images: slice = slice(None)) -> dict[float, np.ndarray]:
    """Right or wrong for each test image, by the share of the run's length at which it was read; nothing where nothing was."""
    name = f"{readout}.on_the_way"
    if name not in record.arrays or "labels" not in record.arrays:
        return {}
    epochs, labels = np.asarray(record.arrays[f"{readout}.epochs"], dtype=float), np.asarray(record.arrays["labels"])
    total, found = epochs.max(), {}
    for share in SHARES:
        at = int(np.abs(epochs / total - share).argmin())
        if abs(epochs[at] / total - share) <= NEAR:
            found[share] = (np.asarray(record.arrays[name][at]) == labels)[images]
    return found


def trend(
    rows: Sequence[Sequence], weights: Sequence[float], readout: str, constant: float = 0.0, images: slice = slice(None)
) -> tuple[tuple[float, float], ...]:
    """(share of the length, the weighted difference there), mean over the seeds; nothing unless every run was read at every share."""
    read = [[readings(record, readout, images) for record in row] for row in rows]
    if any(len(each) < len(SHARES) for row in read for each in row):
        return ()
    values = []
    for share in SHARES:
        scores = [sum(weight * each[share] for weight, each in zip(weights, row, strict=True)) for row in read]
        values.append((share, 100 * float(np.mean(scores)) - constant))
    return tuple(values)


def words(values: Sequence[tuple[float, float]], margin: float, kind: str) -> str:
    """The differences in order, and whether what they say of the margin changes on the way; empty where there are none."""
    if not values:
        return ""
    sides = [abs(value) < margin if kind == "equivalence" else value > margin for _, value in values]
    turned = [share for (share, _), side in zip(values[:-1], sides[:-1], strict=True) if side != sides[-1]]
    told = " → ".join(f"{value:.2f}" for _, value in values)
    return told + (f", reverses after {max(turned):g} of the length" if turned else "")
