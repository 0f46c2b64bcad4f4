"""The grid of augmentations: its runs, and its claims, tables and figures on records whose truth is known."""

import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from helpers.core.errors import UserError
from helpers.judging.claims import Undecided, judge, judge_study, read_claims
from helpers.runs.plan import collect, configs
from helpers.runs.sweep import Outcome
from helpers.studies.augmentation_grid import figures, pictures, tables
from helpers.studies.augmentation_grid.claims import CLAIMS, PAIRS, grid_likeness, means, pair_rank, published_grid, spearman
from helpers.studies.augmentation_grid.runs import Place, config_of
from helpers.studies.augmentation_grid.runs import cells as grid_of
from helpers.studies.augmentation_grid.runs import places as plan
from helpers.studies.augmentation_grid.settings import OPERATIONS
from helpers.studies.open import open_study
from helpers.views import make_views

STUDY = "augmentation_grid"
SCOPE = "reduced, CIFAR-10"
IMAGES = 1000
LABELS = (np.arange(IMAGES) % 10).astype(np.uint8)


SIX = [["Crop", "Color"], ["Color", "Crop"], ["Crop"], ["Color"], ["Crop", "Sobel"], ["Sobel", "Crop"]]  # cells with three seeds


def settings(preset="quick", **given):
    return open_study(STUDY, {"preset": preset, "repeated": SIX} | given).settings


def truth(place: Place) -> float:
    if place.part == "grid":
        return 20 + published_grid().loc[place.first, place.second] / 2
    return 40 + {"batch size": lambda v: 2 * np.log2(v / 32), "colour strength": lambda v: 8 * v}.get(place.part, lambda v: 5.0)(
        place.value
    )


def record(s, place: Place, right: float | None = None):
    """Of one run: it answers the easiest images right, with a little luck of its own seed."""
    ease = np.random.default_rng(place.seed).permutation(IMAGES)
    hit = ease < 10 * ((truth(place) if right is None else right) + 0.2 * place.seed)
    return SimpleNamespace(
        id=config_of(s, place).id,
        config={},
        manifest={"seconds": 31.5, "training_seconds": 30.0, "collapsed": False},
        metrics=pd.DataFrame({"step": [10, 20]}),
        evaluations={"linear": {"top1": 100 * float(hit.mean())}, "linear_untrained": {"top1": 31.5}},
        arrays={"labels": LABELS, "linear.predictions": np.where(hit, LABELS, (LABELS + 1) % 10).astype(np.uint8)},
    )


def cells_of(s, seeds=None, without=lambda place: False):
    """The cells as after a sweep; `seeds` runs of every place."""
    made = {}
    for place in plan(s):
        if not without(place):
            made.setdefault(config_of(s, place).id, record(s, place))
    cells = collect(grid_of(s), Outcome({config_of(s, place).id: made.get(config_of(s, place).id) for place in plan(s)}))
    extra = [
        {**vars(again := replace(place, seed=seed)), "run": config_of(s, again).id, "record": record(s, again)}
        for place in plan(s)
        for seed in range(1, seeds or 0)
        if place.seed == 0
    ]
    return pd.concat([cells[(cells["seed"] == 0) | (seeds is None)], pd.DataFrame(extra)], ignore_index=True) if extra else cells


@pytest.fixture(scope="module")
def cells():
    return cells_of(settings())


@pytest.fixture(scope="module")
def thrice():
    return cells_of(settings(), seeds=3)


# -- which runs -----------------------------------------------------------------------------------------------------------


def test_every_cell_differs_by_its_steps_alone():
    s = settings()
    grid = [place for place in plan(s) if place.part == "grid" and place.seed == 0]
    assert len(grid) == 49 and len({config_of(s, place).id for place in grid}) == 49
    for place in grid:
        config = config_of(s, place)
        order = [OPERATIONS[name] for name in dict.fromkeys((place.first, place.second))]
        assert config.views.options == {"order": order} and config.views.recipe == "composition"
        alike = {
            name: getattr(config_of(s, grid[1]), name) for name in ("views", "evaluation")
        }  # what is read before training is no training
        assert config.model_copy(update=alike) == config_of(s, grid[1])
        views = make_views(config.views.recipe, 32, **config.views.options)
        assert list(views.settings.order) == order and list(views.settings.second().order) == []


def test_cells_run_in_the_order_that_tells_most():
    s = settings()
    pairs = [(place.first, place.second) for place in plan(s) if place.part == "grid"]
    assert {*pairs[:4]} == {(a, b) for a in ("Crop", "Color") for b in ("Crop", "Color")}
    assert all({"Crop", "Color"} & {*pair} for pair in pairs[:24]) and not any({"Crop", "Color"} & {*pair} for pair in pairs[24:49])
    assert [place.seed for place in plan(s)[:49]] == [0] * 49 and [place.seed for place in plan(s)[49:61]] == [1] * 6 + [2] * 6


def test_parts_choose_what_is_trained_and_never_what_is_drawn():
    both = settings()
    grid, ablations = settings(part="grid"), settings(part="ablations")
    assert {c.id for c in configs(grid_of(both))} == {c.id for part in (grid, ablations) for c in configs(grid_of(part))}
    parts = [{cell.place["part"] for cell in grid_of(s) if cell.asked} for s in (grid, ablations)]
    assert parts[0] == {"grid"} and "grid" not in parts[1] and len(grid_of(grid)) == len(grid_of(ablations)) == len(grid_of(both))
    assert open_study(STUDY, {"preset": "quick", "part": "grid"}).variant == "quick"


def test_what_an_ablation_leaves_unchanged_is_one_run():
    s = settings()
    same = [
        Place("left out", value="nothing"),
        Place("temperature", value=s.method.options["temperature"]),
        Place("batch size", value=s.training.batch_size),
        Place("projector width", value=512),
        Place("colour strength", value=0.5),
        Place("views", value=2),
    ]
    assert len({config_of(s, place).id for place in same}) == 1
    config = config_of(s, Place("batch size", value=4 * s.training.batch_size))
    assert config.training.batch_size == 4 * s.training.batch_size and config.training.rate == pytest.approx(2 * s.training.rate)
    options = config_of(s, Place("colour strength", value=1.0)).views.options
    assert options == {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
    assert config_of(s, Place("colour strength", value=0.0)).views.options == {"jitter": 0.0}
    assert config_of(s, Place("left out", value="crop")).views.options == {"crop_scale": None}


@pytest.mark.parametrize("preset", ["demo", "quick", "cpu", "gpu", "paper"])
def test_every_preset_makes_a_whole_plan(preset):
    places = plan(settings(preset))
    assert len({(p.first, p.second) for p in places if p.part == "grid"}) == 49 and {"batch size", "colour strength"} <= {
        p.part for p in places
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"operations": ["Crop", "Colour"]}, "Unknown operation 'Colour'. Did you mean 'Color'"),
        ({"operations": []}, "name at least one operation; there are Crop, Cutout"),
        ({"strengths": {"noise_sigma": 0}}, "Crop then Noise: .*'noise', which does nothing as it is set: it needs noise and noise_sigma"),
        ({"strengths": {"crop_scale": None}}, "leaves a flip alone"),
        ({"strengths": {"solarize": 0.5}}, "Unknown strength 'solarize'"),
        ({"ablations": {"temperature": [-1.0]}}, "temperature = -1.0 cannot be: give numbers above 0"),
        ({"ablations": {"batch size": ["a"]}}, "batch size = 'a' cannot be"),
        ({"ablations": {}, "part": "ablations"}, "There is nothing to train"),
        ({"train_images": 200}, "ablation 'batch size' = 256|ablation batch size = 256: .*larger than"),
        ({"method": {"name": "byol"}, "ablations": {"temperature": [0.1]}}, "Unknown option of byol 'temperature'"),
        ({"strengths": {"noise_sigma": -1}}, "noise_sigma"),
        ({"strengths": {"crop_scale": [0.5, 1.5]}}, "crop_scale"),
        ({"strengths": {"order": ["crop"]}}, "Unknown strength 'order'"),
        ({"ablations": {"temprature": [0.1]}}, "Unknown ablation 'temprature'. Did you mean 'temperature'"),
        ({"ablations": {"left out": ["colors"]}}, "Did you mean 'colours'"),
        ({"ablations": {"colour strength": [3.0]}}, "hue"),
        ({"part": "ablation"}, "Did you mean 'ablations'"),
        ({"repeated": [["Crop", "Color", "Blur"]]}, "one operation or two"),
    ],
)
def test_bad_input_is_named_before_training(given, said):
    with pytest.raises(UserError, match=said):
        settings(**given)


# -- claims ---------------------------------------------------------------------------------------------------------------


def verdict(name, cells, scope="reduced"):
    return judge(read_claims()[name], CLAIMS[name], cells, scope, readout="linear")


def test_a_known_truth_is_supported(thrice):
    found = judge_study(STUDY, CLAIMS, thrice, "reduced", readout="linear").set_index("claim")
    assert list(found.index) == ["A1", "A2", "A3", "A4", "A5"] and set(found["verdict"]) == {"supported"}
    assert found.loc["A4", "ours"] == pytest.approx(2, abs=0.3) and found.loc["A5", "ours"] == pytest.approx(8, abs=0.5)
    assert found.loc["A3", "ours"] == 1 and found.loc["A2", "ours"] == pytest.approx((56.05 - 33.1) / 2, abs=0.2)
    assert len(found.loc["A1", "runs"].split()) == 3 * 42


def test_a_reversed_truth_is_contradicted(thrice):
    swapped = thrice.assign(**{column: thrice[column].replace({"Crop": "Blur", "Blur": "Crop"}) for column in ("first", "second")})
    assert {name: verdict(name, swapped)["verdict"] for name in ("A1", "A2")} == dict.fromkeys(("A1", "A2"), "undecided")
    assert "Crop then Color has not learned" in verdict("A1", swapped)["reason"]  # the claimed best must have learned, its rivals need not
    for record in swapped["record"]:
        record.evaluations["linear_untrained"] = {"top1": 20.0}
    assert {name: verdict(name, swapped)["verdict"] for name in ("A1", "A2")} == dict.fromkeys(("A1", "A2"), "contradicted")
    turned = thrice.copy()
    batch = turned["part"] == "batch size"
    turned.loc[batch, "value"] = [8192 / value for value in turned.loc[batch, "value"]]
    assert verdict("A4", turned)["verdict"] == "contradicted"


def test_one_seed_decides_nothing_and_missing_cells_are_named(cells):
    assert verdict("A1", cells)["verdict"] == "undecided" and "n = 1, leans for" in verdict("A1", cells)["reason"]
    assert verdict("A2", cells)["verdict"] == "supported"  # these cells were run three times
    s = settings()
    partial = cells_of(s, without=lambda place: "Sobel" in (place.first, place.second))
    assert "no run of" in verdict("A3", partial)["reason"] and "Sobel" in verdict("A1", partial)["reason"]
    assert "A4" in CLAIMS and verdict("A4", partial[partial["part"] == "grid"])["verdict"] == "undecided"
    with pytest.raises(Undecided, match="13 cells have no run: Crop then Sobel"):
        grid_likeness(partial, "linear")


def test_ranks_and_correlations_by_hand(cells):
    rank, like = pair_rank(cells, "linear"), grid_likeness(cells, "linear")
    assert (rank.value, rank.low, rank.high) == (1, 1, 1) and len(PAIRS) == 21
    expected = spearmanr(means(cells, "linear").to_numpy().ravel(), published_grid().to_numpy().ravel()).statistic
    assert like.value == pytest.approx(expected) and 0.9 < like.low <= like.value <= like.high <= 1
    rows = np.array([[1.0, 2, 2, 5], [4, 3, 2, 1], [1, 1, 1, 1]])
    assert spearman(rows, np.array([10.0, 20, 20, 30])) == pytest.approx([1, spearmanr(rows[1], [10, 20, 20, 30]).statistic, 0])


# -- tables and figures ---------------------------------------------------------------------------------------------------


def test_tables(cells):
    s = settings()
    grid, runs = tables.grid_table(cells, "linear")
    assert grid.loc[0, "Color"].endswith("| 56.3") and grid.loc[0, "average"].endswith("| 39.2") and len(runs) == 61
    pairs, _ = tables.pair_table(cells, "linear")
    first = pairs.iloc[0]
    assert (first["rank"], first["pair"], first["published"], first["runs"], first["published rank"]) == (1, "Crop + Color", 56.05, 6, 1)
    noise, _ = tables.noise_table(cells, "linear")
    assert len(noise) == 7 and {"seed 0", "seed 1", "seed 2"} <= set(noise.columns)
    values = noise.loc[0, ["seed 0", "seed 1", "seed 2"]].to_numpy(dtype=float)
    assert noise.loc[0, "sd over seeds"] == pytest.approx(values.std(ddof=1))
    pooled = np.sqrt((noise["sd over seeds"].iloc[:6] ** 2).mean())
    assert noise["sd over seeds"].iloc[-1] == pytest.approx(pooled)
    assert noise["two single runs differ (95 %) from"].iloc[-1] == pytest.approx(2.1788 * np.sqrt(2) * pooled, rel=1e-3)  # t, 12 degrees
    ablations, _ = tables.ablation_table(cells, "linear")
    assert set(ablations["n"]) == {1, 3} and not ablations["accuracy (%)"].isna().any()
    agreement, _ = tables.agreement_table(cells, "linear")
    assert agreement.loc[0, "ours"] == "1" and agreement.loc[0, "95 % over images"] == "[1, 1]"
    overhead, _ = tables.overhead_table(cells)
    assert (
        overhead.loc[0, "beyond (s), median"] == 1.5
        and overhead.loc[0, "runs"] == cells["run"].nunique()
        and not overhead.loc[0, "in several parts"]
    )
    steps = tables.step_table(s)
    assert list(steps["operation"]) == list(OPERATIONS) and (steps["what it does"].str.len() > 5).all()
    assert "noise_sigma 0.1" in steps.loc[4, "settings"] and "cutout_side 0.5" in steps.loc[1, "settings"]


def test_missing_cells_are_marked(cells):
    partial = cells_of(settings(), without=lambda place: "Sobel" in (place.first, place.second) or place.part == "views")
    grid, _ = tables.grid_table(partial, "linear")
    assert grid.loc[0, "Sobel"] == "missing | 46.0" and grid.loc[0, "average"].startswith("missing")
    assert tables.pair_table(partial, "linear")[0]["rank"].tolist()[-6:] == ["—"] * 6
    assert "12 cells have no run" in tables.agreement_table(partial, "linear")[0].loc[0, "note"]
    empty = cells.assign(record=None)
    for make in (tables.grid_table, tables.pair_table, tables.noise_table, tables.ablation_table, tables.agreement_table):
        assert make(empty, "linear")[1] == []
    assert len(tables.overhead_table(empty)[0]) == 0


def test_runs_that_collapsed_are_flagged_and_left_out_of_means(cells):
    lost = cells.assign(
        record=[
            broken(row.record) if (row.first, row.second, row.seed) == ("Crop", "Color", 1) else row.record for row in cells.itertuples()
        ]
    )
    assert "1 of 3 collapsed, left out" in tables.grid_table(lost, "linear")[0].loc[0, "Color"]
    first = tables.pair_table(lost, "linear")[0].iloc[0]
    assert first["runs"] == 5 and "Crop then Color: 1 of 3 collapsed" in first["note"]
    assert "Collapsed: Crop then Color" in words(figures.grid_heatmaps(lost, "linear", SCOPE))


def broken(record):
    return SimpleNamespace(**vars(record) | {"manifest": record.manifest | {"collapsed": True}})


def test_a_run_in_several_parts_has_no_overhead(cells):
    again = cells.copy()
    first = again["record"].iloc[0]
    again.loc[0, "record"] = SimpleNamespace(**vars(first) | {"manifest": first.manifest | {"resumed": 10, "seconds": 3.0}})
    found = tables.overhead_table(again)[0].iloc[0]
    assert found["in several parts"] == 1 and found["beyond (s), median"] == 1.5


def test_strengths_of_zero_and_above_one_do_not_enter_a5(thrice):
    s = settings(ablations={"colour strength": [0.0, 0.25, 0.5, 1.0]})
    falling = cells_of(s, seeds=3)
    for row in falling[falling["part"] == "colour strength"].itertuples():
        falling.at[row.Index, "record"] = record(
            s, Place("colour strength", value=row.value, seed=row.seed), right=20 if not row.value else 60 - 8 * row.value
        )
    assert verdict("A5", falling)["verdict"] == "contradicted"  # from none to some it rises


def words(figure) -> str:
    return " ".join(each.get_text() for each in figure.findobj(lambda part: hasattr(part, "get_fontsize")) if each.get_visible())


@pytest.mark.parametrize("emptied", [False, True])
def test_figures(cells, emptied):
    shown = cells.assign(record=None) if emptied else cells
    for make in (figures.grid_heatmaps, figures.row_averages, figures.ablation_curves):
        figure = make(shown, "linear", SCOPE)
        with warnings.catch_warnings(action="error"):
            figure.draw_without_rendering()
        assert SCOPE in words(figure)
        assert min(each.get_fontsize() for each in figure.findobj(lambda part: hasattr(part, "get_fontsize")) if each.get_text()) >= 8
        assert emptied or make is figures.row_averages or "untrained" in words(figure)
        if emptied:
            assert "missing" in words(figure) or "—" in words(figure)
    if not emptied:
        assert "Crop + Color is number 1 of 21 pairs [1, 1]" in words(figures.grid_heatmaps(shown, "linear", SCOPE))


def test_pictures_are_drawn_by_the_code_that_trains():
    s = settings("demo")
    images, _ = pictures.pictures(s, 4)
    for first, second in [("Crop", "Color"), ("Sobel", "Sobel")]:
        made = pictures.views_of(s, first, second, images)
        assert made.shape == (4, 32, 32, 3) and 0 <= made.min() <= made.max() <= 1
        assert (made - images.permute(0, 2, 3, 1) / 255).abs().mean() > 0.02
    edges = pictures.views_of(s, "Sobel", "Sobel", images)
    assert (edges[..., 0] - edges[..., 2]).abs().max() < 1e-5
    for figure, count in ((pictures.cell_pictures(s), 7 * 8), (pictures.pair_pictures(s, "Crop", "Color", count=3), 4 * 3)):
        assert len(figure.axes) == count and s.dataset in words(figure)


def test_a_person_turns_two_steps_and_their_strength():
    s = settings("demo", strengths={"noise_sigma": 0.4})
    box = pictures.preview(s)
    first, second, *sliders, out = box.children
    assert (first.value, second.value) == ("Crop", "Color") and len(out.outputs) <= 1
    named = {slider.description.partition(":")[0]: slider for slider in sliders}
    assert set(named) == set(pictures.SLIDERS) and named["Blur"].layout.display == "none" and named["Crop"].layout.display == ""
    assert named["Noise"].value == 0.4  # as the study's runs have it
    second.value = "Blur"
    assert named["Blur"].layout.display == "" and named["Color"].layout.display == "none"
    named["Blur"].value = 4.0
    for name, (_, low, high, _) in pictures.SLIDERS.items():
        for value in (low, high):
            make_views("composition", 32, order=[OPERATIONS[name]], **pictures.changes_of(s, name, value))
