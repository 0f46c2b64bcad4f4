"""What is committed against the records: a toy study whose notebook, records, tables, figure, verdicts and README are all made here."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from helpers.commands import claims, readme, verify
from helpers.core.files import results_dir
from helpers.judging.claims import judge_study
from helpers.pages.redraw import parameters_of, redraw
from helpers.runs import records
from helpers.runs.config import RunConfig
from helpers.runs.plan import Cell
from helpers.runs.seals import SEAL, broken
from helpers.studies.backbone_contest import claims as contest_claims
from helpers.studies.backbone_contest import runs as contest_runs
from helpers.studies.backbone_contest import settings as contest_settings

PARAMETERS = 'preset = "demo"\nreading = "as_written"\ndevice = "auto"\nworkers = None\ntime_budget = None\ntrain = True\nseeds = None\n'
CELLS = (
    """
import pandas as pd

from helpers.runs.material import material
from helpers.studies.open import open_study
from helpers.report.style import canvas

study = open_study("backbone_contest", globals())
s, report = study.settings, study.report
study.card()
""",
    """
cells = study.run()
found = list(cells["record"])
""",
    """
rows = [{"seed": n, "net": "toy", "accuracy": r.evaluations["linear"]["top1"] / 3} for n, r in enumerate(found)]
report.table("accuracy", pd.DataFrame(rows), "Accuracy by seed.", [r.id for r in found])
""",
    """
figure, ((axes,),) = canvas(height=2, width=3)
axes.plot([row["accuracy"] for row in rows])
axes.imshow([[row["accuracy"]] for row in rows], aspect="auto")
report.figure("curve", figure, "Accuracy by seed.", [r.id for r in found])
""",
    """
report.figure("samples", canvas(height=len(material(study.configs[0].data).test.images))[0], "Images.")
""",
    "study.judge(cells)",
)
CONFIGS = [RunConfig(data={"dataset": "cifar10"}, seed=n) for n in range(3)]
PLACE = "results/backbone_contest/cpu"


def grid(s) -> list[Cell]:
    return [Cell(config, {"part": "contest"}) for config in CONFIGS[: s.seeds]]


def verdicts(study, cells) -> pd.DataFrame:
    found = judge_study(study.name, {}, cells, study.scope).astype({"ours": float, "low": float, "high": float})
    ours = sum(record.evaluations["linear"]["top1"] / 3 for record in cells["record"])
    found.loc[found["claim"] == "C1", ["ours", "low", "high"]] = [ours, 1.5, 99.25]
    return found


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """(notebooks, README) of a repository whose results are what its three records give."""
    for name in ("RUNS_DIR", "DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RESULTS_DIR", str(tmp_path / "results"))
    monkeypatch.setattr(contest_runs, "cells", grid)
    monkeypatch.setattr(contest_claims, "verdicts", verdicts)
    monkeypatch.setattr(contest_settings, "SHOWN", ("accuracy", "curve"))
    monkeypatch.setattr(readme.overview, "FIRST", ("backbone_contest", "curve"))
    monkeypatch.setattr(readme.methods_page, "page", lambda: "Methods.\n")
    for config in CONFIGS:
        values = {
            "config": config.model_dump(mode="json"),
            "manifest": {"stem": "cifar"},
            "evaluations": {"linear": {"top1": 40.5 + config.seed}},
        }
        epochs = [{"epoch": n + 1, "loss": 1.25} for n in range(config.training.epochs)]
        records.save(config.id, **values, metrics=epochs, arrays={"labels": np.arange(4, dtype=np.uint8)})
    notebooks, page = tmp_path / "notebooks", tmp_path / "README.md"
    notebooks.mkdir()
    cells = [{"cell_type": "code", "source": PARAMETERS, "metadata": {"tags": ["parameters"]}}]
    cells += [{"cell_type": "code", "source": source, "metadata": {}} for source in CELLS]
    (notebooks / "backbone_contest.ipynb").write_text(json.dumps({"cells": cells}))
    folder = tmp_path / "results" / "backbone_contest" / "cpu"
    folder.mkdir(parents=True)
    done = redraw(folder, notebooks, tmp_path / "results")
    assert not done.problem, done.problem
    entries = json.loads((folder / "index.json").read_text())
    entries.append({"name": "samples", "kind": "figure", "alt": "Images.", "files": ["samples.svg"], "runs": []})
    (folder / "index.json").write_text(json.dumps(entries))
    (folder / "samples.svg").write_text("<svg/>")
    page.write_text("".join(f"<!-- begin: {name} -->\n<!-- end: {name} -->\n" for name in ("studies",)))
    assert claims.main([], notebooks, page) == 0
    return notebooks, page


def check(toy, capsys) -> tuple[int, str]:
    capsys.readouterr()
    code = verify.main([], *toy)
    told = capsys.readouterr()
    return code, told.out + told.err


def alter(path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text, (path.name, old)
    path.write_text(text.replace(old, new, 1))


def test_untouched_it_passes_and_names_what_it_could_not_check(toy, capsys):
    code, told = check(toy, capsys)
    assert code == 0 and "Differs" not in told
    assert f"Not checked: {PLACE}, samples: Dataset 'cifar10' is not here" in told
    assert "Everything is what the records give (3 records, 1 variants," in told


@pytest.mark.parametrize(
    "file, old, new, says",
    [
        (
            "accuracy.csv",
            "1,toy,13.83333333",
            "1,toy,13.83333334",
            r"accuracy.csv: row 2 \(toy\), column 'accuracy': written 13.83333334, the records give 13.83333333",
        ),
        ("accuracy.csv", "2,toy,", "3,toy,", r"accuracy.csv: row 3 \(toy\), column 'seed': written 3, the records give 2"),
        ("accuracy.md", "| 13.83 |", "| 13.84 |", r"accuracy.md: line 6 \(toy\), column 'accuracy': written 13.84, the records give 13.83"),
        (
            "claims.csv",
            "99.2500",
            "98.2500",
            r"claims.csv: row 1 \(C1, backbone_contest\), column 'high': written 98.2500, the records give 99.2500",
        ),
        (
            "index.json",
            "Accuracy by seed.",
            "Accuracy of all.",
            r"index.json: accuracy, caption: written Accuracy of all., the records give",
        ),
    ],
)
def test_one_digit_of_a_variant(toy, capsys, file, old, new, says):
    alter(results_dir() / "backbone_contest" / "cpu" / file, old, new)
    code, told = check(toy, capsys)
    assert code == 1 and re.search(f"Differs: {PLACE}/{says}", told), told
    assert len(re.findall("Differs:", told)) == 1, told
    assert 'make study NAME=backbone_contest PRESET=cpu ARGS="-p train false"' in told


def test_one_digit_of_a_record(toy, capsys):
    run = CONFIGS[1].id
    alter(records.runs_dir() / run / "record.json", "41.5", "41.6")
    code, told = check(toy, capsys)
    assert code == 1 and "record.json does not match its hash" in told
    assert f"{PLACE}/accuracy.csv: row 2 (toy), column 'accuracy': written 13.83333333, the records give 13.86666667" in told
    assert f"Differs: {PLACE}/curve.svg: " in told


def test_one_digit_of_the_pages(toy, capsys):
    _, page = toy
    alter(page, "41.50 [1.50, 99.25]", "41.50 [1.60, 99.25]")
    alter(results_dir() / "backbone_contest" / "README.md", "| 41.50 [1.50, 99.25]", "| 41.50 [1.60, 99.25]")
    alter(results_dir() / "claims.csv", "99.2500", "99.2600")
    alter(results_dir() / "claims.md", "| C2 | undecided |", "| C2 | supported |")
    code, told = check(toy, capsys)
    assert code == 1 and len(re.findall("Differs:", told)) == 4, told
    assert re.search(
        r"results/backbone_contest/README.md: line \d+ \(C1, Under contrast.*\), column 'ours \[95 %\]': written 41.50 \[1.60", told
    )
    assert re.search(r"Differs: README.md: block 'studies', line \d+ \(.*The backbone contest.*\), column 'answer': ", told)
    assert re.search(
        r"Differs: results/claims.csv: row \d+ \(C1, backbone_contest\), column 'high': written 99.2600, the records give 99.2500", told
    )
    assert re.search(
        r"Differs: results/claims.md: line \d+ \(C2, undecided\), column 'backbone_contest, cpu': written supported, the records give undecided",
        told,
    )


def test_records_that_are_gone_unsealed_or_damaged_are_named_and_stay_where_they_are(toy, capsys):
    gone, unsealed, damaged = (records.runs_dir() / config.id for config in CONFIGS)
    gone.rename(gone.parents[2] / "elsewhere")
    seal = records.runs_dir() / SEAL
    seal.write_text("".join(line for line in seal.read_text().splitlines(True) if unsealed.name not in line))
    (damaged / "arrays.npz.xz").write_bytes(b"PK")
    code, told = check(toy, capsys)
    assert code == 1 and f"results/runs/{gone.name} is gone, and {PLACE} rests on it" in told
    assert f"{unsealed.name} has no line in {SEAL}" in told and "arrays.npz.xz does not match its hash" in told
    assert damaged.is_dir() and not (damaged.parent / f".damaged-{damaged.name}").exists()


def test_a_table_that_is_missing_or_of_another_time_is_named(toy, capsys):
    folder = results_dir() / "backbone_contest" / "cpu"
    (folder / "accuracy.md").rename(folder / "older.md")
    code, told = check(toy, capsys)
    assert code == 1 and f"{PLACE}/accuracy.md: is not there" in told and f"{PLACE}/older.md: no table or figure" in told


def test_claims_seals_what_is_new_and_judges_from_the_records(toy, capsys):
    notebooks, page = toy
    folder, old = records.runs_dir() / CONFIGS[0].id, records.runs_dir() / CONFIGS[1].id
    seal = records.runs_dir() / SEAL
    seal.write_text("".join(line for line in seal.read_text().splitlines(True) if folder.name not in line))
    alter(old / "record.json", "41.5", "71.5")
    assert claims.main([], notebooks, page) == 0
    assert len(broken(records.runs_dir())) == 1, "a seal that is there is never written anew"
    told = capsys.readouterr().out
    assert "Sealed: 1 records" in told and 'make study NAME=backbone_contest PRESET=cpu ARGS="-p train false"' in told
    for path in (results_dir() / "claims.csv", results_dir() / "backbone_contest" / "cpu" / "claims.csv"):
        assert "51.5000,1.5000,99.2500" in path.read_text(), path.name


def test_a_variant_is_drawn_with_the_parameters_it_was_executed_with(tmp_path):
    folder = tmp_path / "backbone_contest" / "cpu-fair"
    folder.mkdir(parents=True)
    given = {"preset": "cpu", "reading": "fair", "seeds": 5, "device": "cuda", "workers": 2, "time_budget": "2h"}
    (folder / "backbone_contest.ipynb").write_text(json.dumps({"cells": [], "metadata": {"papermill": {"parameters": given}}}))
    assert parameters_of(folder) == {"preset": "cpu", "reading": "fair", "seeds": 5, "train": False}


def test_what_fails_for_another_reason_than_missing_data_is_an_error(toy, capsys):
    notebooks, _ = toy
    alter(
        notebooks / "backbone_contest.ipynb",
        'Accuracy by seed.\\", [r.id for r in found])',
        'Accuracy by seed.\\", [r.name for r in found])',
    )
    code, told = check(toy, capsys)
    assert code == 1 and f"{PLACE} cannot be drawn from its records: AttributeError" in told
