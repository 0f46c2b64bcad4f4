"""The race: time to the target from records alone, what makes a run invalid, the tables, and a raced process from start to end."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from helpers.core.errors import UserError
from helpers.runs import records
from helpers.runs.alone import STOPPED, main
from helpers.runs.config import RunConfig
from helpers.studies.open import open_study
from helpers.studies.speedrun import figures as speedrun_figures
from helpers.studies.speedrun import race as speedrun
from helpers.studies.speedrun import tables as speedrun_tables
from helpers.studies.speedrun.runs import cells as grid_of
from helpers.studies.speedrun.runs import race_config, trial_config
from helpers.studies.speedrun.settings import PROTOCOL, RACED, Settings, merged

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


@pytest.mark.parametrize("preset", ["demo", "cpu", "gpu", "paper"])
def test_every_preset_races_on_test_and_tries_on_train(preset):
    s = opened(preset=preset)
    config = race_config(s, 1)
    assert config.data.validation is None and config.evaluation.probe == PROTOCOL and config.seed == 1
    for name in [RACED, *s.candidates]:
        trial = trial_config(s, name)
        assert trial.data.validation == s.validation and trial.data.test_images is None and trial.evaluation.probe_every == 0
    assert len({trial_config(s, name).id for name in [RACED, *s.candidates]}) == 1 + len(s.candidates)
    assert (s.target == 90.0 and config.encoder.name == "resnet18") == speedrun_tables.same_race(s) == (preset in ("gpu", "paper"))


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
    tried = cells(*[made([value]) for value in (50.0, 40.0, 45.0)], part="trial", names=names)
    table, _ = speedrun_tables.candidate_table(tried, s)
    assert table["changes"].tolist() == ["nothing", *(speedrun_tables.in_words(c) for c in s.candidates.values())]
    assert "led" in speedrun_tables.choice(table)
    assert "not the best" in speedrun_tables.choice(table.assign(**{"held-out kNN (%)": [50.0, 40.0, 51.0]}))
    assert "no trial" in speedrun_tables.choice(table.assign(**{"held-out kNN (%)": [None, 40.0, 51.0]}))
    assert speedrun_tables.in_words({"views": {"options": {"count": 4}}, "seed": 1}) == "views.options.count = 4, seed = 1"


@pytest.mark.parametrize("records_", [(), (made([40.0, NAN, 60.0]), made([10.0, 20.0], 1))])
def test_figures_stand_with_and_without_runs(records_):
    drawn = cells(*records_) if records_ else cells(None)
    for draw in (speedrun_figures.race_curves, speedrun_figures.breakdown_bars):
        assert isinstance(draw(drawn, 50.0, "embedded"), Figure)


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
