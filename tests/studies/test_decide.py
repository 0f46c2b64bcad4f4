"""Seeds go where they tell most, until a claim is decided, hopeless or out of time."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers.core.errors import UserError
from helpers.judging import looks
from helpers.judging.claims import COLUMNS, Claim, Part, judge
from helpers.judging.statistics import paired_values
from helpers.runs.config import RunConfig
from helpers.runs.plan import Cell
from helpers.studies import decide
from helpers.studies.open import opened

CLAIM = Claim("X1", "made", "difference", 0.0, "statement", "estimand")
OTHER = Claim("X2", "made", "difference", 0.0, "statement", "estimand")


@pytest.fixture
def world(monkeypatch):
    """Runs of two arms whose difference, from seed to seed, is what a test says; each takes a minute, those of `slow` an hour."""
    made = SimpleNamespace(differences={}, trained=[], records={}, seconds={})

    def cell(who: str, seed: int) -> Cell:
        config = RunConfig(
            encoder={"name": "resnet_tiny", "options": {"zero_init_last": who.endswith("a")}}, data={"dataset": who[:-1]}, seed=seed
        )
        return Cell(config, {"who": who})

    def train(config: RunConfig) -> None:
        claim, arm = config.data.dataset, "a" if config.encoder.options["zero_init_last"] else "b"
        value = made.differences[claim](config.seed) if arm == "a" else 0.0
        made.records[config.id] = SimpleNamespace(
            id=config.id, value=value, manifest={"seconds": made.seconds.get(claim, 60.0)}, evaluations={}
        )
        made.trained.append((claim + arm, config.seed))

    def begun(claims, seeds=3):
        cells = [cell(name + arm, seed) for name in claims for seed in range(seeds) for arm in "ab"]
        for each in cells:
            train(each.config)
        made.trained.clear()
        return cells

    def rows(cells) -> pd.DataFrame:
        return pd.DataFrame(
            [each.place | {"seed": each.config.seed, "run": each.config.id, "record": made.records.get(each.config.id)} for each in cells]
        )

    def estimand(name):
        def parts(table):
            arms = [{r.seed: r.record for r in table[table["who"] == name + arm].itertuples() if r.record is not None} for arm in "ab"]
            seeds = sorted(set(arms[0]) & set(arms[1]))
            return [
                Part(
                    f"{name}: a − b",
                    paired_values(*([arm[s].value for s in seeds] for arm in arms)),
                    tuple(a[s].id for a in arms for s in seeds),
                )
            ]

        return parts

    def verdicts(table):
        found = [
            judge(CLAIM if n == "one" else OTHER, estimand(n), table, "reduced", 3) for n in dict.fromkeys(w[:-1] for w in table["who"])
        ]
        frame = pd.DataFrame(found, columns=list(COLUMNS))
        frame.attrs["parts"] = {row["claim"]: row["parts"] for row in found}
        return frame

    def study(cells, left=None):
        found = SimpleNamespace(grid=cells, verdicts=verdicts, time_left=lambda: left, first=3)

        def told(added):
            for each in added:
                if each.config.id not in made.records:
                    train(each.config)
            return rows([*cells, *added])

        return found, told

    monkeypatch.setattr(decide.records, "find", lambda run: made.records.get(run))
    monkeypatch.setattr(decide, "read_claims", lambda: {"X1": CLAIM, "X2": OTHER})
    made.begun, made.rows, made.study, made.verdicts = begun, rows, study, verdicts
    return made


def test_seeds_are_added_until_the_claim_is_decided(world):
    rng = np.random.default_rng(0)
    world.differences["one"] = lambda seed: 1.0 + 1.2 * rng.standard_normal()
    cells = world.begun(["one"])
    study, told = world.study(cells)
    table, added = decide.work(study, world.rows(cells), told)
    row = world.verdicts(table).iloc[0]
    assert row["verdict"] == "supported" and row["seeds"] > 3 and row["level"] > 97
    assert len(added) == 2 * (row["seeds"] - 3) == len(world.trained)  # both arms at each further seed, each once
    assert [seed for who, seed in world.trained if who == "onea"] == list(range(3, int(row["seeds"])))


def test_the_best_chance_a_minute_comes_first(world):
    world.differences |= {name: lambda seed: 1.0 + 0.9 * (-1) ** seed for name in ("one", "two")}
    world.seconds["two"] = 3600.0
    cells = world.begun(["two", "one"])
    found, stuck = decide.options(world.verdicts(world.rows(cells)), cells, 3)
    assert [option.claim for option in found] == ["X1", "X2"] and not stuck
    assert found[0].worth == pytest.approx(60 * found[1].worth) and found[0].seconds == 120
    assert {cell.config.seed for cell in found[0].cells} == {3} and {cell.place["who"] for cell in found[0].cells} == {"onea", "oneb"}


def test_nothing_is_spent_on_what_is_decided_or_hopeless(world):
    world.differences |= {"one": lambda seed: 5.0 + 0.1 * seed, "two": lambda seed: (-1.0) ** seed}
    cells = world.begun(["one"]) + world.begun(["two"], seeds=16)
    verdicts = world.verdicts(world.rows(cells))
    assert list(verdicts["verdict"]) == ["supported", "undecided"] and decide.options(verdicts, cells, 3) == ([], [])
    estimate = verdicts.attrs["parts"]["X2"][0].estimate
    assert looks.futile("difference", 0.0, estimate, 3)


def test_what_has_not_learned_gets_no_seeds(world):
    world.differences["one"] = lambda seed: 1.0 + 0.9 * (-1) ** seed
    cells = world.begun(["one"])
    verdicts = world.verdicts(world.rows(cells))
    part = verdicts.attrs["parts"]["X1"][0]
    verdicts.attrs["parts"]["X1"] = [Part(part.name, part.estimate, part.runs, unfit=("a has not learned",))]
    assert decide.options(verdicts, cells, 3) == ([], [])


def test_sides_that_have_not_run_the_same_seeds_are_named(world, capsys):
    world.differences["one"] = lambda seed: 1.0 + 0.9 * (-1) ** seed
    cells = world.begun(["one"], seeds=4)
    short = [each for each in cells if (each.place["who"], each.config.seed) != ("oneb", 1)]  # a: 0 1 2 3, b: 0 2 3
    study, told = world.study(short)
    _, added = decide.work(study, world.rows(short), told)
    assert added == [] and "X1 gets no seeds: what one: a − b compares has not run the same ones" in capsys.readouterr().out


def test_a_budget_too_small_for_one_seed_is_said_before_it_is_trained(world, capsys):
    world.differences["one"] = lambda seed: 1.0 + 0.9 * (-1) ** seed
    cells = world.begun(["one"])
    study, told = world.study(cells, left=60.0)
    _, added = decide.work(study, world.rows(cells), told)
    said = capsys.readouterr().out
    assert (
        added == [] == world.trained and "too small for one more seed of anything: X1" in said and "2.0 minutes, and 1.0 are left" in said
    )


def test_what_was_added_is_found_again(world):
    world.differences["one"] = lambda seed: 1.0 + 0.9 * (-1) ** seed
    cells = world.begun(["one"])
    for seed in (3, 4, 6):
        for each in cells[-2:]:
            more = decide.at_seed(each, seed)
            world.records[more.config.id] = SimpleNamespace(id=more.config.id)
    seeds = [cell.config.seed for cell in decide.adopted(cells) if cell.place["who"] == "onea"]
    assert seeds == [0, 1, 2, 3, 4]  # six comes after a gap: it is no seed of this campaign


def test_too_few_seeds_to_begin_with_are_named():
    with pytest.raises(UserError, match="decide begins with 3 seeds, and here are 1"):
        opened("backbone_contest", {"preset": "demo", "decide": "true"})
    with pytest.raises(UserError, match="speedrun has none: leave it out"):
        opened("speedrun", {"preset": "demo", "decide": True})
    with pytest.raises(UserError, match="looks at no more than 20 seeds, and here are 25"):
        opened("backbone_contest", {"preset": "demo", "decide": True, "seeds": 25})
    found = opened("backbone_contest", {"preset": "demo", "decide": True, "seeds": 3, "train": False})
    assert found.first == 3 and found.variant == "demo" and opened("backbone_contest", {"preset": "demo"}).first is None


def test_a_verdict_stands_whatever_seeds_others_ask_for(world):
    """Decided at three seeds; the fourth, which another claim asked for, would have left it undecided at the level of that look."""
    values = [1.0, 1.1, 0.9, -1.0]
    world.differences["one"] = lambda seed: values[seed]
    three = world.verdicts(world.rows(world.begun(["one"]))).iloc[0]
    four = world.verdicts(world.rows(world.begun(["one"], seeds=4))).iloc[0]
    assert three["verdict"] == "supported" and (four["verdict"], four["seeds"], four["level"]) == ("supported", 3, three["level"])
    alone = paired_values(values).at(1 - looks.alpha(3, 4))
    assert alone.low < 0 < alone.high


def test_what_a_preset_decides_and_is_told_not_to_lies_apart():
    assert opened("backbone_contest", {"preset": "cpu", "train": False}).variant == "cpu"
    apart = opened("backbone_contest", {"preset": "cpu", "decide": False, "train": False})
    assert apart.variant == "cpu-custom" and apart.first is None
    assert opened("backbone_contest", {"preset": "cpu", "seeds": 5, "train": False}).first == 3  # the other optimizers begin with three


def test_one_part_that_lacks_seeds_is_named(world, capsys):
    world.differences["one"] = lambda seed: 1.0 + 0.9 * (-1) ** seed
    cells = world.begun(["one"], seeds=2)
    study, told = world.study(cells)
    _, added = decide.work(study, world.rows(cells), told)
    assert added == [] and "X1 gets no seeds: one: a − b has 2 of the 3 that this study begins with" in capsys.readouterr().out


def test_a_seed_that_was_cut_off_takes_nothing_with_it(world):
    world.differences["one"] = lambda seed: 1.0 + 0.9 * (-1) ** seed
    cells = world.begun(["one"])
    study, _ = world.study(cells)

    def stopped(added):  # the first arm of the fourth seed was trained, the second was not
        world.records[added[0].config.id] = SimpleNamespace(id=added[0].config.id, value=1.0, manifest={"seconds": 60.0}, evaluations={})
        return world.rows([*cells, *added])

    table, added = decide.work(study, world.rows(cells), stopped)
    assert table["record"].notna().all() and [cell.config.seed for cell in added] == [3]
    assert world.verdicts(table).iloc[0]["seeds"] == 3 and "runs" not in world.verdicts(table).iloc[0]["reason"].split(";")[0]
