"""The bench: its cases, the arithmetic and the page of a row, and one case at toy size."""

import json

import pytest
import torch
from torchvision import transforms

from helpers.bench import cases as bench_cases
from helpers.bench import measure as bench_measure
from helpers.bench import rivals as bench_rivals
from helpers.bench import rows as bench_rows
from helpers.bench import settings as bench_settings
from helpers.bench import standard as bench_standard
from helpers.bench import startup as bench_startup
from helpers.bench.steps import Bare, Ours, Setting, rate
from helpers.commands import bench
from helpers.core.errors import UserError
from helpers.data import load
from helpers.methods import StepBatch
from helpers.models import small_maps
from helpers.views import make_views

CPU = torch.device("cpu")
TOY = bench_cases.make_case("simclr", "vit_micro", "auto", 32, 8)
ROUNDS = {
    "bound": [100.0, 50.0, 110.0],  # the second round was disturbed, all of it
    "views": [2000.0, 1000.0, 2200.0],
    "end_to_end": [90.0, 45.0, 99.0],
    "plain": [30.0, 15.0, 33.0],
    "standard": [40.0, 20.0, 44.0],
    "views_standard": [400.0, 200.0, 440.0],
    "matrix": [1e12, 1e12, 1e12],
}
TRIED = [
    {
        "precision": "bf16",
        "layout": "channels_last",
        "tuned": False,
        "compile": "default",
        "images_per_second": 101.0,
        "first_step_seconds": 20.0,
        "failed": None,
        "pays_back_after_steps": 70,
    },
    {
        "precision": "fp32",
        "layout": "contiguous",
        "tuned": False,
        "compile": None,
        "images_per_second": 40.0,
        "first_step_seconds": 6.5,
        "failed": None,
    },
]
FRESH = {
    "startup": {"interpreter": 0.05, "import_torch": 1.5, "import_helpers": 0.4, "build": 1.0, "first_step": 2.0, "compile": 30.0},
    "peak_memory": 2 * 10**9,
}


@pytest.fixture
def row():
    return make_row(ROUNDS)


def make_row(rounds):
    case = {"method": "simclr", "backbone": "resnet18", "stem": "cifar", "size": 32, "batch": 256}
    device = {"name": "A chip", "type": "cpu", "threads": 2, "workers": 2}
    return bench_rows.row(
        case, rounds, precision="bf16", flops=256 * 10**9, tried=TRIED, fresh=FRESH, device=device, versions={"torch": "2"}
    )


def test_ratios_are_taken_round_by_round(row):
    assert row["ratio_to_bound"] == 0.9 and row["ratio_to_standard"] == 2.25 and row["ratio_of_views"] == 5
    assert row["ratio_to_plain"] == 3 and row["share_of_data_and_views"] == 0.05
    assert row["end_to_end"] == 90 and row["spread"]["end_to_end"] == 0.6
    assert row["flops_per_second"] == 90 * 10**9 and row["share_of_matrix_rate"] == 0.09
    assert row["setting"] == {"precision": "bf16", "layout": "channels_last", "tuned": False, "compile": "default"}


def test_what_was_not_measured_is_null(row):
    absent = ("lightly", "views_kornia", "end_to_end_compiled", "ratio_to_lightly", "ratio_of_views_to_kornia", "compiled_ratio_to_bound")
    assert all(row[name] is None for name in absent)
    assert "lightly" not in bench_rows.section(row) and "| — |" in bench_rows.page([row])
    with_rivals = make_row(ROUNDS | {"lightly": [45.0, 22.5, 49.5], "views_kornia": [500.0, 250.0, 550.0]})
    assert with_rivals["ratio_to_lightly"] == 2 and with_rivals["ratio_of_views_to_kornia"] == 4
    assert "lightly's SimCLR" in bench_rows.section(with_rivals)


def test_the_form_that_the_design_asks_for(row):
    wanted = "method backbone size batch precision bound views end_to_end standard lightly ratio_to_bound ratio_to_standard"
    assert set(wanted.split()) | {"flops_per_second", "peak_memory", "spread", "device"} <= set(row)


def test_the_page_says_what_was_tried_and_when_compiling_pays_back(row):
    text = bench_rows.page([row])
    assert "| bf16, channels last, compiled (default) | 101.0 | 20.00 | 70 steps |" in text
    assert "| simclr, resnet18 (cifar), batch 256 | 90.0 | 0.90 | 2.25 | — | 3.00 | 5.0 | — | 90 (9%) | 2.00 | 5.0 |" in text
    assert text.startswith("# Speed and memory on A chip, 2 threads\n")


def test_saving_replaces_the_same_case_and_keeps_others(row, tmp_path, monkeypatch):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    bench_rows.save({**row, "backbone": "other"})
    bench_rows.save(row)
    bench_rows.save({**row, "end_to_end": 95.0})
    (written,) = (tmp_path / "bench").glob("*.json")
    rows = json.loads(written.read_text())
    assert [(r["backbone"], r["end_to_end"]) for r in rows] == [("other", 90.0), ("resnet18", 95.0)]
    assert "95.0" in written.with_suffix(".md").read_text()
    (tmp_path / "bench" / "a-chip-readouts.json").write_text('[{"knn": 1}]')
    assert [path.name for path in bench_rows.bench_files()] == ["a-chip.json"]


def test_rows_of_the_earlier_form_go_when_a_new_one_comes(row, tmp_path, monkeypatch):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    early = {"backbone": "resnet18", "stem": "cifar", "batch": 256, "end_to_end": 51.0, "method": "simclr", "device": {"name": "A chip"}}
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "a-chip.json").write_text(json.dumps([early]))
    assert bench_rows.summary([early])[0]["x lightly"] == "—"
    bench_rows.save({**row, "backbone": "other"})
    assert [r["backbone"] for r in json.loads((tmp_path / "bench" / "a-chip.json").read_text())] == ["other"]


def test_compiling_pays_back_when_its_time_is_won_back():
    eager = {"images_per_second": 10.0, "first_step_seconds": 10.0}
    assert bench_settings.payback(eager, {"images_per_second": 20.0, "first_step_seconds": 30.0}, batch=100) == 4
    assert bench_settings.payback(eager, {"images_per_second": 9.0, "first_step_seconds": 30.0}, batch=100) is None
    assert bench_settings.payback(eager, {"images_per_second": 0.0, "first_step_seconds": None}, batch=100) is None


def test_settings_are_tried_where_they_change_something(monkeypatch):
    monkeypatch.setattr(small_maps, "gain", lambda: False)
    assert {s.tuned for s in bench_settings.candidates(TOY, CPU)} == {True, False}  # attention has a faster kernel on a CPU
    resnet = bench_settings.candidates(bench_cases.make_case("simclr", "resnet_tiny", "cifar", 32, 8), CPU)
    assert len(resnet) == 4 and not any(s.tuned for s in resnet)
    monkeypatch.setattr(small_maps, "gain", lambda: True)
    with_columns = bench_settings.candidates(bench_cases.make_case("simclr", "resnet_tiny", "cifar", 32, 8), CPU)
    assert len(with_columns) == 8, "small maps have a kernel of their own there"


def test_the_bare_step_learns_in_every_setting():
    images = [torch.randn(8, 3, 32, 32) for _ in range(2)]
    for setting in bench_settings.candidates(TOY, CPU):
        step = Bare(TOY, setting, images, StepBatch(torch.arange(8)), CPU)
        before = next(step.method.parameters()).detach().clone()
        step()
        assert not torch.equal(before, next(step.method.parameters())), setting


def test_the_rows_of_trials_begin_with_the_fastest():
    views = [torch.randn(8, 3, 32, 32) for _ in range(2)]
    rows = bench_settings.try_settings(TOY, views, StepBatch(torch.arange(8)), CPU, 0.01, compile=False)
    assert len(rows) == 8 and rows[0]["images_per_second"] == max(r["images_per_second"] for r in rows) > 0
    assert bench_settings.chosen(rows).precision == rows[0]["precision"]


def test_end_to_end_has_the_defaults_and_plain_has_nothing():
    split = load("embedded", image_size=32).split("train")
    assert Ours(TOY, split, CPU).training.settings.precision == "auto"
    plain = Ours(TOY, split, CPU, precision="plain")
    plain()
    assert plain.training.plain and plain.training.step == 1


def test_a_rate_counts_images():
    calls = []
    found = rate(lambda: calls.append(1), 10, 0.02, CPU)
    assert found > 10 / 0.02 and len(calls) > 1


def test_the_standard_recipe_has_our_strengths():
    crop, flip, jitter, grey, *_ = bench_standard.recipe(make_views("contest", 32).settings, 32).transforms
    assert crop.scale == (0.08, 1) and flip.p == 0.5 and jitter.p == 0.8 and grey.p == 0.2
    assert jitter.transforms[0].hue == (-0.1, 0.1) and isinstance(crop, transforms.RandomResizedCrop)


@pytest.mark.skipif(not bench_rivals.installed("kornia"), reason="kornia is not installed; the project does not need it")
def test_kornia_makes_views_of_the_same_kind():
    settings = make_views("contest", 32).settings
    views = bench_rivals.kornia_views(settings, 32, CPU)(torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8))
    assert len(views) == 2 and views[0].shape == (16, 3, 32, 32) and not torch.equal(*views)
    assert -2.1 < views[0].mean() < 2.1 and views[0].min() >= -0.5 / 0.24


@pytest.mark.skipif(not bench_rivals.installed("lightly"), reason="lightly is not installed; the project does not need it")
def test_lightly_learns():
    split = load("embedded", image_size=32).split("train")
    items = bench_standard.Items(split, bench_rivals.lightly_views(make_views("contest", 32).settings, 32))
    views, label, index = items[3]
    assert index == 3 and label == int(split.labels[3]) and views[0].shape == (3, 32, 32)
    step = bench_rivals.LightlyStep(TOY, CPU)
    before = next(step.model.parameters()).detach().clone()
    step(([torch.randn(8, 3, 32, 32), torch.randn(8, 3, 32, 32)], torch.zeros(8), torch.arange(8)))
    assert not torch.equal(before, next(step.model.parameters()))


@pytest.mark.slow
def test_one_round_at_toy_size_without_the_rivals(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path))
    monkeypatch.setattr(bench_rivals, "installed", lambda name: False)
    monkeypatch.setattr(bench_measure, "startup", lambda *arguments: FRESH)
    monkeypatch.setattr(small_maps, "gain", lambda: False)
    call = ["--case", "simclr:resnet_tiny:cifar:32:8", "--repeats", "1", "--seconds", "0.01", "--device", "cpu"]
    assert bench.main(call) == 0
    (row,) = json.loads(next((tmp_path / "bench").glob("*.json")).read_text())
    measured = ("bound", "views", "end_to_end", "plain", "standard", "views_standard", "matrix_rate", "flops_per_second")
    assert all(row[name] > 0 for name in measured)
    assert row["lightly"] is None and row["views_lightly"] is None and row["views_kornia"] is None
    assert row["views"] > row["end_to_end"] and 0 < row["share_of_matrix_rate"] < 1
    assert len(row["settings_tried"]) == 4 and row["setting"] == {k: row["settings_tried"][0][k] for k in row["setting"]}
    assert "x standard" in capsys.readouterr().out


@pytest.mark.slow
def test_start_up_is_measured_in_a_fresh_process():
    found = bench_startup.startup("simclr:vit_micro:patch8:32:8", "cpu", compile=False)
    assert found["peak_memory"] > 10**8 and found["startup"]["compile"] is None
    assert found["startup"]["import_torch"] > 0.1 and all(found["startup"][name] > 0 for name in ("build", "first_step", "interpreter"))


@pytest.mark.parametrize(
    ("method", "backbone"), [("supervised", "resnet_tiny"), ("sit", "vit_micro")], ids=["with labels", "with inputs of its own"]
)
def test_any_method_can_be_a_case(method, backbone):
    case = bench_cases.make_case(method, backbone, "auto", 32, 8)
    split = load("embedded", image_size=32).split("train")
    ours = Ours(case, split, CPU)
    ours()
    batch = next(ours.stream)
    step = StepBatch(batch.indices, batch.labels, 0.0, ours.draw)
    Bare(case, Setting("fp32", "contiguous"), ours.views(batch.images, ours.draw), step, CPU)()
    views = [bench_standard.recipe(ours.views.settings, 32)] * ours.views.settings.count
    items = bench_standard.Items(split, lambda image: [make(image) for make in views])
    item = torch.utils.data.default_collate([items[i] for i in range(8)])
    bench_standard.Step(case.build(), CPU)(item)
    assert torch.isfinite(ours.training.losses[0])


def test_cases_are_read_from_words_and_have_defaults():
    case = bench_cases.parse_case("simclr:convnext_tiny:auto:32:64")
    assert (case.stem, case.size, case.batch) == ("patch2", 32, 64)
    assert [c.backbone for c in bench_cases.default_cases(CPU)] == [
        "resnet_fast",
        "resnet18",
        "mobilenetv2",
        "vit_tiny",
        "convnext_tiny",
        "vit_tiny",
        "resnet_tiny",
    ]
    several = bench_cases.default_cases(CPU)[-1].build()
    assert several.views.settings.count == 4 and several.views.settings.small == 2 and several.views.settings.mask > 0
    assert all("moco_v3" in {c.method for c in bench_cases.default_cases(torch.device(kind))} for kind in ("cpu", "cuda"))
    on_gpu = {(c.backbone, c.batch) for c in bench_cases.default_cases(torch.device("cuda"))}
    assert {("resnet18", 512), ("resnet50", 128), ("vit_tiny", 128), ("convnext_tiny", 128), ("mobilenetv2", 256)} <= on_gpu
    with pytest.raises(UserError, match="resnet18"):
        bench_cases.parse_case("simclr:resnet81:cifar:32:64")
    with pytest.raises(UserError, match="Did you mean 'simclr'"):
        bench_cases.parse_case("simclear:resnet18:cifar:32:64")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--batch", "1"],
        ["--repeats", "0"],
        ["--device", "cuda:99"],
        ["--batch", "100000000"],
        ["--case", "simclr:resnet18"],
        ["projection", "h300"],
    ],
)
def test_impossible_calls_are_said(arguments, capsys):
    assert bench.main(arguments) == 2
    assert capsys.readouterr().err.startswith("Error: ")
