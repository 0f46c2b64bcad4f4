"""What is trained first: what finishes most claims a minute, as far as the time goes."""

import pytest

from helpers.campaigns.priority import Speed, Wanted, fits, in_order, wanted
from helpers.runs.config import RunConfig
from helpers.studies.open import opened


def config(seed: int, epochs: int = 1) -> RunConfig:
    return RunConfig(data={"train_images": 128, "test_images": 32}, training={"epochs": epochs, "batch_size": 64}, seed=seed)


def claim(name: str, *configs: RunConfig) -> Wanted:
    return Wanted(name, "a study", frozenset(each.id for each in configs))


def numbers(order) -> list[int]:
    return [each.seed for each in order]


def test_the_claim_that_costs_least_comes_first_and_brings_those_it_finishes():
    runs = [config(seed) for seed in range(6)]
    dear, cheap = claim("dear", *runs[:3]), claim("cheap", runs[4], runs[5])
    assert numbers(in_order([dear, cheap], runs, lambda each: 10.0, 1000)) == [4, 5, 0, 1, 2, 3]
    # Three claims that share their runs are worth more a minute than one that costs a little less.
    shared = [claim(name, *runs[:3]) for name in "abc"]
    assert numbers(in_order([cheap, *shared], runs, lambda each: 10.0, 1000)) == [0, 1, 2, 4, 5, 3]


def test_what_fits_into_the_time_comes_before_what_tells_more():
    runs = [config(seed) for seed in range(6)]
    many = [claim(name, *runs[:4]) for name in "abcd"]
    few = claim("few", runs[4], runs[5])
    assert numbers(in_order([*many, few], runs, lambda each: 10.0, 25)) == [4, 5, 0, 1, 2, 3]
    assert numbers(in_order([*many, few], runs, lambda each: 10.0, 100))[:4] == [0, 1, 2, 3]


def test_runs_that_are_there_cost_nothing():
    runs = [config(seed) for seed in range(3)]
    nearly = Wanted("nearly", "a study", frozenset([runs[2].id]))
    assert numbers(in_order([claim("two", *runs[:2]), nearly], runs, lambda each: 10.0, 1000)) == [2, 0, 1]
    assert numbers(in_order([Wanted("done", "a study", frozenset())], runs, lambda each: 10.0, 1000)) == [0, 1, 2]


def test_no_run_is_begun_that_cannot_be_finished():
    runs = [config(seed) for seed in range(4)]
    seconds = {0: 50, 1: 80, 2: 30, 3: 15}
    assert numbers(fits(runs, lambda each: seconds[each.seed], 1, 100)) == [0, 2, 3]
    assert numbers(fits(runs, lambda each: seconds[each.seed], 2, 100)) == [0, 1, 2, 3]
    assert fits(runs, lambda each: 101, 2, 100) == []


def test_more_epochs_take_longer_and_what_was_seen_corrects_the_rest():
    speed = Speed(flops=1e9, step=0.01, run=2.0)
    short, long = speed.seconds(config(0)), speed.seconds(config(0, epochs=11))
    assert long > short > 2.0
    assert long - short == pytest.approx(10 * (speed.seconds(config(0, epochs=2)) - short), rel=1e-6)
    assert Speed(1e18, 0.01, 2.0).seconds(config(0, epochs=10)) == pytest.approx(2 + 10 * 2 * 0.01, rel=1e-3), (
        "two steps an epoch, each at the floor"
    )
    faster = Speed(flops=1e9, step=0.01, run=2.0, nets={"resnet_tiny": 1e18, "resnet18": 1.0})
    assert faster.seconds(config(0, epochs=10)) == pytest.approx(2 + 10 * 2 * 0.01, rel=1e-3), "of this net more is known"
    speed.learn(config(0), 3 * short)
    assert speed.seconds(config(1, epochs=11)) == pytest.approx(3 * long)


def test_a_claim_is_wanted_with_the_runs_that_it_lacks(monkeypatch, tmp_path):
    monkeypatch.setenv("RUNS_DIR", str(tmp_path))
    values = {"preset": "demo", "seeds": 3, "train_images": 128, "test_images": 32}
    study = opened("backbone_contest", values)
    found = {each.claim: each for each in wanted(study)}
    ids = {each.id for each in study.configs}
    assert found["C1"].runs <= ids and len(found["C1"].runs) == 9
    assert "C2c" not in found and "C3" not in found, "only the paper's own scale decides these"
    assert "C6" not in found, "it belongs to another reading"
    assert "C8" not in found, "one seed of the rate sweep decides nothing"
    fewer = wanted(opened("backbone_contest", values | {"seeds": 2}))
    assert "C1" not in {each.claim for each in fewer}, "two seeds decide nothing"
