"""Progress reaches whoever watches: a file in batch, a bar in a notebook that a person runs, plain lines elsewhere."""

import ipywidgets
from IPython import display

from helpers.training import epoch_report as progress

ROW = {"epoch": 2, "loss": 4.5, "knn": 31.25, "seconds": 3.0}


def test_in_batch_one_line_an_epoch_goes_to_the_file_and_not_into_the_notebook(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PROGRESS_FILE", str(tmp_path / "lines"))
    report = progress.EpochReport("run-1")
    report(ROW, 5)
    report(ROW | {"epoch": 3, "knn": float("nan")}, 5)
    first, second = (tmp_path / "lines").read_text().splitlines()
    assert "run-1" in first and "epoch 2/5" in first and "loss 4.500" in first and "kNN 31.2 %" in first
    assert "epoch 3/5" in second and "kNN" not in second
    assert capsys.readouterr().out == ""


def test_in_lab_one_bar_moves(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(progress, "in_lab", lambda: True)
    monkeypatch.setattr(display, "display", shown.append)
    report = progress.EpochReport("run-1")
    report(ROW, 5)
    report(ROW | {"epoch": 5}, 5)
    assert len(shown) == 1 and isinstance(shown[0], ipywidgets.VBox)
    bar, text = shown[0].children
    assert (bar.value, bar.max) == (5, 5) and "epoch 5/5" in text.value
    assert capsys.readouterr().out == ""


def test_outside_notebooks_lines_are_printed(monkeypatch, capsys):
    monkeypatch.delenv("PROGRESS_FILE", raising=False)
    monkeypatch.setattr(progress, "in_lab", lambda: False)
    progress.EpochReport("run-1")(ROW, 5)
    assert capsys.readouterr().out.startswith("run-1  epoch 2/5")
