"""The race: time to the target from records alone, what makes a run invalid, the tables, and a raced process from start to end."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from helpers.core.errors import UserError
from helpers.core.files import data_dir, write_json
from helpers.runs import records
from helpers.runs.alone import STOPPED, main
from helpers.runs.config import RunConfig
from helpers.runs.recipes import RECIPES, merged, recipe
from helpers.studies.open import open_study
from helpers.studies.speedrun import figures as speedrun_figures
from helpers.studies.speedrun import race as speedrun
from helpers.studies.speedrun import rival
from helpers.studies.speedrun import tables as speedrun_tables
from helpers.studies.speedrun.runs import cells as grid_of
from helpers.studies.speedrun.runs import race_config, survivors, trial_config, trials
from helpers.studies.speedrun.settings import FRONTIER, PROTOCOL, RACED, Settings

NAN = float("nan")


def made(knn, seed=0, **more):
    """A raced record: 10 s before the first epoch, then 20 s of training and 3 s of probing an epoch, 1 s beside both."""
    count = len(knn)
    metrics = pd.DataFrame(
        {
            "epoch": range(1, count + 1),
            "knn": knn,
            "seconds": [20.0] * count,
            "probe_seconds": [0.0 if np.isnan(value) else 3.0 for value in knn],
            "elapsed_seconds": [10.0 + 24.0 * (n + 1) for n in range(count)],
        }
    )
    manifest = {
        "resumed": None,
        "startup": {"process_seconds": 4.0, "first_step_seconds": 2.0},
        "device": {"name": "a chip", "threads": 2},
        "training_flops": 3e15,
        "seconds": 60.0,
    }
    config = {"evaluation": {"probe": PROTOCOL}, "data": {"validation": None}, "training": {"epochs": count}, "seed": seed}
    return SimpleNamespace(
        id=f"x-{seed}",
        metrics=metrics.drop(columns=more.pop("without", [])),
        manifest=manifest | more.pop("manifest", {}),
        config=merged(config, more),
        evaluations={PROTOCOL: {"top1": knn[-1]}},
    )


def cells(*made, part="race", names=None):
    rows = [
        {"part": part, "recipe": names[n] if names else RACED, "backbone": "net", "seed": n, "run": f"x-{n}", "record": each}
        for n, each in enumerate(made)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("knn", "expected"),
    [
        ([40.0, 51.0, 60.0], (2, 58.0)),
        ([50.0, 20.0, 60.0], (1, 34.0)),  # the first probe at the target counts, whatever comes after it
        ([NAN, 45.0, NAN, 55.0], (4, 106.0)),  # epochs without a probe reach nothing
        ([49.99, 49.99], None),
        ([NAN, NAN], None),
    ],
)
def test_the_finish_is_the_first_probe_at_the_target(knn, expected):
    found = speedrun.finish(made(knn), 50.0)
    assert (found and (found.epoch, found.seconds)) == expected


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({}, ""),
        ({"manifest": {"resumed": 120}}, "from step 120"),
        ({"manifest": {"resumed": 0}}, "from step 0"),
        ({"without": ["elapsed_seconds"]}, "no wall time"),
        ({"without": ["knn"]}, "no probe"),
        ({"evaluation": {"probe": "knn200_t0.1"}}, "not probed by knn10"),
        ({"data": {"validation": 5000}}, "not on test"),
    ],
)
def test_what_is_no_race(more, says):
    record = made([60.0], **more)
    assert says in speedrun.invalid(record) and bool(speedrun.invalid(record)) == bool(says)
    table, runs = speedrun_tables.race_table(cells(record), 50.0)
    assert table["state"][0].startswith("invalid" if says else "reached") and runs == ["x-0"]
    assert table["seconds to target"].isna()[0] == bool(says)
    assert len(speedrun.raced(cells(record))) == (0 if says else 1)


def test_the_mean_is_over_valid_runs_and_only_where_all_of_them_got_there():
    whole = cells(made([60.0], 0), made([40.0, 60.0], 1), None)
    found, why = speedrun.time_to_target(whole, 50.0)
    assert (found.mean, found.n, why) == ((34 + 58) / 2, 2, "") and found.low < found.mean < found.high
    found, why = speedrun.time_to_target(cells(made([60.0], 0), made([40.0, 40.0], 1)), 50.0)
    assert found.mean is None and "1 of 2 runs never reached" in why
    found, why = speedrun.time_to_target(cells(made([60.0], 0), made([60.0], 1, manifest={"device": {"name": "other"}})), 50.0)
    assert found.mean is None and "different devices" in why
    assert speedrun.time_to_target(cells(None), 50.0)[1] == "no valid run"


def test_the_race_table_names_what_is_missing_and_what_never_got_there():
    table, runs = speedrun_tables.race_table(cells(made([60.0], 0), made([40.0], 1), None), 50.0)
    assert table["state"].tolist() == ["reached", "never reached", "missing"] and runs == ["x-0", "x-1"]
    assert table["kNN at the end (%)"].tolist()[:2] == [60.0, 40.0]


def test_the_parts_of_the_time_add_up_to_the_wall_time():
    record = made([40.0, 60.0, 70.0])
    spent = speedrun.breakdown(record, 50.0)
    assert spent == {"imports": 4.0, "data and net": 8.0, "first step": 2.0, "training": 38.0, "probes": 6.0}
    assert sum(spent.values()) == speedrun.finish(record, 50.0).seconds
    assert sum(speedrun.breakdown(record, 99.0).values()) == 82.0  # never reached: up to the end
    table, _ = speedrun_tables.breakdown_table(cells(record, made([40.0], 1)), 50.0)
    assert table["until"].tolist() == ["target", "end, target never reached"]


def opened(**namespace):
    return open_study("speedrun", {"In": []} | namespace).settings


def test_ours_stands_beside_the_published_race_and_says_where_it_is_another():
    table, _ = speedrun_tables.result_table(cells(made([99.0])), opened(preset="cpu"))
    assert "not the same race" in table["note"][0] and table["target (%)"].tolist()[1] == "90"
    assert table["seconds"][1] == 99 * 60
    table, _ = speedrun_tables.result_table(cells(None), opened(preset="cpu"))
    assert table["note"][0].startswith("no valid run; not the same race")
    table, _ = speedrun_tables.result_table(cells(made([99.0])), opened(preset="gpu"))
    assert table["note"][0] == "" and table["seconds"][0] == 34.0


@pytest.mark.parametrize("preset", ["demo", *FRONTIER, "gpu", "paper"])
def test_every_preset_races_on_test_and_tries_on_train(preset):
    s = opened(preset=preset)
    config = race_config(s, 1)
    assert config.data.validation is None and config.evaluation.probe == PROTOCOL and config.seed == 1
    names = [RACED, *s.candidates] if s.rungs else []
    for name in names:
        trial = trial_config(s, name)
        assert trial.data.validation == s.validation and trial.data.test_images is None and trial.evaluation.probe_every == 0
    assert len({trial_config(s, name, rung).id for name in names for rung in range(len(s.rungs))}) == len(names) * len(s.rungs)
    assert (s.target == 90.0 and config.encoder.name == "resnet18") == speedrun_tables.same_race(s) == (preset in ("gpu", "paper"))


def test_the_better_half_goes_on_and_the_raced_recipe_in_any_case(monkeypatch):
    assert survivors({RACED: 1.0, "a": 5.0, "b": 2.0, "c": 4.0}, 0.5) == [RACED, "a", "c"]
    assert survivors({RACED: 9.0, "a": 5.0}, 0.1) == [RACED]
    s = opened(preset="cpu").model_copy(update={"rungs": [0.27, 0.5], "keep": 0.3})
    assert {cell.place["rung"] for cell in trials(s.model_copy(update={"candidates": {"new": {"training": {"rate": 0.5}}}}))} == {0}
    accuracy = dict.fromkeys([RACED, *s.candidates], 50.0) | {"decoupled contrast": 60.0}
    by_id = {trial_config(s, name).id: SimpleNamespace(evaluations={PROTOCOL: {"top1": value}}) for name, value in accuracy.items()}
    monkeypatch.setattr(records, "find", by_id.get)
    second = [cell for cell in trials(s) if cell.place["rung"] == 1]
    assert {RACED, "decoupled contrast"} <= {cell.place["recipe"] for cell in second} and len(second) < len(accuracy) / 2
    assert all(cell.config.training.epochs > trial_config(s, cell.place["recipe"]).training.epochs for cell in second)


def test_a_candidate_of_another_method_brings_its_own_options():
    s = opened(preset="cpu")
    assert (
        trial_config(s, "VICReg, four views").method.options == {}
        and trial_config(s, RACED).method.options == s.recipe["method"]["options"]
    )


def test_a_recipe_by_name_is_laid_under_what_is_given():
    s = opened(preset="cpu")
    assert s.recipe == recipe("small_fast", training={"epochs": s.recipe["training"]["epochs"]})
    assert RunConfig(**recipe("small_fast")).encoder.name == RECIPES["small_fast"]["encoder"]["name"]
    assert "epochs" not in RECIPES["small_fast"]["training"], "laying over leaves the recipe as it is"
    with pytest.raises(UserError, match="'smal_fast'.*small_fast"):
        recipe("smal_fast")
    with pytest.raises(UserError, match="shortest to the longest"):
        Settings(**(s.model_dump() | {"rungs": [0.5, 0.2]}))


def test_wrong_recipes_and_candidates_name_what_is_near():
    good = opened(preset="demo").model_dump()
    with pytest.raises(UserError, match="'muno'.*'muon'"):
        grid_of(Settings(**merged(good, {"recipe": {"training": {"optimizer": "muno"}}})))
    with pytest.raises(UserError, match="'epoch'.*epochs"):
        grid_of(Settings(**merged(good, {"candidates": {"mine": {"training": {"epoch": 3}}}})))
    with pytest.raises(UserError, match="'AdmW'.*AdamW"):
        trial_config(Settings(**good), "AdmW")


def test_the_choice_is_told_as_it_was():
    s = opened(preset="demo")
    names = [RACED, *s.candidates]
    tried = cells(*[made([value], manifest={"training_seconds": 9.0}) for value in (50.0, 40.0, 45.0)], part="trial", names=names)
    table, runs = speedrun_tables.candidate_table(tried.assign(rung=0), s)
    assert table["changes"].tolist() == ["nothing", *(speedrun_tables.in_words(c) for c in s.candidates.values())]
    assert runs == ["x-0"] * 3 and table["seconds"].tolist() == [9.0] * 3
    rung = next(column for column in table if column.startswith("held-out"))
    assert "led" in speedrun_tables.choice(table)
    assert "not the best" in speedrun_tables.choice(table.assign(**{rung: [50.0, 40.0, 51.0]}))
    assert "no trial" in speedrun_tables.choice(table.assign(**{rung: [None, 40.0, 51.0]}))
    assert "no trial" in speedrun_tables.choice(speedrun_tables.candidate_table(tried.iloc[:0], opened(preset="cpu15"))[0])
    assert speedrun_tables.in_words({"views": {"options": {"count": 4}}, "seed": 1}) == "views.options.count = 4, seed = 1"


@pytest.mark.parametrize("records_", [(), (made([40.0, NAN, 60.0]), made([10.0, 20.0], 1))])
def test_figures_stand_with_and_without_runs(records_):
    drawn = cells(*records_) if records_ else cells(None)
    for draw in (speedrun_figures.race_curves, speedrun_figures.breakdown_bars):
        assert isinstance(draw(drawn, 50.0, "embedded"), Figure)


@pytest.fixture
def budgets(tmp_path, monkeypatch):
    """A frontier of two budgets, the longer of them not run yet, and lightly's readings beside it."""
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "runs"))
    short, long = opened(preset="cpu1"), opened(preset="cpu")
    run = cells(*(made([NAN, value], seed) for seed, value in enumerate((52.0, 55.0, 58.0))))
    found = [("cpu1", short.model_copy(update={"minutes": 1.0}), run), ("cpu", long, cells(None))]
    monkeypatch.setattr(speedrun_tables, "frontier", lambda: found)
    monkeypatch.setattr(speedrun_figures, "frontier", lambda: found)
    reads = [{"seconds": 60.4, "epochs": 0.1, "loss": 5.0, "knn": 20.0}, {"seconds": 580.0, "epochs": 1.0, "loss": 4.0, "knn": 50.0}]
    device = {"name": "a chip", "threads": 2}
    write_json(tmp_path / "speedrun" / "lightly" / "seed0.json", {"seed": 0, "device": device, "reads": reads})
    return found


def test_the_frontier_says_what_was_reached_and_what_is_missing(budgets):
    table, runs = speedrun_tables.frontier_table()
    first, second = table.to_dict("records")
    assert (first["kNN at the end (%)"], first["n"], first["lightly (%)"], runs) == (55.0, 3, 20.0, ["x-0", "x-1", "x-2"])
    assert first["state"] == "target met" and first["low"] < 55.0 < first["high"] and first["seconds at the end"] == 58.0
    assert second["state"] == "3 of 3 runs missing" and pd.isna(second["lightly (%)"])
    preset, s, run = budgets[0]
    budgets[0] = (preset, s.model_copy(update={"target": 60.0, "minutes": 0.5}), run)
    again = speedrun_tables.frontier_table()[0]
    assert again["state"][0] == "5.0 points short of the target; 28 s late"
    assert again["best of all races in that time"][0] == "—", "nothing was read in half a minute"


def test_a_longer_race_may_stand_higher_on_its_way_than_a_short_one_at_its_end(budgets):
    short, (_, s, _) = budgets
    assert (
        speedrun_tables.frontier_table()[0]["best of all races in that time"].tolist()
        == ["55.0 % [47.5, 62.5], n = 3, cpu1 after 58 s"] * 2
    )
    longer = cells(made([60.0, NAN, 70.0, 65.0], 0), made([62.0, NAN, 70.0, 67.0], 1))
    budgets[:] = [short, ("cpu", s.model_copy(update={"minutes": 1.4}), longer)]
    best = speedrun_tables.frontier_table()[0]["best of all races in that time"].tolist()
    assert best[0].startswith("61.0 % [") and best[0].endswith("], n = 2, cpu after 34 s"), "the minute holds its first reading alone"
    assert best[1] == "70.0 % [70.0, 70.0], n = 2, cpu after 82 s", "the last reading in time, not the best"


def test_how_much_sooner_is_told_against_the_rivals_own_last_reading(budgets, tmp_path):
    said = speedrun_tables.ahead()
    assert "50.0 % in 10 minutes (n = 1; a chip, 2 threads)" in said and "after 58 s" in said and "10 times sooner" in said
    for record in budgets[0][2]["record"]:
        record.manifest["device"] = {"name": "a chip", "threads": 2, "matrix_unit": True}
    assert "no run of ours on that device" in speedrun_tables.ahead(), "a faster machine is no better method"
    assert "a chip, with matrix unit, 2 threads" in speedrun_tables.frontier_table()[0]["device"][0]
    (tmp_path / "speedrun" / "lightly" / "seed0.json").unlink()
    assert "has not been measured" in speedrun_tables.ahead()


def test_the_frontier_is_drawn_with_and_without_runs(budgets):
    assert len(speedrun_figures.frontier_curves("reduced").axes[0].lines) > 4
    budgets[:] = [(preset, s, cells(None)) for preset, s, _ in budgets]
    assert "no valid raced run" in speedrun_figures.frontier_curves("reduced").axes[0].texts[0].get_text()


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A config that is trained in a second; its record and checkpoints go into a folder of their own."""
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CHECKPOINT_DIR", raising=False)
    data = {"dataset": "embedded", "train_images": 64, "test_images": 32}
    recipe = {"encoder": {"name": "resnet_tiny", "stem": "stride2"}, "training": {"epochs": 2, "batch_size": 32}}
    return RunConfig(data=data, evaluation={"probe": PROTOCOL, "maps": None}, **recipe)


def test_a_raced_run_has_a_process_of_its_own_and_its_parts_add_up(tiny):
    outcome = speedrun.race([tiny], device="cpu")
    assert not outcome.failures and outcome.trained == 1
    record = outcome[tiny]
    assert speedrun.invalid(record) == ""
    found = speedrun.finish(record, 0.0)
    spent = speedrun.breakdown(record, 0.0)
    assert found.epoch == 1 and 0 < found.seconds < record.metrics["elapsed_seconds"].iloc[-1]
    assert all(value >= 0 for value in spent.values()) and sum(spent.values()) == pytest.approx(found.seconds, abs=0.02)
    assert speedrun.race([tiny], device="cpu").trained == 0


def test_a_race_that_fails_or_is_not_to_run_says_so(tiny):
    assert speedrun.race([tiny], train=False)[tiny] is None
    wrong = tiny.model_copy(update={"data": tiny.data.model_copy(update={"dataset": "nowhere"})})
    outcome = speedrun.race([wrong], device="cpu")
    assert outcome[wrong] is None and "nowhere" in outcome.failures[wrong.id]
    stopped = speedrun.race([tiny], device="cpu", time_budget=1e-9)
    assert stopped[tiny] is None and "time budget is spent" in stopped.stopped and not stopped.failures


def test_an_interrupted_race_leaves_nothing_to_go_on_from(tiny, monkeypatch, capsys):
    from helpers.runs import alone
    from helpers.training import Stopped

    left = alone.checkpoint_folder(tiny)
    left.mkdir(parents=True)
    (left / "step-000000001.pt").write_text("of an attempt before")

    def interrupted(config, device, stop):
        assert not left.exists(), "a raced run would go on from an earlier attempt"
        left.mkdir(parents=True)
        raise Stopped("asked to")

    monkeypatch.setattr(alone, "run", interrupted)
    assert main([tiny.model_dump_json(exclude_defaults=True), "--device", "cpu"]) == STOPPED
    assert not left.exists() and records.find(tiny.id) is None
    assert main([json.dumps({"sed": 1})]) == 1 and "seed" in capsys.readouterr().err


def test_without_lightly_its_measurement_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(rival.importlib.util, "find_spec", lambda name: None)
    assert rival.main([]) == 1 and "pip install lightly" in capsys.readouterr().err


@pytest.mark.slow
def test_lightlys_simclr_is_read_at_the_minutes_and_at_the_end(tmp_path, monkeypatch):
    pytest.importorskip("lightly", reason="lightly is measured where it is installed")
    if not (data_dir() / "cifar10").exists():
        pytest.skip("no CIFAR-10 in DATA_DIR")
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setattr(rival, "MINUTES", (0.001, 60))
    found = rival.measure(0.002, 0, train_images=256, test_images=64)
    first, last = found["reads"]
    assert first["seconds"] <= last["seconds"] and 0 < first["epochs"] < last["epochs"] and 0 <= last["knn"] <= 100
    assert found["workers"] == 2 and found["lightly"]
