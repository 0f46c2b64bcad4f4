"""The grid of the lightweight study and how its runs are found. `cells` has one row a run: part ("main": techniques x nets; "plain": the
net without skip connections; "reference"), backbone (the net), pretext (the technique), seed, run, record or None, encoder, stem."""

from contextlib import suppress
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd

from helpers import studies
from helpers.core.errors import pick
from helpers.judging.arms import Arm, arm
from helpers.judging.claims import Undecided
from helpers.studies.lightweight_architectures.costs import training_energy
from helpers.studies.lightweight_architectures.settings import NETS, TECHNIQUES

CONTRASTIVE = ("MoCo v2", "SimCLR", "BYOL")
OTHERS = ("RotNet", "Split-Brain")
HEAVY = "ResNet-18"
LIGHT = tuple(net for net in NETS if net != HEAVY)
READOUTS = {"linear": "frozen, linear probe", "finetune": "fine-tuned"}


published = partial(studies.published, "lightweight_architectures")


def published_grid() -> pd.DataFrame:
    """The paper's table 1, in percent: a row a technique, a column a net."""
    return pd.DataFrame(published()["accuracy"]).T.loc[list(TECHNIQUES), list(NETS)]


def entrant(cells: pd.DataFrame, technique: str, net: str) -> Arm:
    """A technique on a net: in the grid, or for the plain net beside it."""
    return arm(cells, f"{technique} on {net}", part="main" if net in NETS else "plain", pretext=technique, backbone=net)


def grid(cells: pd.DataFrame, techniques=TECHNIQUES, nets=NETS) -> list[Arm]:
    """The arms of techniques x nets, the nets of a technique together."""
    return [entrant(cells, technique, net) for technique in techniques for net in nets]


def plain_nets(cells: pd.DataFrame) -> list[str]:
    """The nets without skip connections that this variant plans to run."""
    return list(dict.fromkeys(cells.loc[cells["part"] == "plain", "backbone"]))


def untrained(cells: pd.DataFrame, technique: str, net: str) -> Arm:
    """The runs that also read the encoder before training. Only Split-Brain's two half-width nets begin from other weights."""
    sharing = (technique,) if technique == "Split-Brain" else [name for name in TECHNIQUES if name != "Split-Brain"]
    found = {}
    for each in grid(cells, sharing, (net,)):
        found |= {seed: record for seed, record in each.records.items() if "linear_untrained" in record.evaluations}
    return Arm(f"{net}, untrained", found, before_training=True)


def with_all(arm: Arm, *readouts: str) -> Arm:
    """The runs of an arm that were read out in every one of these ways, so that means of two readouts are of the same runs."""
    return replace(arm, records={seed: record for seed, record in arm.records.items() if set(readouts) <= set(record.evaluations)})


def curve(record, readout: str) -> pd.Series:
    """Accuracy by epoch, at the checkpoints that were read out."""
    if readout not in record.metrics or record.metrics[readout].notna().sum() == 0:
        raise Undecided(f"run {record.id} has no {readout} accuracy by checkpoint")
    return record.metrics.set_index("epoch")[readout].dropna()


def best_checkpoint(arm: Arm, readout: str) -> float | None:
    """The maximum over a run's checkpoints, as the paper reports it, on average over the runs: it flatters, being chosen on test."""
    found = []
    for record in arm.sound:
        with suppress(Undecided):
            found.append(curve(record, readout).max())
    return float(np.mean(found)) if found else None


def on_the_way(record, readout: str) -> tuple[np.ndarray, np.ndarray]:
    """(epochs [m], right or wrong [m, images]) at the checkpoints whose predictions were kept."""
    if f"{readout}.on_the_way" not in record.arrays or "labels" not in record.arrays:
        raise Undecided(f"run {record.id} holds no {readout} predictions by checkpoint")
    right = np.asarray(record.arrays[f"{readout}.on_the_way"]) == np.asarray(record.arrays["labels"])
    return np.asarray(record.arrays[f"{readout}.epochs"]).astype(int), right


def energy_ratio(cells: pd.DataFrame, net: str) -> tuple[float, str]:
    """(energy of a net's runs as a share of the ResNet-18's, measured or estimated), over the techniques and seeds that both ran."""
    pairs, how = [], set()
    for technique in TECHNIQUES:
        light, heavy = entrant(cells, technique, net).records, entrant(cells, technique, HEAVY).records
        for seed in set(light) & set(heavy):
            used = [training_energy(each[seed].manifest) for each in (light, heavy)]
            if all(used):
                pairs.append(used)
                how |= {each[seed].manifest["energy"].get("method", "not said") for each in (light, heavy)}
    if not pairs:
        raise Undecided(f"no run of {net} and of {HEAVY} tells its energy")
    mine, other = np.sum(pairs, axis=0)
    return float(mine / other), " and ".join(sorted(how))


def class_index(record, name: str) -> int:
    """The place of a class, whatever the dataset calls it."""
    classes = record.manifest.get("classes", [])
    for alias in pick("class of the paper", name, ALIASES):
        if alias in classes:
            return classes.index(alias)
    raise Undecided(f"this dataset has no class {name}")


ALIASES = {
    "aeroplane": ("airplane", "aeroplane", "plane"),
    "ship": ("ship",),
    "car": ("car", "automobile"),
    "truck": ("truck",),
    "horse": ("horse",),
    "bird": ("bird",),
}
