"""The page of methods: what every method must say of itself, and the page from records that were made up."""

import copy
import re

import numpy as np
import pytest

from helpers.commands import methods as command
from helpers.commands import readme
from helpers.core.errors import UserError
from helpers.methods import METHODS
from helpers.pages import methods_page
from helpers.pages.methods_page import MAIN, configs_of, page, page_path, presets, published
from helpers.runs import records
from helpers.views import RECIPES

# The names that methods go by; the page's data may speak of these alone.
NAMES = {
    *("simclr", "supervised", "sit", "instdisc", "moco_v1", "moco_v2", "moco_v3", "byol", "simsiam", "swav", "barlow_twins"),
    *("relic", "relic_v2", "rotnet", "split_brain", "masked_patches", "vicreg", "dino"),
}
LABELS = np.arange(400) % 10


@pytest.fixture
def results(tmp_path, monkeypatch):
    for name in ("RESULTS_DIR", "RUNS_DIR", "CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    return tmp_path / "results_dir"


def record(name, preset=MAIN, right=160, seed=0, **manifest):
    """A record of that method's run, in which the probe calls so many of 400 test images right."""
    config = configs_of(name, preset)[0].model_copy(update={"seed": seed})
    guesses = np.where(np.arange(400) < right, LABELS, LABELS + 1)
    top1 = 100 * right / 400
    evaluations = {
        "linear": {"top1": top1},
        "linear_untrained": {"top1": 28.25},
        "knn10": {"top1": 33.5},
        "knn10_untrained": {"top1": 21.0},
    }
    arrays = {"labels": LABELS.astype(np.uint8), "linear.predictions": guesses.astype(np.uint8)}
    if config.evaluation.blocks:
        evaluations["linear_block"] = {"top1": 47.75, "block": "layer3", "blocks": {"layer3": 47.75, "layer4": top1}}
        arrays["linear_block.predictions"] = arrays["linear.predictions"]
    row = {"loss": 1.0, "spread": 0.875, "effective_rank": 41.5}
    return records.save(
        config.id,
        config=config.model_dump(mode="json"),
        manifest={"collapsed": False} | manifest,
        metrics=[row | {"epoch": epoch + 1} for epoch in range(config.training.epochs)],
        evaluations=evaluations,
        arrays=arrays,
    )


def row_of(text: str, name: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"| [{METHODS[name].card.title}]"))


def section_of(text: str, name: str) -> str:
    return text.partition(f"\n## {METHODS[name].card.title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_says_what_it_is(name):
    card = METHODS[name].card
    for field in ("title", "paper", "loss", "recipe", "kept"):
        text = getattr(card, field)
        assert text.strip() == text != "", f"{name}: card.{field}"
    assert "\n" not in card.loss and "`" not in card.loss, "the loss is one line, and stands in code"
    assert card.recipe in RECIPES


def test_titles_are_places_of_their_own():
    assert len({methods_page.anchor(kind.card.title) for kind in METHODS.values()}) == len(METHODS)


@pytest.mark.parametrize("preset", presets())
def test_every_method_has_a_run_under_the_shared_protocol(preset):
    shared = presets()[preset]
    assert set(shared["methods"]) <= NAMES
    for name in METHODS:
        configs = configs_of(name, preset)
        assert len({config.id for config in configs}) == shared["seeds"]
        own = shared["methods"].get(name, {})
        assert configs[0].training.epochs == shared["training"]["epochs"] and configs[0].data.dataset == shared["data"]["dataset"]
        assert configs[0].views.recipe == own.get("views", {}).get("recipe", METHODS[name].card.recipe)
        assert configs[0].evaluation.untrained and configs[0].evaluation.maps is None and not configs[0].evaluation.cka
        assert configs[0].evaluation.blocks == (name in ("rotnet", "split_brain"))


def test_published_figures_are_whole_and_of_methods_that_exist():
    assert set(published()) <= NAMES
    for name, figures in published().items():
        assert figures == sorted(figures, key=lambda figure: -figure["top1"])
        for figure in figures:
            assert set(figure) - {"epochs"} == {"top1", "protocol", "net", "source"}, name
            assert 10 < figure["top1"] < 100 and figure.get("epochs", 1) > 0


def test_without_records_every_method_says_how_to_run_it(results):
    text = page()
    for name in METHODS:
        assert "| not run yet | — |" in row_of(text, name)
        assert "not run yet: `make methods PRESET=cpu`" in section_of(text, name)
        assert METHODS[name].card.loss in section_of(text, name) and METHODS[name].card.paper in section_of(text, name)
    assert f"*{len(METHODS)} of {len(METHODS)} not run yet" in text and "**not comparable by level**" in text
    assert "88.89" not in row_of(text, "rotnet") and "| 89.06 | convolutional classifier on block 2 |" in row_of(text, "rotnet")


def test_a_run_stands_beside_the_best_published_figure(results):
    made = record("simclr")
    text = page()
    assert re.search(r"\| 40\.00 \[3\d\.\d\d, 4\d\.\d\d\] \| 28\.25 \| — \| 33\.50 \| \d+, 5,000, resnet_tiny", row_of(text, "simclr"))
    assert "| 94 | linear | 1000, ResNet-50 |" in row_of(text, "simclr")
    said = section_of(text, "simclr")
    assert f"run `{made.id}`: spread 0.88, effective rank 41.50, not collapsed" in said
    assert "recipe `simclr_small`: 2 views; cropped to 20 to 100 % of the area; mirrored with probability 0.5" in said
    assert "`temperature` 0.5" in said and "adamw at 0.003" in said and "A checkpoint keeps:** weights alone" in said
    assert f"*{len(METHODS) - 1} of {len(METHODS)} not run yet" in text


def test_the_best_block_is_named_where_blocks_were_probed(results):
    record("rotnet")
    text = page()
    assert "| 47.75 (layer3) |" in row_of(text, "rotnet")
    assert re.search(r"best block 47\.75 \[.*\] \(layer3\); kNN 10 33\.50", section_of(text, "rotnet"))


def test_a_collapsed_run_is_flagged(results):
    record("supervised", collapsed=True)
    record("simclr")
    text = page()
    assert "**(collapsed)**" in row_of(text, "supervised") and "**collapsed**" in section_of(text, "supervised")
    assert "ollapsed" not in row_of(text, "simclr")


def test_a_method_without_a_published_figure_says_so(results, monkeypatch):
    monkeypatch.setattr(methods_page, "published", dict)
    text = page()
    assert "| none found | — | — | — |" in row_of(text, "simclr") and "**Published:** none found" in section_of(text, "simclr")


def test_several_seeds_give_an_interval_over_seeds_without_those_that_collapsed(results, monkeypatch):
    table = copy.deepcopy(presets())
    table["cpu"]["seeds"] = 3
    monkeypatch.setattr(methods_page, "presets", lambda: table)
    for seed, right in enumerate((160, 168, 40)):
        record("simclr", right=right, seed=seed, collapsed=right == 40)
    row = row_of(page(), "simclr")
    assert "| 41.00 [" in row and "(1 of 3 collapsed, left out)" in row


def test_the_page_and_its_table_among_the_results_are_written_with_its_tables(results, tmp_path):
    record("simclr")
    text = tmp_path / "README.md"
    text.write_text("By hand.\n")
    assert readme.main([], text) == 0 and readme.main(["--check"], text) == 0
    assert (results / "methods.md").read_text() == page()
    assert re.search(
        r"\| \[SimCLR\]\(methods\.md#simclr\) \| `simclr` \| 40\.00 \[.*\] \| 28\.25 \| 94 \| linear \|",
        (results / "README.md").read_text(),
    )
    record("supervised")
    assert readme.main(["--check"], text) == 1


def test_the_plan_lists_the_runs_and_trains_nothing(results, capsys):
    made = record("simclr")
    assert command.main(["--plan"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(METHODS)
    assert [line.split()[-1] == "recorded" for line in lines[1:]] == [name == "simclr" for name in METHODS]
    assert made.id in lines[1 + list(METHODS).index("simclr")]
    assert not results.exists() and [path.name for path in records.runs_dir().iterdir()] == [made.id]


def test_what_has_a_record_is_not_trained_again(results, capsys):
    record("simclr", "demo")
    assert command.main(["--preset", "demo", "--only", "simclr"]) == 0
    assert "0 trained now, 1 from before" in capsys.readouterr().out
    assert "| 40.00 [" in row_of(page_path("demo").read_text(), "simclr") and not page_path(MAIN).exists()


def test_a_run_is_trained_and_put_on_the_page(results, monkeypatch, capsys):
    table = copy.deepcopy(presets())
    table["demo"]["data"] |= {"train_images": 64, "test_images": 32, "options": {"train": 64, "test": 32}}
    table["demo"]["training"] |= {"epochs": 1}
    monkeypatch.setattr(methods_page, "presets", lambda: table)
    assert command.main(["--preset", "demo", "--only", "supervised", "--device", "cpu"]) == 0
    said = section_of(page_path("demo").read_text(), "supervised")
    assert (
        re.search(r"linear \d+\.\d\d \[.*untrained \d.*run `embedded-[0-9a-f]{12}`: spread \d", said)
        and "1 trained now" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--only", "simclrr"], "'simclr'"),
        (["--preset", "dmo"], "'demo'"),
        (["--only", "simclr", "--workers", "0"], "at least one has to work"),
    ],
)
def test_wrong_calls_are_said(results, capsys, arguments, says):
    assert command.main(arguments) == 2
    assert says in capsys.readouterr().err and not results.exists()


def test_what_cannot_work_is_said_before_anything_is_trained(results, monkeypatch, capsys):
    table = copy.deepcopy(presets())
    table["demo"]["data"] |= {"options": {"train": 512, "test": 256}}
    table["demo"]["methods"]["swav"] = {"method": {"options": {"queue": 4096}}}
    monkeypatch.setattr(methods_page, "presets", lambda: table)
    assert command.main(["--preset", "demo", "--only", "simclr", "swav"]) == 2
    assert "swav cannot be trained on resnet_tiny: queue = 4096 is larger than the 512" in capsys.readouterr().err
    assert not records.runs_dir().exists()


def test_a_wrong_line_of_the_protocol_names_its_place(monkeypatch):
    table = copy.deepcopy(presets())
    table["demo"]["methods"] = {"simclr": {"method": {"options": {"temprature": 1.0}}}, "byol": {"trainin": {}}}
    monkeypatch.setattr(methods_page, "presets", lambda: table)
    with pytest.raises(UserError, match="methods.toml, preset demo, method simclr.*temperature"):
        configs_of("simclr", "demo")
    with pytest.raises(UserError, match="section of demo.methods.byol.*'training'"):
        configs_of("byol", "demo")
