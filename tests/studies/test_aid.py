"""The study of scenes: its runs, and its claims, tables and figures on records whose truth is known."""

import numpy as np
import pytest
from PIL import Image

from helpers.core.errors import DataError, UserError
from helpers.judging.claims import judge, judge_study, read_claims
from helpers.runs.config import RangeTest
from helpers.runs.plan import collect
from helpers.runs.sweep import Outcome
from helpers.studies.aid_remote_sensing import claims as aid
from helpers.studies.aid_remote_sensing import runs
from helpers.studies.aid_remote_sensing.runs import SETTINGS, Place, cell_of, config_of
from helpers.studies.aid_remote_sensing.settings import AS_RUN, COMPANION, MAIN, THEIRS
from helpers.studies.open import open_study
from helpers.views import make_views
from tests.scenes import READOUT, STUDY, cells_of, places_of, record, settings


@pytest.fixture(autouse=True)
def no_records(monkeypatch, tmp_path):
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "runs"))  # else the committed range tests would be found


@pytest.fixture(scope="module")
def s():
    return settings()


@pytest.fixture(scope="module")
def cells(s):
    return cells_of(s)


def verdict(name, cells, scope="reduced"):
    return judge(read_claims()[name], aid.CLAIMS[name], cells, scope, readout=READOUT)


# -- which runs -----------------------------------------------------------------------------------------------------------


def test_a_setting_changes_what_it_says_and_nothing_else(s):
    configs = {setting: config_of(s, Place("forensic", "ViT", 0, *setting)) for setting in SETTINGS}
    assert len({config.id for config in configs.values()}) == 4
    for (scaling, rate), config in configs.items():
        assert ("mean" in config.views.options) == (scaling == THEIRS)
        assert (config.training.rate == 10.0) if rate == THEIRS else isinstance(config.training.rate, RangeTest)
        assert config.training.precision == "fp32"
        bare = config.model_copy(
            update={"views": configs[MAIN].views, "training": configs[MAIN].training, "evaluation": configs[MAIN].evaluation}
        )
        assert bare == configs[MAIN]


def test_their_scaling_leaves_each_channel_within_two_hundredths_of_a_constant(s):
    import torch

    options = config_of(s, Place("forensic", "ResNet", 0, *AS_RUN)).views.options
    images = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    views = make_views("contest", 8, **options).plain(images)
    assert (views.amax((0, 2, 3)) - views.amin((0, 2, 3))).max() <= 0.0201
    assert make_views("contest", 8).plain(images).std() > 0.5


def test_few_and_many_photographs_take_equal_steps_and_know_equal_labels(s):
    few, many = (config_of(s, Place("count", "ViT", data=COMPANION, images=images)) for images in (5000, 50000))
    assert few.training.epochs * (5000 // 128) == 10 * 39 and many.training.epochs * (50000 // 128) == 390
    assert few.data.label_fraction == 1 and many.data.label_fraction * 50000 == 5000
    assert many.evaluation.transfer.dataset == "aid" and many.evaluation.transfer.image_size == 32 and few.evaluation.transfer is None


def test_the_main_runs_are_shared_by_the_parts_and_the_settings_by_the_seeds(s):
    assert aid.at_size(cells_of(s), "ViT", 56).runs == aid.main(cells_of(s), "ViT").runs
    tests = {config_of(s, Place("forensic", "ViT", seed)).range_test_id for seed in range(3)}
    assert len(tests) == 1


def test_every_backbone_tries_the_same_rates_as_long_as_any_other():
    s = settings("cpu")
    asked = {config_of(s, place).training.rate for place in places_of(s) if place.pretext == "contrast" and place.rate != THEIRS}
    assert {rate.rates for rate in asked} == {(0.003, 0.01, 0.03)} and {rate.validation for rate in asked} == {1000}
    epochs = {name: config_of(s, Place("count", "ViT", data=COMPANION, images=n)).training for name, n in (("few", 5000), ("many", 50000))}
    assert {name: (each.rate.epochs, each.epochs) for name, each in epochs.items()} == {"few": (6, 30), "many": (1, 3)}
    trials = {trial.id for seed in range(3) for trial in config_of(s, Place("forensic", "ConvNeXt", seed)).rate_trials()}
    assert len(trials) == 3, "shared by the seeds"
    fewer = s.model_copy(update={"scene_validation": 120})
    held = {data: config_of(fewer, Place("count", "ViT", data=data)).rate_trials()[0].data.validation for data in ("scenes", COMPANION)}
    assert held == {"scenes": 120, COMPANION: 1000}, "a folder with fewer scenes changes nothing of the photographs"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"backbones": ["ResNet", "VIT"]}, "Unknown backbone 'VIT'"),
        ({"resolutions": [28, 96]}, "does not hold image_size = 56"),
        ({"resolutions": [28, 40, 56]}, "encoders has no entry for 40 px"),
        ({"readout": "knn"}, "Unknown readout"),
        ({"companion": {"dataset": "cifar10", "image_size": 32, "few": 3000, "many": 50000, "epochs": 10}}, "no whole number of epochs"),
        ({"encoders": {"28": {}, "32": {}, "56": {}, "96": {}}}, "Unknown backbone at 28 px"),
        ({"test_share": 1.5}, "test_share"),
        ({"data_dir": "/no/such/place"}, "there is no folder 'place'"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(given, says):
    with pytest.raises((UserError, DataError), match=says):
        settings(**given)


def test_a_resolution_the_backbone_cannot_take_names_place_and_size(s):
    encoders = s.encoders | {"28": s.encoders["28"] | {"ViT": {"name": "vit_micro", "stem": "patch8"}}}
    with pytest.raises(UserError, match=r"a patch of 8 does not divide the image size 28"):
        settings(encoders=encoders)


# -- a folder of one's own --------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for name, count in (("Küste", 30), ("bare land", 24), ("small", 3)):
        (tmp_path / "My scenes" / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 256, (60, 72, 3)).astype(np.uint8)).save(tmp_path / "My scenes" / name / f"{number}.png")
    return tmp_path / "My scenes"


def test_a_small_folder_shrinks_what_it_cannot_fill(folder):
    s = settings("demo", data_dir=str(folder))
    assert s.dataset.startswith("my_scenes-") and s.scope == "reduced" and s.data_options == {}
    assert s.train_images is None and s.readout == "knn20_t0.1" and s.data_dir == "My scenes"
    config = config_of(s, Place("forensic", "ResNet"))
    assert config.training.batch_size == 29 and str(folder.parent) not in config.model_dump_json()
    assert config_of(s, Place("count", "ViT", data=COMPANION)).training.batch_size == 64  # theirs are enough
    quick = settings("quick", data_dir=str(folder))
    assert quick.readout == "linear"  # 200 neighbours are not there
    assert quick.resolutions == [28, 56]  # 96 px would show nothing more of images of 60
    runs.check(s)
    cpu = settings("cpu", data_dir=str(folder))
    assert isinstance(config_of(cpu, Place("forensic", "ResNet")).training.rate, RangeTest), "five images choose no rate"


def test_images_smaller_than_the_preset_works_at_are_refused(folder):
    with pytest.raises(DataError, match="less than 61 px.*works at 80 px"):
        settings(
            "demo",
            data_dir=str(folder),
            image_size=80,
            resolutions=[80],
            encoders=settings("demo").encoders | {"80": settings("demo").encoders["16"]},
        )


def test_two_folders_have_results_of_their_own(folder):
    names = [open_study(STUDY, {"preset": "demo", "data_dir": str(folder)}).variant]
    folder.rename(folder.with_name("Other"))
    names.append(open_study(STUDY, {"preset": "demo", "data_dir": str(folder.with_name("Other"))}).variant)
    assert names == ["demo-custom-my_scenes", "demo-custom-other"]


def test_images_that_are_missing_or_too_few_are_named_before_the_first_run(s, monkeypatch, tmp_path):
    small = settings("demo", companion={"dataset": "nowhere", "image_size": 32, "few": 100, "many": 200, "epochs": 2})
    with pytest.raises((UserError, DataError), match="nowhere"):
        runs.check(small)
    few = settings("demo", train_images=30, batch_size=10, readout="knn200")
    with pytest.raises(UserError, match="200 neighbours of 30 training images"):
        runs.check(few)


def test_a_folder_of_one_class_and_one_of_too_few_images_are_refused(folder):
    for name in ("bare land", "small"):
        (folder / name).rename(folder.parent / name)
    with pytest.raises(DataError, match="one class alone"):
        settings("demo", data_dir=str(folder))
    (folder.parent / "small").rename(folder / "small")
    for number in range(10, 30):
        (folder / "Küste" / f"{number}.png").unlink()
    with pytest.raises(DataError, match="too few to judge anything by. Give at least 20"):
        settings("demo", data_dir=str(folder))


# -- claims -----------------------------------------------------------------------------------------------------------------


def test_verdicts_where_the_paper_is_right_and_the_forensic_claim_with_it(cells):
    found = {name: verdict(name, cells) for name in aid.CLAIMS}
    assert {name: each["verdict"] for name, each in found.items()} == {
        "D1": "supported",
        "D2": "supported",
        "D3": "supported",
        "D4": "contradicted",  # patch alteration costs
        "D5": "supported",
        "D6": "supported",
        "D7": "supported",
    }
    assert found["D6"]["ours"] == pytest.approx(41, abs=0.2) and found["D2"]["ours"] == pytest.approx(0.87, abs=0.2)
    assert found["D3"]["ours"] == pytest.approx(6, abs=0.3) and found["D5"]["ours"] == pytest.approx(12, abs=0.1)
    assert found["D7"]["ours"] == pytest.approx(6, abs=0.1) and "with patch alteration − without -3.00" in found["D4"]["reason"]
    assert all(each["seeds"] == 3 for each in found.values())


def test_an_architecture_that_fails_whatever_its_scaling_and_rate_contradicts_d6(s):
    places = places_of(s)
    made = {config_of(s, p).id: record(s, p, right=4.0 if p.backbone == "ViT" else None) for p in places}
    cells = collect([cell_of(s, p) for p in places], Outcome(made))
    assert verdict("D6", cells)["verdict"] == "contradicted"
    lost = verdict("D1", cells)  # a net that has not learned is no rival
    assert lost["verdict"] == "undecided" and "ViT has not learned (-24.8" in lost["reason"]


def test_one_seed_and_missing_runs_are_undecided_with_the_reason(s, cells):
    single = cells[cells["seed"] == 0]
    assert all(verdict(name, single)["verdict"] == "undecided" and "n = 1" in verdict(name, single)["reason"] for name in aid.CLAIMS)
    nothing = cells_of(s, without=lambda place: True)
    assert all(verdict(name, nothing)["verdict"] == "undecided" and "no run of" in verdict(name, nothing)["reason"] for name in aid.CLAIMS)
    table = judge_study(STUDY, aid.CLAIMS, cells, "reduced", readout=READOUT)
    assert list(table["claim"]) == list(aid.CLAIMS)
    no_parts = cells[cells["part"] == "forensic"]
    assert "no augmentation was added" in verdict("D4", no_parts)["reason"] and "no pretext" in verdict("D5", no_parts)["reason"]
