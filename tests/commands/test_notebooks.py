"""Every study's notebook, executed at toy size from its first cell to its last; of each, what it has to show then."""

import csv
import json
import re

import nbformat
import pytest

from helpers import studies
from helpers.commands import study as command
from helpers.core.files import REPOSITORY
from helpers.judging.claims import read_claims
from tests.oddities import odd_folder

MUON = {"epochs": 1, "batch_size": 32, "optimizer": "muon", "rate": 0.02}
FEW = {"train_images": 64, "test_images": 40}
QUEUES = {name: {"queue": 64} for name in ("MoCo v1", "MoCo v2", "MoCo v2+")}
TOY = {
    "backbone_contest": FEW
    | {"epochs": 1, "batch_size": 32, "backbones": ["ResNet"], "optimizers": ["RAdam @3/8"], "range_steps": 10, "headline": None},
    "aid_remote_sensing": {"epochs": 1, "range_steps": 10, "resolutions": [32], "backbones": ["ResNet", "ViT"], "map_images": 10}
    | {"companion": {"dataset": "embedded", "image_size": 32, "few": 64, "many": 128, "epochs": 2, "test_images": 40}},
    "augmentation_grid": FEW
    | {"operations": ["Crop", "Color"], "training": MUON, "ablations": {"batch size": [16, 32], "left out": ["nothing", "crop"]}},
    "label_efficiency": {"train_images": 200, "test_images": 60, "fractions": [0.05, 0.1, 1.0], "draws": 2, "checkpoints": [1]}
    | {"label_epochs": 1, "label_steps": 2, "seeds": 2, "image_size": 16}
    | {"training": {"epochs": 2, "batch_size": 100, "optimizer": "adam", "schedule": "constant"}},
    "lightweight_architectures": FEW
    | {"epochs": 1, "nets": ["ShuffleNetV2"], "plain_nets": [], "map_images": 30, "techniques": ["Split-Brain", "SimCLR", "BYOL"]},
    "moco_v3_stability": {"train_images": 96, "test_images": 60, "transfer_epochs": 1, "transfer_steps": 1}
    | {"line": {"batch_size": 32, "short": 1, "long": 2, "options": QUEUES | {"SwAV": {"queue": 64, "prototypes": 32}}}}
    | {"vit": {"epochs": 9, "epoch_images": 32, "batches": [16, 32], "rates": {"AdamW": [0.002, 0.008], "LAMB": [0.004, 0.016]}}}
    | {"transfer": [{"dataset": "embedded", "options": {"train": 60, "test": 40}}]},
    "relic_views": {"train_images": 100, "test_images": 60, "data_options": {"background": "own", "train": 100, "test": 60}, "epochs": 1}
    | {"batch_size": 32, "robust_images": 30, "transfer_epochs": 1}
    | {"transfer": [{"dataset": "embedded", "options": {"train": 60, "test": 40}}]},
    "speedrun": {"train_images": 96, "test_images": 48, "seeds": 1, "target": 1.0, "trial": {}, "validation": 32, "trial_images": 96}
    | {"recipe": {"encoder": {"name": "resnet_tiny", "stem": "stride2"}, "training": MUON}}
    | {"candidates": {"four views": {"views": {"options": {"count": 4}}}}},
}


def rows(path):
    with open(path, newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture
def execute(tmp_path, monkeypatch, capfd):
    """execute(study, more parameters): its folder of results, once it was executed as said, or the exit code where another is expected."""
    for name in ("RESULTS_DIR", "RUNS_DIR", "CHECKPOINT_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))

    def executed(name: str, code: int = 0, **more):
        given = {"device": "cpu"} | TOY[name] | more
        words = [word for key, value in given.items() for word in ("-p", key, value if isinstance(value, str) else json.dumps(value))]
        assert command.main([name, "--preset", "demo", *words]) == code, capfd.readouterr().err
        return next((tmp_path / "results_dir" / name).glob("demo-custom*"), None)

    return executed


def whole(name: str, folder) -> str:
    """The executed notebook, once everything that it reports is there and every claim of the study has a verdict that decides nothing."""
    book = nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", as_version=4)
    source = "\n".join(cell.source for cell in book.cells if cell.cell_type == "code")
    reported = set(re.findall(r'report\.(?:figure|table)\(\s*"(\w+)"', source)) | ({"verdicts"} if "study.judge(" in source else set())
    assert {each["name"] for each in json.loads((folder / "index.json").read_text())} == reported
    claims = [claim.id for claim in read_claims().values() if claim.study == name]
    assert not claims or [row["claim"] for row in rows(folder / "claims.csv")] == claims
    assert not claims or {row["verdict"] for row in rows(folder / "claims.csv")} == {"undecided"}
    return (folder / f"{name}.ipynb").read_text(encoding="utf-8")


def test_every_study_is_tried():
    assert sorted(TOY) == studies.names()


@pytest.mark.slow
def test_backbone_contest(execute):
    folder = execute("backbone_contest")
    assert "ViT" in whole("backbone_contest", folder)
    shown = {(row["backbone"], row["optimizer"]): row for row in rows(folder / "optimizers.csv")}
    assert float(shown["ResNet", "RAdam @3/8"]["ours"]) >= 0 and shown["ViT", "LAMB"]["note"] == "missing"


@pytest.mark.slow
def test_aid_remote_sensing_on_a_newcomers_folder_with_all_its_oddities(execute, tmp_path, monkeypatch):
    """A folder of one's own needs one parameter; everything beside data_dir is only to be quick."""
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "cache"))
    place = odd_folder(tmp_path / "Meine Szenen", each=20)
    folder = execute("aid_remote_sensing", data_dir=str(place))
    assert folder.name == "demo-custom-meine_szenen"
    executed = whole("aid_remote_sensing", folder)
    forensic = rows(folder / "forensic_table.csv")
    measured = [row for row in forensic if row["backbone"] in ("ResNet", "ViT")]
    assert len(measured) == 8 and all(float(row["accuracy"]) >= 0 and row["n"] == "1" for row in measured)
    assert [row["note"] for row in forensic if row["backbone"] == "ConvNeXt"] == ["missing"] * 4
    assert {row["class"] for row in rows(folder / "class_table.csv")} == {"Hafen Süd", "bare land", "農地"}
    assert {row["scope"] for row in rows(folder / "claims.csv")} == {"reduced"}
    assert all(("missing" in row["note"]) == (row["backbone"] == "ConvNeXt") for row in rows(folder / "transfer.csv"))
    assert str(tmp_path) not in executed and "Meine Szenen" in executed
    records = [*(tmp_path / "runs_dir").glob("meine_szenen_*/*.json")]
    assert records and not any(str(tmp_path) in path.read_text(encoding="utf-8") for path in records)


@pytest.mark.slow
def test_augmentation_grid_a_part_at_a_time(execute):
    folder = execute("augmentation_grid", part="grid")
    grid = {row["first \\ second"]: row for row in rows(folder / "grid_table.csv")}
    assert not grid["Crop"]["Color"].startswith("missing") and grid["Blur"]["Crop"].startswith("missing")
    assert {row["accuracy (%)"] for row in rows(folder / "ablation_table.csv")} == {""}
    execute("augmentation_grid", part="ablations")
    assert all(float(row["accuracy (%)"]) > 0 for row in rows(folder / "ablation_table.csv"))
    assert {row["first \\ second"]: row for row in rows(folder / "grid_table.csv")} == grid  # drawn from before
    costs = rows(folder / "cost.csv")
    assert len({row["run"] for row in costs}) == len(costs) == 5 + 3 and all(float(row["seconds"]) > 0 for row in costs)
    assert "application/vnd.jupyter.widget-view" not in whole("augmentation_grid", folder)  # the preview is for a person


@pytest.mark.slow
def test_label_efficiency(execute, capfd):
    folder = execute("label_efficiency")
    whole("label_efficiency", folder)
    accuracy = rows(folder / "accuracy.csv")
    assert len(accuracy) == 4 * 3 and all(0 <= float(row["top-1 (%)"]) <= float(row["top-3 (%)"]) <= 100 for row in accuracy)
    assert {(row["labels"], row["labelled images"]) for row in accuracy} == {("5 %", "10"), ("10 %", "20"), ("100 %", "200")}
    claims = {row["claim"]: row for row in rows(folder / "claims.csv")}
    assert "n = 2" in claims["L1"]["reason"] and "compared only for SimCLR at batch 200" in claims["L4"]["reason"]
    assert len(rows(folder / "saved.csv")) == 2 * 2 and len(rows(folder / "losses.csv")) == len(rows(folder / "cost.csv")) == 2
    execute("label_efficiency", code=1, fractions=[0.001, 0.1])
    assert "a class without a label cannot be learnt" in capfd.readouterr().err.replace("\n", " ")


@pytest.mark.slow
def test_lightweight_architectures(execute):
    folder = execute("lightweight_architectures")
    whole("lightweight_architectures", folder)
    cells = {(row["technique"], row["net"], row["readout"]): row for row in rows(folder / "accuracy.csv")}
    shown = cells["BYOL", "ShuffleNetV2", "frozen, linear probe"]
    assert float(shown["ours, last"]) >= 0 and shown["published (maximum)"].startswith("71")
    assert not cells["MoCo v2", "ShuffleNetV2", "frozen, linear probe"]["ours, last"]


@pytest.mark.slow
def test_moco_v3_stability(execute):
    folder = execute("moco_v3_stability")
    whole("moco_v3_stability", folder)
    line = {(row["method"], row["schedule"]): row for row in rows(folder / "line_table.csv")}
    assert all(float(row["accuracy"]) > 0 for row in line.values()), "every method was trained after every schedule"
    assert {row["start"] for row in rows(folder / "transfer_table.csv") if row["source"] == "ours"} == {
        "MoCo v3",
        "supervised",
        "untrained",
    }


@pytest.mark.slow
def test_relic_views(execute):
    folder = execute("relic_views")
    whole("relic_views", folder)
    arms = {row["arm"]: row for row in rows(folder / "ladder_table.csv")}
    assert arms["ReLICv2"]["large views"] == "3" and arms["ReLIC"]["small views"] == "0"
    assert all(float(row["accuracy"]) >= 0 and row["n"] == "1" for row in arms.values())
    spent = {(row["method"], row["equal"]): row for row in rows(folder / "rivals_table.csv")}
    whole_run, longer = (float(spent[name]["training PFLOP"]) for name in (("ReLICv2", ""), ("supervised", "passes")))
    assert 0.3 * whole_run < longer < 3 * whole_run, "as many passes, heads apart"
    elsewhere = rows(folder / "transfer.csv")
    assert {row["read on"] for row in elsewhere} == {"embedded"} and all(float(row["fine-tuned"]) >= 0 for row in elsewhere)
    assert float(rows(folder / "masks.csv")[1]["saliency"]) > 0.5
    altered = {row["arm"]: row for row in rows(folder / "corruption_table.csv")}
    assert float(altered["supervised"]["mCE, supervised = 100"]) == pytest.approx(100)


@pytest.mark.slow
def test_speedrun(execute):
    folder = execute("speedrun")
    whole("speedrun", folder)
    race = (folder / "race.csv").read_text()
    assert "reached" in race and "missing" not in race
    assert (folder / "candidates.csv").read_text().count("\n") == 3
