"""The study of MoCo v3: which runs it asks for, in which order, how they differ, and what it refuses before any of them."""

from collections import Counter
from dataclasses import replace

import pytest
import torch

from helpers.core.errors import UserError
from helpers.methods import METHODS, StepBatch, method_options
from helpers.models import Encoder, build_encoder
from helpers.runs import rates
from helpers.runs.plan import configs
from helpers.studies.moco_v3_stability import claims, runs, transfers
from helpers.studies.moco_v3_stability.runs import Place, cell_of, config_of, epochs_of, passes, places
from helpers.studies.moco_v3_stability.settings import (
    ADAMW,
    BATCH_NORM,
    CHANGES,
    CLIPPED,
    DINO,
    EQUAL,
    FROZEN,
    INSTDISC,
    LAMB,
    LARS,
    LEARNED,
    LINE,
    LONG,
    MASKED,
    NAMES,
    OWN,
    PUBLISHED,
    SHORT,
    SIMCLR,
    SIMSIAM,
    SUPERVISED,
    SWAV,
    V1,
    V2,
    V2_PLUS,
    V3,
)
from helpers.studies.open import open_study
from helpers.views import make_views
from tests.studies.moco_v3_records import BATCHES, RATES, STUDY, cells_of, settings, usual_place


@pytest.fixture(autouse=True)
def no_records(monkeypatch, tmp_path):
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "runs"))


@pytest.fixture(scope="module")
def s():
    return settings()


def flat(config, prefix="") -> dict:
    """Every setting of a config by its path."""
    found = {}
    for key, value in (config if isinstance(config, dict) else config.model_dump(mode="json")).items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return found


def between(one, other) -> set[str]:
    """What two configs differ in. An empty table of options is no difference to one that is filled, but what fills it is."""
    first, second = ({key: value for key, value in flat(each).items() if value != {}} for each in (one, other))
    return {key for key in first.keys() | second.keys() if first.get(key) != second.get(key)}


# -- which runs -----------------------------------------------------------------------------------------------------------


def test_what_was_tried_comes_first_then_a_seed_of_all_that_is_compared_and_last_what_no_claim_asks_for(s):
    asked = places(s)
    kinds = ["tried" if place.part == "rates" else "priced" if place.part == "priced" else "" for place in asked]
    tried = kinds.count("tried")
    assert tried and kinds[:tried] == ["tried"] * tried and "tried" not in kinds[tried:]
    seeded = [place for place in asked[tried:] if place.part != "priced"]
    counts = Counter(replace(place, seed=0) for place in seeded)
    compared = [place for place in seeded if counts[replace(place, seed=0)] == s.seeds]
    assert {*counts.values()} == {s.seeds, s.side_seeds} and len(asked) == len({*asked})
    assert seeded[: len(compared)] == compared, "nothing stands between them"
    assert [place.seed for place in compared] == sorted(place.seed for place in compared)
    first = [place for place in compared if place.seed == 0]
    assert [place.part for place in first] == sorted((place.part for place in first), key="stability others line".split().index)
    assert (first[0].rate, first[1].rate) == (RATES[ADAMW][-1],) * 2, "the highest rate, which wobbles, before the others"
    assert {first[0].patches, first[1].patches} == {LEARNED, FROZEN}


def test_every_claim_is_judged_by_what_has_all_seeds(s):
    cells = cells_of(s)
    per_run = Counter(cells.drop(columns=["seed", "run", "record", "encoder", "stem", "test"]).apply(tuple, axis=1))
    assert {*per_run.values()} == {s.seeds, s.side_seeds}
    by_run = dict(
        zip(cells["run"], cells.drop(columns=["seed", "run", "record", "encoder", "stem", "test"]).apply(tuple, axis=1), strict=True)
    )
    for name, estimand in claims.CLAIMS.items():
        used = [run for part in estimand(cells, "linear") for run in part.runs]
        assert used and all(per_run[by_run[run]] == s.seeds for run in used), name


def test_every_vit_differs_from_the_usual_one_in_one_thing(s):
    usual = config_of(s, usual_place(s))
    changes = {name: config_of(s, usual_place(s, arm=name)) for name in CHANGES}
    assert {name: between(usual, config) for name, config in changes.items()} == {
        BATCH_NORM: {"encoder.options.mlp_norm"},
        "heads without batch norm": {"method.options.norm"},
        "fixed sin-cos positions": {"encoder.options.positions"},
        "momentum 0.9": {"method.options.momentum"},
        "temperature 0.1": {"method.options.temperature"},
    }
    assert all(key in method_options("moco_v3") for _, of_method in CHANGES.values() for key in of_method)
    low, _, high = RATES[ADAMW]
    for rate in (low, high):
        assert between(usual, config_of(s, usual_place(s, rate=rate))) == {"training.rate"}
    for batch in BATCHES[1:]:
        assert between(usual, config_of(s, usual_place(s, batch=batch))) == {"training.batch_size"}
    clipped, highest = (config_of(s, usual_place(s, arm=arm, rate=high)) for arm in (CLIPPED, ""))
    assert between(clipped, highest) == {"training.clip_gradients"} and clipped.training.clip_gradients == s.vit.clip
    for name in (LAMB, LARS):
        other = config_of(s, usual_place(s, optimizer=name, rate=RATES[name][1]))
        assert between(usual, other) == {"training.optimizer", "training.rate"}
    for name in (SUPERVISED, DINO, MASKED):
        other = config_of(s, usual_place(s, part="others", arm=name, rate=0.004))
        assert {key for key in between(usual, other) if not key.startswith("method.")} <= {"training.rate", "views.options.count"}


def test_frozen_patches_are_all_that_frozen_changes_and_they_do_not_learn(s):
    for rate in RATES[ADAMW]:
        learned, frozen = (config_of(s, usual_place(s, rate=rate, patches=patches)) for patches in (LEARNED, FROZEN))
        assert between(learned, frozen) == {"encoder.options.freeze_patches"}
    made = build_encoder(frozen.encoder.name, 32, stem=frozen.encoder.stem, **frozen.encoder.options)
    still = {name for name, parameter in made.named_parameters() if not parameter.requires_grad}
    assert still == {"net.patch_embed.proj.weight", "net.patch_embed.proj.bias"}


def test_batches_see_equally_many_images_at_rates_in_step_with_them(s):
    made = {batch: config_of(s, usual_place(s, batch=batch)) for batch in BATCHES}
    assert len({(each.training.epochs, each.training.epoch_images, each.data.model_dump_json()) for each in made.values()}) == 1
    found = {batch: rates.find_rate(config, None)[0] for batch, config in made.items()}
    assert found == pytest.approx({batch: s.vit.middle * batch / 256 for batch in BATCHES})
    every = [config_of(s, place) for place in places(s) if place.batch]
    assert {config.training.rate_batch for config in every} == {256}
    assert {config_of(s, place).training.rate_batch for place in places(s) if place.part == "line"} == {None}


def test_trials_read_training_images_held_out_and_no_test_image(s):
    tried = [(place, config_of(s, place)) for place in places(s) if place.part == "rates"]
    assert all(config.data.validation == s.tried.validation and config.data.test_images is None for _, config in tried)
    assert all(not config.evaluation.gradients and not config.evaluation.probe_every for _, config in tried)
    of_line = {(place.arm, config.training.rate) for place, config in tried if place.arm in LINE}
    assert of_line == {(method, rate) for method in LINE for rate in s.tried.line}, "as many for each"
    of_vits = {(place.arm or place.optimizer, config.training.rate) for place, config in tried if place.arm not in LINE}
    assert of_vits == {(name, rate) for name, rates in s.tried.vit.items() for rate in rates}
    assert {config.training.epochs for place, config in tried if place.arm not in LINE} == {s.tried.vit_epochs}
    trained = config_of(s, usual_place(s))
    tested = next(config for place, config in tried if place.optimizer == ADAMW and place.rate == RATES[ADAMW][0])
    assert tested.encoder == trained.encoder and tested.method == trained.method and tested.views == trained.views
    assert not {config.id for _, config in tried} & {config_of(s, place).id for place in places(s) if place.part != "rates"}


def test_short_trials_warm_up_no_longer_than_they_last(s):
    hasty = settings(tried=s.tried.model_dump() | {"vit_epochs": 2})
    tried = [config_of(hasty, place) for place in places(hasty) if place.part == "rates" and not place.arm]
    assert {(config.training.epochs, config.training.warmup_epochs) for config in tried} == {(2, 2)}


def test_the_line_is_trained_alike(s):
    first = config_of(s, Place("line", V3, length=LONG))
    for method in LINE:
        config = config_of(s, Place("line", method, length=LONG))
        assert {key for key in between(first, config) if not key.startswith("method.")} <= {"training.rate"}
        assert between(config, config_of(s, Place("line", method, length=SHORT))) == {"training.epochs"}
    plain, both = (config_of(s, Place("line", method, length=LONG)) for method in (V2, V2_PLUS))
    assert "method.options.symmetric" in between(plain, both) <= {"method.options.symmetric", "training.rate"}


def test_equal_operations_are_as_many_passes_as_simclrs_long_training_has(s):
    spent = s.line.long * passes(SIMCLR)
    equal = {place.arm: config_of(s, place).training.epochs for place in places(s) if place.length == EQUAL}
    assert {*equal} == {*LINE} - {INSTDISC, SIMCLR, SIMSIAM, SWAV}, "the others spend as much anyway"
    for method, epochs in equal.items():
        assert epochs == epochs_of(s, method, EQUAL) and abs(epochs * passes(method) - spent) <= passes(method) / 2
    assert equal[V1] == 1.5 * s.line.long > s.line.long >= equal[V3]


@pytest.mark.parametrize("method", LINE)
def test_passes_are_counted_as_the_method_makes_them(method):
    """Three for an image that goes through an encoder that learns, as its gradient goes back through it, and one through an average."""
    torch.manual_seed(0)
    kind = METHODS[NAMES[method]]
    options = OWN.get(method, {}) | ({"images": torch.arange(8)} if "images" in method_options(NAMES[method]) else {})
    made = kind(build_encoder("resnet_tiny", 32, width=0.25), make_views("simclr_small", 32), **options)
    seen = Counter()
    for module in made.modules():
        if isinstance(module, Encoder):
            module.register_forward_hook(lambda _, given, features: seen.update({3 if features.requires_grad else 1: len(given[0])}))
    images = torch.randint(0, 256, (8, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    draw = torch.Generator().manual_seed(0)
    made.loss(made.views(images, draw), StepBatch(torch.arange(8), None, 0.5, draw))
    assert sum(cost * count for cost, count in seen.items()) / 8 == passes(method)


@pytest.mark.parametrize("preset", ["demo", "quick", "cpu", "gpu", "paper"])
def test_every_preset_makes_a_grid_that_can_be_trained(preset):
    study = open_study(STUDY, {"preset": preset, "decide": False})
    found = {(cell.place["part"], cell.place["arm"]) for cell in study.grid}
    assert {("line", method) for method in PUBLISHED} | {("line", V3), ("stability", ""), ("stability", BATCH_NORM)} <= found
    assert len(configs(study.grid)) == len({cell.config.id for cell in study.grid}) > 20
    vits = [cell.config for cell in study.grid if (cell.place["part"], cell.place["arm"]) == ("stability", "")]
    assert len(vits) == len({config.id for config in vits})
    if images := vits[0].training.epoch_images or vits[0].data.train_images:
        seen = [images // config.training.batch_size * config.training.batch_size for config in vits]
        assert max(seen) < 1.03 * min(seen), "of every batch equally many, but for what makes no whole batch"


# -- what is transferred --------------------------------------------------------------------------------------------------


def test_a_seed_of_every_start_is_fine_tuned_everywhere_before_the_next_seed(s):
    asked = list(transfers.asked(s, cells_of(s)))
    each = len(s.transfer) * len(s.fractions)
    assert [(one.start, one.seed) for one in asked[::each]] == [(start, seed) for seed in range(3) for start in transfers.STARTS]
    assert {(one.dataset, one.fraction) for one in asked[:each]} == {(data.dataset, share) for data in s.transfer for share in s.fractions}
    for one in asked:
        part = {"part": "others", "arm": SUPERVISED, "rate": s.vit.others[SUPERVISED]} if one.start == SUPERVISED else {}
        assert one.what.run == config_of(s, usual_place(s, seed=one.seed, **part)).id
        assert one.what.trained == (one.start != transfers.UNTRAINED) and one.what.data.label_fraction == one.fraction
    assert len({one.what.model_copy(update={"run": "", "trained": True}).model_dump_json() for one in asked}) == each, "all alike"


def test_what_did_not_train_is_not_fine_tuned(s):
    asked = transfers.asked(s, cells_of(s, without=lambda place: place.part == "others" and place.seed == 1))
    assert {one.seed for one in asked if one.start == SUPERVISED} == {0, 2}
    assert list(transfers.asked(s, cells_of(s, without=lambda place: True))) == []


# -- what cannot be -------------------------------------------------------------------------------------------------------


LINE_RATES = dict.fromkeys(LINE, 0.1)
CONV = {"name": "resnet_tiny"}
IMPOSSIBLE = [
    ({"vit": {"net": CONV}}, "vit.net = 'resnet_tiny' has no patches .*name a ViT"),
    ({"vit": {"rates": RATES | {LAMB: [0.016, 0.004]}}}, r"rates of LAMB = \[0.016, 0.004\]: from the lowest to the highest"),
    ({"vit": {"rates": RATES | {ADAMW: [0.01, 0.01]}}}, "rates of AdamW .*each once"),
    ({"vit": {"rates": {LAMB: [0.01]}}}, "rates has no entry for AdamW"),
    ({"vit": {"rates": RATES | {"Lamp": [0.01]}}}, "optimizer of rates 'Lamp'.*'LAMB'"),
    ({"vit": {"warmup_epochs": 31, "epochs": 30}}, "warmup_epochs = 31 is longer than the run of epochs = 30: lower it"),
    ({"vit": {"others": {SUPERVISED: 0.1, "dino": 0.1}}}, "method of others 'dino'.*'DINO'"),
    ({"vit": {"batches": []}}, "batches"),
    ({"vit": {"epochs": 6, "warmup_epochs": 1}}, "vit.epochs = 6: .*greater than 8"),
    ({"vit": {"epoch": 3}}, "'epoch'.*epochs"),
    ({"line": {"rates": LINE_RATES | {"MoCo v4": 0.1}}}, "method of rates 'MoCo v4'.*MoCo v"),
    ({"line": {"options": {"SimSam": {}}}}, "method of options 'SimSam'.*'SimSiam'"),
    ({"line": {"rates": {V3: 0.1}}}, "rates has no entry for InstDisc, SimCLR"),
    ({"line": {"short": 9, "long": 9}}, "short = 9 must be shorter than long = 9"),
    ({"line": {"options": {V3: {"temprature": 0.1}}}}, "MoCo v3: .*temprature.*temperature"),
    ({"line": {"net": {"name": "resnet_tiny", "options": {"mlp_norm": "batch"}}}}, "InstDisc: .*resnet_tiny .*no transformer blocks"),
    (
        {"transfer": [{"dataset": "stl10"}], "vit": {"others": {}}},
        "transfer compares with supervised training: give its rate in vit.others",
    ),
    ({"sizes": {"small": CONV}}, "sizes and priced are of ViTs, and small is a resnet_tiny"),
    ({"priced": {"small": CONV}}, "sizes and priced are of ViTs, and small is a resnet_tiny"),
    ({"readout": "linaer"}, "'linaer'.*'linear'"),
    ({"views": "simclr_smal"}, "'simclr_smal'.*'simclr_small'"),
    ({"side_seed": 2}, "side_seeds"),
]


@pytest.mark.parametrize(("given", "says"), IMPOSSIBLE)
def test_what_cannot_be_is_named_before_anything_is_trained(given, says):
    with pytest.raises(UserError, match=f"(?s){says}"):
        open_study(STUDY, {"preset": "cpu", "In": [f"# Parameters\n{next(iter(given))} = 1"]} | given)


def test_a_group_names_what_differs_and_the_rest_stays_the_presets():
    usual, other = (open_study(STUDY, {"preset": "cpu"} | given).settings for given in ({}, {"vit": {"epochs": 40}}))
    assert other.vit == usual.vit.model_copy(update={"epochs": 40}) and other.line == usual.line


def test_a_net_that_cannot_have_a_change_is_named_before_the_first_run(s):
    few = {"options": {method: {"queue": 1024} for method in (V1, V2, V2_PLUS)}}
    drawn = {"dataset": "embedded", "image_size": None, "train_images": 2048, "transfer": [], "line": few}
    runs.check(settings(**drawn))
    with pytest.raises(UserError, match="line, MoCo v1: queue = 4096 is larger than the 2048 training images"):
        runs.check(settings(**drawn | {"line": {}}))
    with pytest.raises(UserError, match="stability, fixed sin-cos.*sincos.*that 4 divides, and it is 66"):
        runs.check(settings(**drawn, vit={"net": {"name": "vit_micro", "options": {"dim": 66, "heads": 2}}}))
    with pytest.raises(UserError, match="stability, AdamW: .*batch_size = 4096 is larger than training.epoch_images = 2048"):
        cell_of(s, usual_place(s, batch=4096))
