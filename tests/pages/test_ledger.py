"""What the whole ledger leaves of its verdicts, and what further seeds would cost."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers.gpu_day.runs import GUESS
from helpers.pages import ledger, prices
from helpers.runs import records


def test_holm_by_hand():
    assert ledger.holm(np.array([0.03, 0.01, 0.04])) == pytest.approx([0.06, 0.03, 0.06])
    assert ledger.holm(np.array([0.5, 0.9])) == pytest.approx([1.0, 1.0]) and len(ledger.holm(np.array([]))) == 0


def test_every_row_with_an_interval_is_of_the_family():
    low = [0.1, 0.1, -3.0, 0.1, None]
    rows = pd.DataFrame({"low": low, "p_for": [0.012, 1.0, 0.6, None, 0.001], "p_against": [1.0, 0.013, 0.4, None, 1.0]})
    assert ledger.with_holm(rows)["holm"].tolist() == ["supported", "contradicted", "undecided", "undecided", ""]
    five = pd.concat([rows, rows.iloc[3:4]], ignore_index=True)  # one more that says nothing
    assert ledger.with_holm(five)["holm"].tolist() == ["undecided", "undecided", "undecided", "undecided", "", "undecided"]


def test_a_family_of_nulls_is_right_as_a_whole():
    p = np.random.default_rng(0).random((2000, 40))
    assert np.mean([(ledger.holm(each) < ledger.FAMILY).any() for each in p]) == pytest.approx(0.05, abs=0.015)


@pytest.fixture
def runs(monkeypatch):
    kept = {}
    for seed in range(3):
        for arm, flops in (("a", 6e15), ("b", 1e9)):
            manifest = {"seed": seed, "seconds": 1800.0, "training_flops": flops, "device": {"threads": 2}}
            kept[f"r{seed}{arm}"] = SimpleNamespace(manifest=manifest, metrics=pd.DataFrame({"step": [50, 1000]}))
    monkeypatch.setattr(records, "find", kept.get)
    return kept


def test_further_seeds_cost_what_the_first_did(runs):
    card = GUESS["cuda"]
    a_seed = 2 * card.run + 6e15 / card.flops + 1000 * card.step  # the one is held up by its operations, the other by its steps
    assert 6e15 / card.flops > 1000 * card.step
    assert prices.cost(list(runs), 10) == f"7 more: 7 h of 2 cores, {7 * a_seed / 60:.0f} min of an H100"  # an hour of both cores a seed
    assert prices.cost(list(runs), 3) == "" and prices.cost(["gone"], 10) == "" and prices.cost([], 10) == ""
    del runs["r0a"].manifest["training_flops"]
    assert prices.cost(list(runs), 10) == "7 more: 7 h of 2 cores"
