"""A full disk, a read-only folder and files cut short: what was written stays readable, and the next attempt ends as it should."""

import errno
import warnings

import pytest

from helpers.commands import study
from helpers.core.errors import RecordError
from helpers.runs import records
from helpers.runs.cost import forecast
from helpers.runs.run import checkpoint_folder, encoder_file, run
from helpers.runs.sweep import sweep
from helpers.training import Stopped

STEPS = 8


def test_a_full_disk_at_a_checkpoint_keeps_the_one_before(house, tiny, undisturbed, every_step, steps, failing):
    config = tiny()
    expected = undisturbed(config)
    before = records.save("x-1", config={}, manifest={}, metrics=[], evaluations={}, arrays={})
    mended = failing("replace", "step-", errno.ENOSPC, after=3)
    with pytest.raises(RecordError, match=r"disk is full: step-000000004.pt was not written.*run again"):
        sweep([config, tiny(seed=1)], device="cpu")  # going on with the next run would only fail again
    kept = sorted(path.name for path in checkpoint_folder(config).iterdir())
    assert kept == ["step-000000002.pt", "step-000000003.pt"]
    assert before.check() and not (records.runs_dir() / config.id).exists()
    mended()
    steps.clear()
    assert run(config, "cpu").essence() == expected
    assert steps == list(range(3, STEPS))
    assert not checkpoint_folder(config).exists()


@pytest.mark.parametrize(
    ("call", "text", "says"),
    [("replace", "arrays.npz.xz", "arrays.npz.xz"), ("rename", ".embedded-", "embedded-"), ("replace", ".safetensors", ".safetensors")],
)
def test_a_full_disk_at_the_end_costs_no_training(house, tiny, undisturbed, steps, failing, call, text, says):
    config = tiny()
    expected = undisturbed(config)
    steps.clear()
    before = records.save("x-1", config={}, manifest={}, metrics=[], evaluations={}, arrays={})
    mended = failing(call, text, errno.ENOSPC)
    with pytest.raises(RecordError, match="disk is full.*Free some space") as full:
        sweep([config], device="cpu")
    assert says in str(full.value) and str(house.home) not in str(full.value)
    assert [path.name for path in records.runs_dir().iterdir()] == ["x-1"] and before.check()
    assert len(steps) == STEPS
    mended()
    assert run(config, "cpu").essence() == expected
    assert len(steps) == STEPS and encoder_file(config.id).is_file()


def test_a_read_only_results_folder_is_said_before_training(house, tiny, steps, failing):
    failing("mkdir", "runs", errno.EROFS)
    with pytest.raises(RecordError, match="read-only.*RESULTS_DIR"):
        sweep([tiny()], device="cpu")
    assert steps == []


@pytest.mark.parametrize(("train", "code"), [("true", 2), ("false", 0)])
def test_the_study_command_says_so_before_it_starts(house, monkeypatch, capsys, failing, train, code):
    monkeypatch.setenv("RUNS_DIR", str(house.home / "elsewhere"))
    failing("mkdir", "elsewhere", errno.EROFS)
    started = []
    monkeypatch.setattr(study.notebook, "execute", lambda *a, **k: started.append(a) or study.notebook.Outcome(0, written=False))
    assert study.main(["backbone_contest", "-p", "train", train]) == code
    assert bool(started) == (code == 0)
    assert code == 0 or "read-only" in capsys.readouterr().err


def test_a_record_cut_between_two_rows_is_noticed_and_made_again(house, tiny, undisturbed, steps, capsys):
    config = tiny()
    expected = undisturbed(config)
    steps.clear()
    path = run(config, "cpu").path / "metrics.csv"
    whole = path.read_text()
    for cut in (whole[: whole.rindex("\n", 0, -1) + 1], whole[:-2]):
        path.write_text(cut)
        with pytest.raises(RecordError, match="metrics.csv was cut short"):
            records.Record(path.parent).check()
    assert run(config, "cpu").essence() == expected
    assert "counts as missing; it was moved aside, to .damaged-" in capsys.readouterr().out
    assert len(steps) == 2 * STEPS


def test_a_damaged_record_in_a_read_only_folder_counts_as_missing(house, tiny, failing, capsys):
    record = records.save("x-1", config={}, manifest={}, metrics=[], evaluations={}, arrays={})
    (record.path / "record.json").write_text("{")
    failing("rename", "x-1", errno.EROFS)
    assert records.find("x-1") is None
    assert "record.json" in capsys.readouterr().out


def stopped_after(config, count):
    """Run until `count` steps of this attempt are done."""
    seen = []
    with pytest.raises(Stopped, match="the test says so; run again"):
        run(config, "cpu", stop=lambda: seen.append(0) or ("the test says so" if len(seen) >= count else None))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_a_checkpoint_cut_short_costs_one_step(house, tiny, undisturbed, every_step, steps):
    config = tiny()
    expected = undisturbed(config)
    stopped_after(config, 5)
    cut(checkpoint_folder(config) / "step-000000005.pt")
    steps.clear()
    with pytest.warns(UserWarning, match="step-000000005.pt is damaged or cut short; going back to the one before it"):
        assert run(config, "cpu").essence() == expected
    assert steps == [4, 5, 6, 7]


def test_when_every_checkpoint_is_damaged_the_run_starts_over_and_can_be_stopped_again(house, tiny, undisturbed, every_step, steps):
    config = tiny()
    expected = undisturbed(config)
    stopped_after(config, 5)
    for path in checkpoint_folder(config).iterdir():
        cut(path)
    with pytest.warns(UserWarning) as told:
        stopped_after(config, 2)
    assert ["starts over" in str(warning.message) for warning in told] == [False, True]
    steps.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(config, "cpu").essence() == expected
    assert steps == [2, 3, 4, 5, 6, 7], "the damaged ones, newest by name, pushed out the good ones"


def test_remembered_step_costs_that_are_damaged_are_timed_again(house, tiny):
    table = forecast([tiny()], device="cpu")
    (house.home / "cache" / "step_costs.json").write_text('{"cut')
    assert forecast([tiny()], device="cpu").columns.equals(table.columns)
