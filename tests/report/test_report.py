import base64
import io
import json
import os
import re

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers.core.errors import RecordError, UserError
from helpers.report.report import Report, cell, lighter, markdown, slimmed
from helpers.report.style import SERIES, canvas, class_colours


def drawn():
    figure, ((axes,),) = canvas()
    axes.plot([0, 1], [2, 3], label="a")
    axes.set_title("reduced")
    return figure


def table():
    return pd.DataFrame(
        {"name": ["a|b", "<c>"], "published": [84.885, None], "ours": [63.1264, float("nan")], "max rate": [0.00024, 1.0], "n": [3, 0]}
    )


def test_numbers_as_a_reader_wants_them():
    assert [cell("ours", v) for v in (63.1264, 0.00024, float("nan"), None, 3, 0.0)] == ["63.13", "0.00024", "—", "—", "3", "0.00"]
    assert cell("published", 84.885) == "84.885" and cell("published", 88.0) == "88"


def test_markdown_marks_what_is_missing_and_escapes_bars():
    lines = markdown(table()).splitlines()
    assert lines[0] == "| name | published | ours | max rate | n |"
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: |"
    assert lines[2] == "| a\\|b | 84.885 | 63.13 | 0.00024 | 3 |"
    assert lines[3] == "| <c> | — | — | 1.00 | 0 |"


def test_table_is_written_thrice_with_its_runs(tmp_path):
    report = Report(tmp_path)
    shown = report.table("main", table(), "Accuracy", ["r1", "r2", "r1"])
    assert pd.read_csv(tmp_path / "main.csv")["ours"][0] == 63.1264
    assert (tmp_path / "main.md").read_text().endswith("Runs: `r1`, `r2`\n")
    assert "&lt;c&gt;" in shown.data and "<c>" not in shown.data and "r1, r2" in shown.data
    entry = json.loads((tmp_path / "index.json").read_text())[0]
    assert entry == {"name": "main", "kind": "table", "caption": "Accuracy", "files": ["main.csv", "main.md"], "runs": ["r1", "r2"]}


def test_figure_carries_its_alt_text_and_is_the_same_twice(tmp_path):
    first, second = Report(tmp_path / "a"), Report(tmp_path / "b")
    shown = first.figure("curve", drawn(), "A line that rises", ["r1"])
    second.figure("curve", drawn(), "A line that rises", ["r1"])
    svg = (tmp_path / "a" / "curve.svg").read_text()
    assert svg == (tmp_path / "b" / "curve.svg").read_text()
    assert "<title>A line that rises</title>" in svg and "<metadata>" not in svg
    data, metadata = shown._repr_mimebundle_()
    assert metadata["image/png"]["alt"] == "A line that rises" if "image/png" in metadata else metadata["alt"] == "A line that rises"


def test_a_drawing_is_lean_and_loses_nothing(tmp_path):
    figure = drawn()
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 1)).astype(np.uint8).repeat(3, axis=2)
    figure.axes[0].imshow(noise, interpolation="none")
    figure.axes[0].set_title("words 0.12345 stay text")
    figure.axes[0].set_xlabel("$10^2$")  # a formula, which comes before the title and names one font where words name three
    Report(tmp_path).figure("curve", figure, "A line")
    svg = (tmp_path / "curve.svg").read_text()
    assert not re.search(r' d="[^"]*\d\.\d{2}', svg) and "\n  " not in svg and ">words 0.12345 stay text<" in svg
    assert svg.count("font-family") == 1 and "sans-serif" in svg.partition("font-family:")[2].partition('"')[0]
    assert all(re.fullmatch(r"[\d.]+px", size) for size in re.findall(r"font-size:\s?([^;\"]+)", svg))
    (encoded,) = re.findall(r"data:image/png;base64,([^\"]+)", svg)
    shown = Image.open(io.BytesIO(base64.b64decode(encoded)))
    assert "A" not in shown.mode and np.array_equal(np.sort(np.asarray(shown.convert("RGB")).ravel()), np.sort(noise.ravel()))


def test_pictures_in_a_drawing_have_few_colours_that_are_near_their_own():
    def after(picture: np.ndarray) -> tuple[Image.Image, int, int]:
        given = io.BytesIO()
        Image.fromarray(picture).save(given, "PNG")
        small = base64.b64decode(slimmed(base64.b64encode(given.getvalue()).decode()))
        return Image.open(io.BytesIO(small)), len(small), len(given.getvalue())

    rng = np.random.default_rng(0)
    marks = np.zeros((250, 250, 4), np.uint8)
    for row, column in rng.integers(0, 245, (600, 2)):
        marks[row : row + 4, column : column + 4, :3] = rng.choice([0, 90, 200], 3)
        marks[row : row + 4, column : column + 4, 3] = rng.integers(6, 24, (4, 4)) * 10  # an edge is half transparent
    found, size, before = after(marks)
    off = np.abs(np.asarray(found.convert("RGBA"), int) - marks)[marks[:, :, 3] > 0]
    assert size < before and len(np.unique(marks.reshape(-1, 4), axis=0)) > 256
    assert off.mean() < 3 and off.max() <= 30
    photograph = rng.integers(0, 255, (60, 60, 4), np.uint8)
    assert np.array_equal(np.asarray(after(photograph)[0]), photograph), "on a transparent ground"
    shades = np.linspace(0, 200, 32)
    thumbnail = np.stack([*np.meshgrid(shades, shades), np.full((32, 32), 90)], axis=2) + rng.normal(0, 12, (32, 32, 1))
    found, size, before = after(thumbnail.clip(0, 255).astype(np.uint8))
    assert size < before and np.abs(np.asarray(found.convert("RGB")) - thumbnail.clip(0, 255)).mean() < 4


def test_a_picture_in_a_notebook_has_few_colours(tmp_path):
    shown = Report(tmp_path).figure("curve", drawn(), "A line")
    picture = Image.open(io.BytesIO(shown.data))
    assert picture.mode == "P" and len(picture.getcolors()) <= 32 and picture.width == 100 * drawn().get_figwidth()


def test_thin_lines_keep_their_colours_in_a_notebook():
    figure, ((axes,),) = canvas(height=4)
    for place, colour in enumerate(SERIES):
        axes.plot([0, 1], [place, place + 0.5], color=colour, lw=1)
        axes.plot([0.5], [place + 0.3], "o", color=colour)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=100)
    colours = np.array([found for _, found in Image.open(io.BytesIO(lighter(png.getvalue()))).convert("RGB").getcolors()])
    for colour in SERIES:
        own = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])
        assert np.abs(colours - own).sum(1).min() < 40, colour


def test_show_and_files(tmp_path):
    report = Report(tmp_path)
    report.figure("curve", drawn(), "A line")
    assert report.show("curve").alt == "A line"
    assert report.files() == ["curve.svg", "index.json"] and Report(tmp_path).files() == []
    with pytest.raises(UserError, match="curve"):
        report.show("curv")


def test_bad_names_and_missing_words_are_refused(tmp_path):
    report = Report(tmp_path)
    with pytest.raises(UserError, match="cannot name"):
        report.table("../main", table(), "Accuracy")
    with pytest.raises(UserError, match="alt text"):
        report.figure("curve", drawn(), " ")
    with pytest.raises(UserError, match="list of ids"):
        report.table("main", table(), "Accuracy", "r1")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_a_clear_error(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(RecordError, match="read-only"):
        Report(tmp_path / "x").table("main", table(), "Accuracy")


def test_a_folder_that_cannot_be_is_a_clear_error(tmp_path):
    (tmp_path / "x").write_text("a file where the folder should be")
    with pytest.raises(RecordError, match="Cannot write"):
        Report(tmp_path / "x").table("main", table(), "Accuracy")


def test_no_two_classes_look_the_same():
    assert len(set(class_colours(10))) == 10 and len({colour for colour, _ in class_colours(10)}) == 10
    assert len(set(class_colours(37))) == 37
