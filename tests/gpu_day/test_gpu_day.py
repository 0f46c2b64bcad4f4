"""A day on a GPU: rehearsed from its first step to its archive on a CPU, and its parts one by one."""

import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.bench import speed_table
from helpers.commands import campaign, gpu_day
from helpers.core.files import REPOSITORY, append_json, json_lines, read_json
from helpers.gpu_day import check as gpu_check
from helpers.gpu_day import page as gpu_day_page
from helpers.gpu_day import runs as gpu_day_runs
from helpers.gpu_day.book import Day, archive_path, open_day, warnings_of
from helpers.runs import archive, records

CPU = torch.device("cpu")


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path / "results"))
    monkeypatch.delenv("RUNS_DIR", raising=False)
    return tmp_path / "results"


@pytest.mark.slow
def test_the_rehearsal_runs_every_step_and_its_archive_comes_home(tmp_path, monkeypatch, capsys):
    there, here = tmp_path / "there", tmp_path / "here"
    given = {k: v for k, v in os.environ.items() if k not in ("RUNS_DIR", "CHECKPOINT_DIR")} | {"RESULTS_DIR": str(there)}
    call = [sys.executable, "-m", "helpers.commands.gpu_day", "--device", "cpu", "--size", "toy", "--minutes", "3"]
    started = time.monotonic()
    done = subprocess.run(call, cwd=REPOSITORY, env=given, capture_output=True, text=True)
    assert done.returncode in (0, os.EX_TEMPFAIL), done.stdout + done.stderr
    assert time.monotonic() - started < 3 * 60
    (folder,) = (path for path in (there / "gpu_day").iterdir() if path.is_dir())
    state = read_json(folder / gpu_day_page.STATE)
    assert list(gpu_day_page.STEPS) == [name for name in gpu_day_page.STEPS if state["steps"][name]["state"] in ("done", "in part")]
    assert len(state["trained"]) >= 3 and not state["failures"] and not state["skipped"]
    assert {each["claim"] for each in state["plan"]} >= {"L1", "L5"}
    assert gpu_check.results(folder / gpu_day_page.CHECK), "no test was run"
    assert any("images_per_second" in row for row in json_lines(folder / gpu_day_page.SPEED))
    page = (folder / gpu_day_page.REPORT).read_text()
    assert str(tmp_path) not in page + (folder / gpu_day_page.LOG).read_text()

    monkeypatch.setenv("RESULTS_DIR", str(here))
    assert campaign.main(["--import", str(archive_path(folder))]) == 0
    assert f"results/gpu_day/{folder.name}/report.md" in capsys.readouterr().out
    assert all(records.find(run) is not None for run in state["trained"])
    assert gpu_day_page.page(here / "gpu_day" / folder.name) == page


def day_of(results, minutes=60 * 24) -> Day:
    return open_day(CPU, "toy", minutes)


def test_a_step_that_fails_is_written_down_and_the_rest_goes_on(results):
    day = day_of(results)

    def broken():
        raise ValueError(f"something in {REPOSITORY}/helpers is wrong")

    day.step("check", broken)
    day.step("speed", lambda: ("3 measured", True))
    steps = read_json(day.folder / "day.json")["steps"]
    assert steps["check"]["state"] == "failed" and "ValueError: something in ./helpers is wrong" in steps["check"]["said"]
    assert "def broken" not in steps["check"]["traceback"] and "raise ValueError" in steps["check"]["traceback"]
    assert steps["speed"] == steps["speed"] | {"state": "done", "said": "3 measured"}
    page = (day.folder / "report.md").read_text()
    assert "raise ValueError" in page and str(REPOSITORY) not in page
    assert archive.days_in(archive_path(day.folder)) == [day.folder.name]


def test_the_same_command_goes_on_where_the_last_one_ended(results):
    first, asked = day_of(results), []
    first.step("speed", lambda: ("1 measured", False))
    first.step("sharing", lambda: ("2 at a time", True))
    again = day_of(results)
    assert again.folder == first.folder
    again.step("speed", lambda: asked.append("speed") or ("2 measured", True))
    again.step("sharing", lambda: asked.append("sharing") or ("", True))
    assert asked == ["speed"]
    assert open_day(CPU, "full", 1).folder != first.folder, "a rehearsal is not the day"


def test_a_step_has_its_share_of_the_day_and_no_more(results):
    day = day_of(results)
    assert day.share("check") == 120
    day.state["steps"]["check"] = {"state": "in part", "said": "", "seconds": 115}
    assert day.share("check") == 5
    day.step("check", lambda: pytest.fail("its share was used"))
    day.step("check", lambda: ("all passed", True), beyond=True)
    assert day.state["steps"]["check"]["state"] == "done"


def test_images_that_arrive_late_are_planned_once_more(results, monkeypatch, tmp_path):
    monkeypatch.setattr(gpu_day_runs, "LISTS", {"toy": str(tmp_path / "list.toml")})
    (tmp_path / "list.toml").write_text(
        '[[study]]\nname = "label_efficiency"\npreset = "demo"\n[study.parameters]\ndataset = "late"\ntrain_images = 300\ntest_images = 100\nseeds = 3\n'
    )
    for name in ("DATA_DIR", "CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    day = day_of(results)
    runs = gpu_day_runs.Runs(day)
    runs.plan()
    assert "Unknown dataset 'late'" in day.state["skipped"]["label_efficiency · demo · changed"] and runs.configs == []
    for label in range(10):
        folder = tmp_path / "DATA_DIR" / "late" / f"class {label}"
        folder.mkdir(parents=True)
        for number in range(50):
            Image.fromarray(np.full((32, 32, 3), label * 20 + number % 5, np.uint8)).save(folder / f"{number}.png")
    monkeypatch.setattr(gpu_day_runs, "fits", lambda *given: [])
    said, complete = runs.train()
    assert not day.state["skipped"] and len(runs.configs) == 3 and not complete
    assert said.startswith("0 trained, 0 failed; 3 of 3 runs are left")


def test_without_time_a_step_is_left_out(results):
    day = day_of(results, minutes=0.01)
    day.step("race", lambda: pytest.fail("it was begun"))
    assert day.state["steps"]["race"] == {"state": "left out", "said": "no time was left"}


def test_what_cannot_be_done_is_said_in_a_line(results, capsys):
    assert gpu_day.main(["--minutes", "0.5"]) == 2
    assert "is too little" in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert gpu_day.main([]) == 2
        assert "'cuda' does not exist: 0 CUDA devices" in capsys.readouterr().err


def test_a_card_that_others_use_or_without_bf16_is_told(monkeypatch):
    from helpers.gpu_day import book as gpu_day_book

    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (60 * 2**30, 80 * 2**30))
    monkeypatch.setattr(gpu_day_book, "good_at_bf16", lambda kind: False)
    said = warnings_of(torch.device("cuda"))
    assert [text[:40] for text in said] == ["20.0 of 80 GiB are in use by others: tim", "This card has no bf16: precision auto co"]


def test_at_the_very_end_everything_goes_home_and_stops(results, monkeypatch):
    day, ended = day_of(results), []
    monkeypatch.setattr(gpu_day.os, "_exit", ended.append)
    day.minutes = 0
    with gpu_day.hard_limit(day):
        for _ in range(100):
            if ended:
                break
            time.sleep(0.05)
    assert ended == [os.EX_TEMPFAIL] and archive_path(day.folder).is_file()


def test_more_records_than_an_archive_holds_go_into_several(results, monkeypatch):
    day = day_of(results)
    rng = np.random.default_rng(0)
    for run in ("embedded-a", "embedded-range-b", "embedded-c"):
        arrays = {"noise": rng.integers(0, 256, 100_000, dtype=np.uint8)}
        records.save(run, config={}, manifest={"started": day.state["started"]}, metrics=[], evaluations={}, arrays=arrays)
    from helpers.gpu_day import book as gpu_day_book

    monkeypatch.setattr(gpu_day_book, "ARCHIVE", 250_000)
    day.take_stock()
    day.keep()
    held = [archive_names(archive_path(day.folder, number)) for number in (1, 2)]
    assert held[0] == {"embedded-range-b", "embedded-a"} and held[1] == {"embedded-c"}


def archive_names(path) -> set[str]:
    import zipfile

    return {name.split("/")[2] for name in zipfile.ZipFile(path).namelist() if name.startswith("results/runs/")}


# -- the tests, most telling first ----------------------------------------------------------------------------------------


def test_the_most_telling_test_comes_first():
    names = [
        "tests/gpu/test_steps.py::test_a_step[cuda-swav-vit_micro]",
        "x::test_batches[cuda-True]",
        "x::test_a_step[cpu-simclr-vit_micro]",
    ]
    assert sorted(names, key=gpu_check.rank) == [names[2], names[1], names[0]]
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/gpu", "--collect-only", "-q"], cwd=REPOSITORY, capture_output=True, text=True
    ).stdout
    for words in gpu_check.TELLING:
        assert words in collected or words.replace("[cuda-", "[") in collected, f"no test is called {words}"


def test_a_test_that_takes_its_process_with_it_costs_itself_alone(tmp_path):
    file = tmp_path / "check.jsonl"
    for row in ({"begun": "a"}, {"test": "a", "outcome": "passed"}, {"begun": "b"}):
        append_json(file, row)
    gpu_check._settle_crashed(file)
    assert [row["test"] for row in gpu_check.failures(file)] == ["b"]
    assert gpu_check.summary(file) == "1 passed, 1 failed"


def test_a_line_that_was_cut_short_costs_itself_alone(tmp_path):
    file = tmp_path / "rows.jsonl"
    append_json(file, {"a": 1})
    with open(file, "a") as cut:
        cut.write('{"b": ')
    append_json(file, {"c": 3})
    assert list(json_lines(file)) == [{"a": 1}, {"c": 3}]


# -- the speed table ------------------------------------------------------------------------------------------------------


def test_an_item_that_ended_its_process_is_not_tried_again(tmp_path):
    file, items = tmp_path / "speed.jsonl", speed_table.plan("toy", CPU)
    append_json(file, {"begun": items[0].key})
    append_json(file, items[1].key | {"images_per_second": 5.0})
    assert speed_table.to_do(file, items) == items[2:]
    assert list(json_lines(file))[-1]["failed"] == "the process ended in the midst of it"


def test_the_first_case_is_measured_in_every_way_before_the_others():
    items = speed_table.plan("full", torch.device("cuda"))
    assert {item.way for item in items[: len(speed_table.WAYS)]} == set(speed_table.WAYS)
    assert {(item.case.backbone, item.case.batch) for item in items[: len(speed_table.WAYS)]} == {("resnet18", 512)}
    assert len(items) == len({json.dumps(item.key) for item in items}) == 10 * len(speed_table.WAYS)
    assert not {item.way for item in speed_table.plan("full", CPU)} & set(speed_table.ON_GPU_ALONE)


def test_a_way_that_fails_is_a_row_and_the_next_is_measured(tmp_path, monkeypatch):
    def measure(item, split, device, length):
        if item.way == "views":
            raise RuntimeError("no such kernel")
        return {"images_per_second": 100.0, "spread": 0.0, "first_step_seconds": 1.0, "peak_memory": None}

    monkeypatch.setattr(speed_table, "measure", measure)
    file = tmp_path / "speed.jsonl"
    assert speed_table.run(file, CPU, "toy", 60) == 0
    rows = speed_table.table(json_lines(file))
    assert [(row["whole"], row["views"], row["s an epoch"], row["x standard"]) for row in rows] == [("100", "failed", "500.00", "1.0")] * 2
    assert speed_table.run(file, CPU, "toy", 0) == 0, "nothing is left to measure"
    assert speed_table.run(tmp_path / "other.jsonl", CPU, "toy", 0) == os.EX_TEMPFAIL


def test_a_lost_device_ends_the_process_that_lost_it(tmp_path, monkeypatch):
    def measure(item, split, device, length):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(speed_table, "measure", measure)
    file = tmp_path / "speed.jsonl"
    assert speed_table.run(file, CPU, "toy", 60) == speed_table.LOST
    assert len(speed_table.to_do(file, speed_table.plan("toy", CPU))) == len(speed_table.plan("toy", CPU)) - 1
