"""The README's generated blocks and the pages in results/, from results that the study's own code wrote into a fake folder."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from helpers.commands import readme
from helpers.core.errors import RecordError, UserError
from helpers.core.files import REPOSITORY
from helpers.judging.claims import COLUMNS, judge_study, read_claims
from helpers.judging.tables import write_claims
from helpers.pages import blocks, overview, study_page
from helpers.report.costs import cost_table
from helpers.report.report import Report
from helpers.report.style import canvas
from helpers.studies.backbone_contest import claims as contest
from helpers.studies.backbone_contest import tables as contest_tables

LABELS = np.arange(200) % 10
TEXT = "# Title\n\nBy hand.\n\n" + "\n".join(f"<!-- begin: {name} -->\nold\n<!-- end: {name} -->\n" for name in overview.BLOCKS)


def cells() -> pd.DataFrame:
    """One ResNet was trained, and the headline run; the rest is missing."""
    manifest = {"encoder": "resnet_tiny", "stem": "stride2", "resolved": {"rate": 0.01}, "seconds": 1800.0}
    arrays = {"labels": LABELS, "linear.predictions": np.where(LABELS < 7, LABELS, 0)}
    evaluations = {"linear": {"top1": 70.0}, "linear_untrained": {"top1": 31.25}}
    made = SimpleNamespace(manifest=manifest, arrays=arrays, evaluations=evaluations, metrics=pd.DataFrame(), id="run-1")
    common = {"optimizer": contest.REFERENCE, "pretext": contest.ALONE, "schedule": "one-cycle", "rate_factor": 1.0, "seed": 0}
    rows = [
        {
            "part": "contest",
            "backbone": b,
            "run": f"run-{b}",
            "record": made if b == "ResNet" else None,
            "encoder": b,
            "stem": "s",
            **common,
        }
        for b in contest.BACKBONES
    ]
    rows.append({**rows[0], "part": "headline", "run": "run-h"})
    return pd.DataFrame(rows)


def execute(results, variant="cpu", **more):
    """Write what the notebook writes."""
    table, report = cells(), Report(results / "backbone_contest" / variant)
    report.table("optimizers", contest_tables.optimizer_table(table)[0], "Accuracy by backbone.", ["run-1"])
    report.table("headline", contest_tables.headline_table(table)[0], "The headline run.", ["run-1"])
    report.table("cost", cost_table(table)[0], "Cost.")
    figure, ((axes,),) = canvas()
    axes.set_title("reduced")
    report.figure("accuracy_by_backbone", figure, "Accuracy of three backbones.")
    write_claims(judge_study("backbone_contest", contest.CLAIMS, table, "reduced", readout="linear", reading="as_written"), report.folder)
    book = {"cells": [{"id": more.get("first", "a"), "cell_type": "markdown", "source": []}]}
    (report.folder / "backbone_contest.ipynb").write_text(json.dumps(book))
    (report.folder / "backbone_contest.html").write_text("<html></html>")
    return report.folder


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path / "results"))
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(TEXT)
    return path


def overview_of(results) -> str:
    return (results / "README.md").read_text()


def block(page, name):
    return re.search(rf"<!-- begin: {name} -->\n(.*?)<!-- end: {name} -->", page.read_text(), re.DOTALL).group(1)


def test_without_results_every_block_says_what_to_run(results, page):
    assert readme.main([], page) == 0
    assert "make study NAME=label_efficiency PRESET=cpu`" in block(page, "main-figure")
    assert "make study NAME=backbone_contest PRESET=cpu`" in block(page, "studies") and not re.search(r"\d\.\d", block(page, "studies"))
    assert "make bench" in overview_of(results) and "No executed notebook yet" in overview_of(results)
    assert not list(results.glob("*/README.md")), "a study without results has no page"
    ledger = (results / "claims.md").read_text()
    assert "## Not judged yet" in ledger and "| C1 | backbone_contest | Under contrast alone" in ledger
    assert "undecided | not computed yet: `make study NAME=backbone_contest PRESET=cpu`" in ledger and not re.search(
        r"undecided \| \d", ledger
    )
    assert "| backbone_contest | not computed yet | — | 11 | 0 | 0 | 11 |" in overview_of(results)
    assert page.read_text().startswith("# Title\n\nBy hand.\n") and "old" not in page.read_text()


def test_the_tables_hold_what_was_measured_and_mark_what_is_missing(results, page):
    execute(results)
    assert readme.main([], page) == 0
    own = (results / "backbone_contest" / "README.md").read_text()
    assert own.startswith("# The backbone contest\n") and "**Question.**" in own
    rows = [line for line in own.splitlines() if line.startswith("|")]
    assert re.search(r"\| ResNet \| RAdam @3/8 \| 84\.885 \| 70\.00 \| \d\d\.\d\d \| \d\d\.\d\d \|.* 1 \| test images", "\n".join(rows))
    assert "| ConvNeXt | RAdam @3/8 | 81.7 | — |" in "\n".join(rows)
    assert "[The runs behind it](cpu/optimizers.md)" in own
    assert "![Accuracy of three backbones.](cpu/accuracy_by_backbone.svg)" in own
    assert "| linear | 31.25 | 70.00 |" in own and "2 of 4 runs, 1.00 hours" in own
    assert 'Preset `cpu`, reading *fair*: `make study NAME=backbone_contest PRESET=cpu ARGS="-p reading fair"`' in own
    assert "| [backbone_contest](backbone_contest/README.md) | cpu | stopped early | 2 of 4 | 1.00 |" in overview_of(results)
    assert "(backbone_contest/cpu/backbone_contest.ipynb)" in overview_of(results)


def test_verdicts_and_ledger(results, page):
    folder = execute(results)
    frame = pd.read_csv(folder / "claims.csv")
    frame.loc[frame["claim"] == "C1", ["ours", "low", "high", "verdict", "reason", "p_for"]] = [
        *(3.5, 1.25, 5.75, "supported", "long " * 60 + "end", 0.01)
    ]
    write_claims(frame, folder)
    fair = execute(results, "cpu-fair")
    readme.main([], page)
    assert "reading fair" not in block(page, "studies"), "a reading whose runs are yet to come says nothing"
    other = pd.read_csv(fair / "claims.csv")
    other.loc[other["claim"] == "C1", ["ours", "low", "high"]] = [0.5, -1.0, 2.0]
    write_claims(other, fair)
    readme.main([], page)
    text, ledger = ((results / name).read_text() for name in ("backbone_contest/README.md", "claims.md"))
    first = next(line for line in text.splitlines() if line.startswith("| C1 |"))
    assert re.search(r"\| 3\.50 \[1\.25, 5\.75\] \| > 0\.5 points \| 0 \| supported \| (supported|undecided) \| — \| long long", first), (
        first
    )
    assert first.endswith("… |") and len(first) < 400
    assert f"1 supported, {len(frame) - 1} undecided" in text
    assert "Preset `quick`, reading *as run*" in text
    said = block(page, "studies")
    assert (
        re.search(r"\*\*Supported\*\* \(reduced, preset cpu, n = 0(; undecided after Holm)?\): Under contrast alone", said)
        and "Ours 3.50 [1.25, 5.75] points" in said
    )
    assert "In the preset cpu, reading fair: undecided, 0.50 [-1.00, 2.00]." in said, "a reading that says otherwise is named"
    assert "| claim | backbone_contest, cpu | backbone_contest, cpu-fair |" in ledger
    assert (
        "| C1 | supported | undecided |" in ledger
        and "long end | [accuracy_by_backbone](backbone_contest/cpu/accuracy_by_backbone.svg) |" in ledger
    )
    rows = pd.read_csv(results / "claims.csv", keep_default_na=False).set_index(["claim", "variant"])
    assert list(rows.loc[("C1", "cpu"), ["ours", "low", "high", "verdict", "scope"]]) == [
        "3.5000",
        "1.2500",
        "5.7500",
        "supported",
        "reduced",
    ]
    assert rows.loc[("C5", "cpu"), "figure"] == "" and rows.loc[("D1", ""), "reason"].startswith("not computed yet")
    assert set(rows.index.get_level_values("claim")) == set(read_claims())
    assert f"| backbone_contest | cpu | reduced | {len(frame)} | 1 | 0 | {len(frame) - 1} |" in overview_of(results)


def test_demo_results_are_left_out(results, page):
    execute(results, "demo")
    execute(results, "demo-fair")
    readme.main([], page)
    assert "demo" not in overview_of(results) + (results / "claims.md").read_text()


def test_a_notebook_that_was_cut_off_says_so(results, page):
    execute(results, first="stopped")
    readme.main([], page)
    assert "| stopped early |" in overview_of(results)


def test_speed(results, page):
    case = {"backbone": "resnet18", "stem": "cifar", "batch": 256, "end_to_end": 90.4, "rounds": 3, "device": {"name": "A chip"}}
    ratios = {"ratio_to_standard": 2.25, "ratio_of_views": 5.0, "ratio_to_bound": 0.9}
    projected = {"backbone": "resnet50", "stem": "cifar", "batch": 512, "seconds_an_epoch_eager": 4.18, "seconds_an_epoch_graph": 4.02}
    (results / "bench").mkdir()
    (results / "bench" / "a-chip.json").write_text(json.dumps([case | ratios]))
    readouts = {"count": 500, "width": 8, "test": 100, "device": {"name": "A chip"}, "points_from_sklearn": {"fit": -0.1}}
    readouts |= {"fit_times_sklearn": 4.25, "probe_times_sklearn": 2.0, "knn_over_product": 1.5}
    (results / "bench" / "a-chip-readouts.json").write_text(json.dumps(readouts))
    together = [{"backbone": "resnet_tiny", "ratio": 1.26, "workers": 2, "device": {"name": "A chip"}}]
    (results / "bench" / "a-chip-together.json").write_text(json.dumps(together))
    (results / "bench" / "same-numbers.csv").write_text(
        'encoder,n,fast − plain,spread of seeds,"step time, plain / fast"\nvit_micro,3,-0.2,0.9,2.04\nresnet_tiny,0,,,\n', encoding="utf-8"
    )
    (results / "bench" / "projection-z1.json").write_text(json.dumps({"chip": {"name": "Z1"}, "rows": [projected]}))
    readme.main([], page)
    text = overview_of(results)
    assert "| simclr, resnet18 (cifar), batch 256 | 90.4 | 0.90 | 2.25 | — | — | 5.0 |" in text
    assert "(bench/projection-z1.md): a projection, never measured" in text
    assert "| simclr, resnet50 (cifar), batch 512 | 4.2 | 4.0 |" in text
    assert "500 x 8 features on A chip: one fit 4.2 times as fast as scikit-learn's LogisticRegression (-0.10 points)" in text
    assert "(bench/a-chip-together.md), 2 processes on A chip" in text and "resnet_tiny 1.26." in text
    assert "plain fp32: vit_micro -0.20 (seeds spread over 0.90, n = 3)." in text


def test_check_writes_nothing_and_tells_when_results_have_moved_on(results, page, capsys):
    assert readme.main(["--check"], page) == 1
    assert page.read_text() == TEXT and not (results / "claims.md").exists()
    assert readme.main([], page) == 0 and readme.main(["--check"], page) == 0
    execute(results)
    capsys.readouterr()
    assert readme.main(["--check"], page) == 1
    assert "README.md is not what the results give: run `make results-tables`" in capsys.readouterr().err


def test_writing_twice_changes_nothing(results, page):
    execute(results)
    readme.main([], page)
    first = page.read_text()
    readme.main([], page)
    assert page.read_text() == first


@pytest.mark.parametrize(
    "text, says",
    [
        ("<!-- begin: main-figur -->\n<!-- end: main-figur -->", "'main-figure'"),
        ("<!-- begin: studies -->\n", "no partner: <!-- begin: studies -->"),
        ("<!-- end: studies -->\n", "no partner"),
        ("<!-- begin: studies -->\n<!-- begin: main-figure -->\n<!-- end: studies -->\n", "marker inside"),
    ],
)
def test_markers_that_are_wrong(results, text, says):
    with pytest.raises(UserError, match=re.escape(says)):
        readme.render(text)


def test_damaged_tables_are_errors_not_blanks(results, page, capsys):
    folder = execute(results)
    (folder / "optimizers.csv").write_text("")
    assert readme.main([], page) == 2
    assert "optimizers.csv" in capsys.readouterr().err and page.read_text() == TEXT
    write_claims(pd.DataFrame([dict.fromkeys(COLUMNS, "C99") | {"level": 95, "needs": None}]), folder)
    with pytest.raises(RecordError, match="C99.*make study NAME=backbone_contest PRESET=cpu"):
        blocks.found_verdicts(folder)


def test_presets_are_those_of_the_file():
    rows = study_page.presets("backbone_contest").splitlines()
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["`demo`", "`quick`", "`cpu`", "`gpu`", "`paper`"]
    assert "| paper | cifar10 | all | all |" in rows[-1] and "| 500 |" in rows[-1]


def test_the_repository_shows_every_block():
    found = re.findall(r"<!-- begin: ([\w-]+) -->", (REPOSITORY / "README.md").read_text())
    assert sorted(found) == sorted(overview.BLOCKS)


def test_the_race_says_how_far_it_went_or_how_to_run_it(results, page):
    columns = {"preset": ["cpu1", "cpu", "cpu60"], "minutes": [1, 4, 60], "kNN at the end (%)": [50.04, None, 80.0]}
    columns |= {"seconds at the end": [61.0, None, 2400.0]}
    columns |= {"n": [3, 0, 1], "lightly (%)": [None, 20.0, 45.0], "device": ["chip", "", "chip"]}
    assert readme.main([], page) == 0 and "make study NAME=speedrun PRESET=cpu60`" in block(page, "studies")
    report = Report(results / "speedrun" / "cpu60")
    report.table("frontier", pd.DataFrame(columns), "At the end of each budget.", ["x-1"])
    report.figure("frontier_curves", canvas()[0], "Curves.")
    assert readme.main([], page) == 0
    assert "50.0 % (n = 3) in 1, 80.0 % (n = 1) in 40 minutes on chip; lightly's SimCLR 45.0 % in 60 minutes." in block(page, "studies")
    report.table(
        "frontier", pd.DataFrame(columns | {"device": ["chip", "", "other"], "its device": ["third"] * 3}), "On two machines.", ["x-1"]
    )
    assert readme.main([], page) == 0
    assert (
        "50.0 % (n = 3) in 1 minutes on chip; 80.0 % (n = 1) in 40 minutes on other; lightly's SimCLR 45.0 % in 60 minutes on third."
        in block(page, "studies")
    )
    own = (results / "speedrun" / "README.md").read_text()
    assert "| cpu60 | 60 | 80" in own and "Preset `cpu60`" in own and "Not computed" in own
