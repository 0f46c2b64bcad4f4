"""The linear probe at every block of an encoder: some pretexts teach the middle of a net more than its end."""

from dataclasses import dataclass

from helpers.evaluation.features import extract
from helpers.evaluation.linear import probe
from helpers.models import at_block, block_names


@dataclass(frozen=True)
class Blocks:
    """Test accuracy by block, and the block that was best on held-out training images (never on test)."""

    best: str
    top1: dict[str, float]
    predictions: object  # of the best block
    folds: int | None  # in which each weight decay was chosen, as in Probe


def probe_blocks(encoder, views, train_split, test_split, classes: int, *, device, train_indices=None, test_indices=None, precision="auto"):
    """Probe every block alike; which one counts is chosen on what each probe holds out of train."""
    found = {}
    for name in block_names(encoder):
        part, read = at_block(encoder, name), {"device": device, "precision": precision}
        train = extract(part, views, train_split, indices=train_indices, **read)
        test = extract(part, views, test_split, indices=test_indices, **read)
        found[name] = probe(train, test, classes)
    best = max(found, key=lambda name: max(found[name].validation.values()))
    return Blocks(best, {name: result.top1 for name, result in found.items()}, found[best].predictions, found[best].folds)
