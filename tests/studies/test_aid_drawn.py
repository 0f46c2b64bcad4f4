"""Tables and figures of the study of scenes, on records whose truth is known."""

import warnings

import numpy as np
import pytest

from helpers.report import range_figure
from helpers.runs.plan import collect
from helpers.runs.sweep import Outcome
from helpers.studies.aid_remote_sensing import claims as aid
from helpers.studies.aid_remote_sensing import figures, pictures, tables
from helpers.studies.aid_remote_sensing.runs import Place, cell_of, config_of
from helpers.studies.aid_remote_sensing.settings import BACKBONES, COMPANION, SCENES, TESTED, THEIRS
from tests.scenes import LABELS, READOUT, SCOPE, cells_of, places_of, record, settings


@pytest.fixture(autouse=True)
def no_records(monkeypatch, tmp_path):
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "runs"))  # else the committed range tests would be found


@pytest.fixture(scope="module")
def s():
    return settings()


@pytest.fixture(scope="module")
def cells(s):
    return cells_of(s)


def test_the_forensic_table(cells):
    table, runs = tables.forensic_table(cells, READOUT)
    row = table[(table["backbone"] == "ViT") & (table["scaling"] == THEIRS) & (table["rate"] == THEIRS)].iloc[0]
    assert row["accuracy"] == pytest.approx(4.2, abs=0.1) and row["n"] == 3 and row["max rate"] == 10.0 and row["untrained"] == 29
    assert row["published, last"] == 3.6 and row["published, maximum"] == 5.7
    assert table["published, last"].notna().sum() == 3 and len(table) == 12 and len(runs) == 36


def test_rates_that_were_tried_stand_with_how_each_read():
    cells = cells_of(settings("cpu"))
    for made in cells["record"]:
        if not isinstance(made.manifest["resolved"]["rate"], float):
            made.manifest["resolved"] = {"rate": 0.01, "from": "trials", "trials": {"0.003": 40.0, "0.01": 44.0, "0.03": None}}
    table, runs = tables.rate_table(cells)
    assert set(table["found by"]) == {"trials"} and (table["max rate"] == 0.01).all() and (table["at 0.01"] == 44).all()
    assert table["at 0.03"].isna().all() and len(table) == len(runs) == len(set(runs)), "no range test stands behind it"
    assert set(table["backbone"]) == {"ResNet", "ConvNeXt", "ViT"}


def test_every_class_counts_alike_in_the_mean_over_classes(s):
    place = Place("forensic", "ResNet")
    found = record(s, place)
    small = LABELS == np.bincount(LABELS).argmin()
    found.arrays[f"{READOUT}.predictions"] = np.where(small, LABELS, (LABELS + 1) % 30).astype(np.uint8)
    cells = collect([cell_of(s, place)], Outcome({config_of(s, place).id: found}))
    assert tables.mean_class(aid.main(cells, "ResNet"), READOUT) == pytest.approx(100 / 30)
    table, _ = tables.class_table(cells, READOUT)
    assert table["ResNet"].iloc[-1] == 100 and table["test images"].iloc[-1] == small.sum() and table["ViT"].isna().all()


def test_pretexts_by_what_they_gained_and_transfer_beside_its_rivals(s, cells):
    table, _ = tables.pretext_table(cells, READOUT)
    gained = table.set_index(["trained by", "on"])["gained"]
    assert gained["rotation as pretext", COMPANION] == pytest.approx(13.2, abs=0.1)
    assert gained["rotation as pretext", SCENES] == pytest.approx(1.2, abs=0.1)
    table, _ = tables.transfer_table(cells, s, READOUT)
    own = table[table["backbone"] == "ViT"].set_index("encoder trained on")["accuracy"]
    assert own["cifar10, 50,000 images"] == 21.5 and own["nothing"] == 12.5 and own["scenes, 56 px"] == pytest.approx(45.2, abs=0.1)
    table, _ = tables.rate_table(cells)
    assert (table["found by"] == "range test").all() and table["published max rate"].max() == 10


def test_collapsed_runs_are_said_beside_the_number_that_the_mean_is_of(s):
    places = places_of(s)
    made = {config_of(s, p).id: record(s, p, collapsed=p.backbone == "ViT" and p.seed > 0) for p in places}
    cells = collect([cell_of(s, p) for p in places], Outcome(made))
    figure = figures.forensic_plot(cells, READOUT, SCOPE)
    ticks = [label.get_text() for label in figure.axes[2].get_xticklabels()]
    assert ticks[0].endswith("(n = 1†)") and figure.axes[0].get_xticklabels()[0].get_text().endswith("(n = 3)")
    table, _ = tables.forensic_table(cells, READOUT)
    assert table[table["backbone"] == "ViT"]["note"].str.startswith("2 of 3 collapsed, left out").all()


DRAWN = {
    "forensic": lambda cells: figures.forensic_plot(cells, READOUT, SCOPE),
    "backbones": lambda cells: figures.backbone_plot(cells, READOUT, SCOPE),
    "classes": lambda cells: figures.class_plot(cells, READOUT, SCOPE),
    "resolution": lambda cells: figures.resolution_plot(cells, READOUT, SCOPE),
    "pretexts": lambda cells: figures.pretext_plot(cells, READOUT, SCOPE, "cifar10"),
    "counts": lambda cells: figures.count_plot(cells, READOUT, SCOPE),
    "confusion": lambda cells: pictures.confusion_figure(cells, "ResNet", READOUT, SCOPE),
    "range tests": lambda cells: range_figure.range_test_curves(aid.range_tests(cells), cells, SCOPE, parts=("forensic",)),
}


@pytest.mark.parametrize("name", DRAWN)
def test_figures_are_drawn_whole_and_with_nothing_there(name, s, cells):
    for some in (cells, cells_of(s, without=lambda place: True), cells[cells["seed"] == 0]):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure = DRAWN[name](some)
            figure.canvas.draw()
        said = " ".join(text.get_text() for ax in figure.axes for text in ax.texts)
        assert SCOPE in " ".join([figure.get_suptitle(), *(ax.get_title() for ax in figure.axes)])
        if not any(hasattr(each, "evaluations") for each in some["record"]):
            assert "missing" in said
        assert all(ax.get_xlabel() or ax.get_ylabel() or ax.get_title() for ax in figure.axes)


def test_missing_runs_stand_in_every_table(s):
    nothing = cells_of(s, without=lambda place: True)
    for make in (tables.forensic_table, tables.reference_table, tables.resolution_table, tables.pretext_table, tables.count_table):
        table, runs = make(nothing, READOUT)
        assert (table["note"] == "missing").all() and len(table) and not runs
    assert tables.class_table(nothing, READOUT)[0].empty and set(tables.class_table(nothing, READOUT)[0]) >= set(BACKBONES)
    assert (tables.transfer_table(nothing, s, READOUT)[0]["note"] == "missing").all()
    assert (tables.rate_table(nothing)[0]["found by"] == "missing").all()
    assert TESTED in set(tables.forensic_table(nothing, READOUT)[0]["rate"])
