"""The lightweight study's claims and tables on records whose truth is known (see conftest)."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from helpers.core.errors import UserError
from helpers.insight import flips
from helpers.judging.arms import accuracy
from helpers.judging.claims import Part, judge, judge_parts, judge_study, read_claims
from helpers.judging.statistics import made
from helpers.studies.lightweight_architectures import settings as lightweight_settings
from helpers.studies.lightweight_architectures import tables
from helpers.studies.lightweight_architectures.cells import LIGHT, NETS, TECHNIQUES, entrant, grid, published, published_grid, untrained
from helpers.studies.lightweight_architectures.claims import CLAIMS, all_of, at_least, explained
from helpers.studies.lightweight_architectures.classes import flip_score
from helpers.studies.lightweight_architectures.curves import plateau
from helpers.studies.open import open_study

STUDY = "lightweight_architectures"
SQUEEZED = {("MoCo v2", "SqueezeNet", seed) for seed in range(3)}


@pytest.fixture(scope="module")
def cells(lightweight):
    return lightweight()


@pytest.fixture(scope="module")
def collapsed(lightweight):
    """MoCo v2 collapses on SqueezeNet in every seed, BYOL on ShuffleNetV2 in one."""
    return lightweight(collapsed=SQUEEZED | {("BYOL", "ShuffleNetV2", 1)})


@pytest.fixture
def partial(cells):
    """BYOL was never run on ShuffleNetV2, and MoCo v2 lacks a seed."""
    gone = (cells["pretext"] == "BYOL") & (cells["backbone"] == "ShuffleNetV2") | (cells["pretext"] == "MoCo v2") & (cells["seed"] == 2)
    return cells.assign(record=cells["record"].where(~gone, None))


def verdict(name: str, cells, readout="linear", scope="reduced") -> dict:
    return judge(read_claims()[name], CLAIMS[name], cells, scope, readout=readout)


def renamed(cells, column: str, **swap) -> pd.DataFrame:
    return cells.assign(**{column: cells[column].replace(swap)})


def part(low: float, high: float, name: str, seeds: int = 3) -> Part:
    """Its 95 % interval without seeds' part, so that it reaches 1.96 of its errors."""
    return Part(name, made((low + high) / 2, 0.0, ((high - low) / 3.92) ** 2, seeds), (f"run of {name}",))


def test_every_claim_has_an_estimand_and_a_known_truth_is_supported(cells):
    found = judge_study(STUDY, CLAIMS, cells, "reduced", readout="linear").set_index("claim")
    assert list(found.index) == [f"W{n}" for n in range(1, 13)] == list(CLAIMS)
    assert found["verdict"].to_dict() == dict.fromkeys(CLAIMS, "supported")
    assert found.loc["W3", "ours"] == pytest.approx((64 + 58 + 75) / 3 - (40 + 47) / 2, abs=0.5)
    assert found.loc["W6", "ours"] == 2 and found.loc["W9", "ours"] == 1 and found.loc["W5", "ours"] == 0
    assert found.loc["W11", "ours"] == pytest.approx(-3, abs=0.7) and "MobileNetV2 (0.40 of the energy" in found.loc["W11", "reason"]
    assert len(found.loc["W3", "runs"].split()) == 75 and set(found["seeds"]) == {3}


def test_a_reversed_truth_is_contradicted(cells):
    swapped = renamed(cells, "pretext", **{"BYOL": "RotNet", "RotNet": "BYOL", "MoCo v2": "Split-Brain", "Split-Brain": "MoCo v2"})
    expected = ("W1", "W2", "W3", "W6")
    assert {name: verdict(name, swapped)["verdict"] for name in expected} == dict.fromkeys(expected, "contradicted")
    steady = renamed(cells, "pretext", BYOL="RotNet", RotNet="BYOL")  # now BYOL is what dips on the way, if less than the rest
    assert verdict("W10", steady)["ours"] < verdict("W10", cells)["ours"] - 1
    swapped = renamed(cells, "backbone", **{"ResNet-18": "SqueezeNet", "SqueezeNet": "ResNet-18"})
    assert verdict("W4", swapped)["verdict"] == "contradicted"


def test_one_seed_decides_nothing(lightweight):
    found = [verdict(name, lightweight(seeds=1)) for name in ("W1", "W3", "W6", "W8", "W12")]
    assert {row["verdict"] for row in found} == {"undecided"} and all(row["reason"].startswith("n = 1, leans for") for row in found)


def test_missing_runs_are_named_and_a_count_may_do_without_a_net(partial, cells):
    for name in set(CLAIMS) - {"W1", "W2", "W5", "W11"}:
        row = verdict(name, partial)
        assert row["verdict"] == "undecided" and "no run of BYOL on ShuffleNetV2" in row["reason"], name
    empty = cells.assign(record=None)
    assert {verdict(name, empty)["verdict"] for name in CLAIMS} == {"undecided"}
    assert "or 21 more" in verdict("W3", empty)["reason"]
    gone = (cells["pretext"] == "BYOL") & (cells["backbone"] == "ShuffleNetV2")
    four = cells.assign(record=cells["record"].where(~gone, None))
    assert verdict("W1", four)["verdict"] == "supported"  # four of five are there and hold


def test_a_count_sets_aside_what_speaks_most_against_it():
    claim, good, weak, bad = read_claims()["W1"], part(2, 4, "good"), part(0.6, 4, "weak"), part(-4, -2, "bad")
    none = Part("none", None, ("x",), "no run of it")
    assert judge_parts(claim, at_least(4, [good, bad, good, good, good], 0.5))[0] == "supported"
    assert "set aside: bad" in at_least(4, [good, weak, bad, good, good], 0.5)[0].name
    assert judge_parts(claim, at_least(4, [good, weak, bad, good, good], 0.5))[0] == "undecided"  # the best four of five: luck had a choice
    assert judge_parts(claim, [good, weak, good, good])[0] == "supported"
    assert judge_parts(claim, at_least(4, [good, weak, bad, good, good], 0.5))[1].startswith("what holds was chosen as what holds best")
    assert judge_parts(claim, at_least(4, [bad, good, bad, good, good], 0.5))[0] == "contradicted"
    assert judge_parts(claim, at_least(4, [none, good, good, good, good], 0.5))[0] == "supported"
    assert judge_parts(claim, at_least(4, [none, good, bad, good, good], 0.5))[0] == "undecided"
    assert all_of([replace(good, lacking=("y",)), weak], 0.5).lacking == ("y",)
    lazy = [replace(each, unfit=("it has not learned",)) for each in (good, bad, weak)]
    assert all_of(lazy, 0.5).name == "bad" and at_least(2, lazy, 0.5)[0].name.startswith("weak [set aside: bad"), "the least stands for all"
    assert all_of([good, weak, bad], 0.5).estimate == replace(bad.estimate, rivals=3) and all_of([good, weak], 0.5).estimate.value == 2.3
    assert all_of([good, none], 0.5).missing and set(all_of([good, bad], 0.5).runs) == {"run of good", "run of bad"}


def test_collapsed_runs_count_in_claims_by_name_and_not_in_means(collapsed, cells):
    row = verdict("W3", collapsed)
    assert "collapsed: MoCo v2 on SqueezeNet 3 of 3, BYOL on ShuffleNetV2 1 of 3" in row["reason"]
    assert row["ours"] < verdict("W3", cells)["ours"] - 2  # they count as what they reached
    frame, _ = tables.accuracy_table(collapsed)
    line = frame.set_index(["technique", "net", "readout"])
    some, lost = line.loc["BYOL", "ShuffleNetV2", "frozen, linear probe"], line.loc["MoCo v2", "SqueezeNet", "frozen, linear probe"]
    assert some["n"] == 2 and some["note"] == "1 of 3 collapsed, left out" and some["ours, last"] == pytest.approx(73, abs=1)
    assert lost["n"] == 3 and lost["note"] == "collapsed" and lost["ours, last"] == 10
    assert list(tables.collapse_table(collapsed)[0]["flag"]).count("collapsed") == 4
    assert "(collapsed) | 10" in tables.grid_table(collapsed)[0].iloc[1, 5]
    assert tables.anova_table(collapsed)[0].loc[0, "note"] == "3 seeds, 4 runs collapsed"
    pooled = tables.confusion_table(collapsed)[0].set_index("technique")
    assert pooled.loc["MoCo v2", "n"] == 12 and pooled.loc["MoCo v2", "note"] == "3 collapsed"


def test_a_plateau_is_the_first_checkpoint_near_the_best(lightweight):
    assert plateau(np.array([50, 58, 60, 59.0])) == 1 and plateau(np.array([0.5, 0.6, 0.7])) == 2
    rising = lightweight()
    for record in entrant(rising, "SimCLR", "SqueezeNet").records.values():
        record.arrays["linear.on_the_way"] = record.arrays["linear.on_the_way"].copy()
        record.arrays["linear.on_the_way"][:3] = 0
    row = verdict("W5", rising)
    assert row["verdict"] == "undecided" and "SimCLR has no checkpoint after the plateau's start on SqueezeNet" in row["reason"]
    for record in rising["record"]:
        record.arrays["linear.on_the_way"] = record.arrays["linear.on_the_way"].copy()
        record.arrays["linear.on_the_way"][3] = np.where(np.arange(1000) % 3 > 0, record.arrays["linear.on_the_way"][1], 255)
    assert verdict("W5", rising)["verdict"] == "contradicted"  # a third of what was right is lost after the plateau
    for record in rising["record"]:
        record.arrays["linear.epochs"] = record.arrays["linear.epochs"][:1]
    assert "only one checkpoint" in verdict("W5", rising)["reason"]


def test_epochs_needed_say_how_many_runs_still_rose(lightweight, cells):
    assert "best at their last" not in str(verdict("W6", cells)["reason"])
    rising = lightweight()
    for record in entrant(rising, "RotNet", "SqueezeNet").records.values():
        record.metrics = record.metrics.assign(linear=record.metrics["linear"].where(record.metrics["epoch"] < 8, 99.0))
    assert "(3 of 60 runs were best at their last checkpoint)" in verdict("W6", rising)["reason"]


def test_a_net_may_have_a_rate_of_its_own():
    settings = open_study(STUDY, {"preset": "quick"}).settings
    assert settings.rates and set(settings.rates) <= set(NETS) and all(0 < rate < 0.03 for rate in settings.rates.values())
    with pytest.raises(UserError, match="SqueezNet.*SqueezeNet"):
        open_study(STUDY, {"preset": "quick", "rates": {"SqueezNet": 0.1}})
    with pytest.raises(UserError, match="rates"):
        open_study(STUDY, {"preset": "quick", "rates": {"SqueezeNet": -0.1}})


def test_variance_is_explained_as_by_hand():
    table = np.array([[10.0, 12.0], [20.0, 22.0], [30.0, 38.0]])
    technique, net, rest = explained(table)
    assert technique == pytest.approx(2 * (11**2 + 1 + 12**2)) and net == pytest.approx(3 * (2**2 + 2**2))
    assert technique + net + rest == pytest.approx(((table - 22) ** 2).sum())
    lines = tables._analysed(np.stack([table - 1, table + 1]))
    assert lines["seeds"]["sum of squares"] == pytest.approx(12) and lines["seeds"]["degrees of freedom"] == 6
    assert lines["technique"]["F"] == pytest.approx(2 * technique / 2 / 2) and 0 < lines["net"]["p"] < 0.01
    assert lines["total"]["degrees of freedom"] == 11 and sum(lines[name]["share (%)"] for name in tables.SOURCES[:4]) == pytest.approx(100)


def test_flips_are_those_of_insight(cells):
    record = entrant(cells, "SimCLR", "ResNet-18").records[0]
    for colour, target in (("blue", "ship"), ("red", "truck")):
        found = flips(record.arrays["linear.predictions"], record.arrays[f"tinted.{colour}"], record.manifest["classes"], target)
        assert 100 * flip_score(record, colour).mean() == pytest.approx(found["to_target"] - found["to_others"])


def test_claims_that_these_records_cannot_judge(cells):
    other = cells.assign(record=[_copied(record, classes=[f"shape {n}" for n in range(10)]) for record in cells["record"]])
    assert "no class aeroplane" in verdict("W7", other)["reason"] and "no class ship" in verdict("W12", other)["reason"]
    cifar = [each.replace("car", "automobile") for each in cells["record"].iloc[0].manifest["classes"]]
    assert verdict("W7", cells.assign(record=[_copied(record, classes=cifar) for record in cells["record"]]))["verdict"] == "supported"
    greedy = cells.assign(record=[_copied(record, energy={"watt_hours": 5.0, "method": "measured"}) for record in cells["record"]])
    assert "no light net took at most 0.7 of ResNet-18's energy: EfficientNet-lite0 1.00" in verdict("W11", greedy)["reason"]
    assert "no knn10 accuracy by checkpoint" in verdict("W10", cells, "knn10")["reason"]


def _copied(record, **manifest):
    return type(record)(**{**vars(record), "manifest": record.manifest | manifest})


def test_tables_by_hand(cells):
    frame, runs = tables.accuracy_table(cells)
    line = frame.set_index(["technique", "net", "readout"]).loc["SimCLR", "ResNet-18", "frozen, linear probe"]
    mine = [record.evaluations["linear"]["top1"] for record in entrant(cells, "SimCLR", "ResNet-18").records.values()]
    assert line["ours, last"] == pytest.approx(np.mean(mine)) and line["published (maximum)"] == 70 and len(frame) == 60 and len(runs) == 80
    assert line["untrained"] == 30 and line["gain"] == pytest.approx(np.mean(mine) - 30) and line["low"] < line["ours, last"] < line["high"]
    assert line["ours, maximum"] >= line["ours, last"] and line["encoder"] == "resnet-18 x0.5" and line["interval over"] == "seeds"
    assert tables.TRAIN not in frame, "records of before it was kept"
    compact, _ = tables.grid_table(cells)
    assert compact.loc[3, "ResNet-18 (resnet-18 x0.5)"].endswith("| 70") and compact.loc[5, "technique"] == "untrained"
    blocks, _ = tables.block_table(cells)
    assert set(blocks["which"]) == {"layer2 (2 of 3) x 3", "layer2 (2 of 3) x 1"} and blocks["gain"].between(4, 8).all()
    costs, _ = tables.cost_table(cells)
    costs = costs.set_index("net")
    assert costs.loc["ResNet-18", "energy (Wh)"] == 10 and costs.loc["ResNet-18", "CO2 (kg)"] == pytest.approx(0.01 * 0.42)
    assert costs.loc["ResNet-18", "published CO2 (kg)"] == 3.22 and costs.loc["MobileNetV2", "published MACs (M), 224 px"] == 327
    assert costs.loc["ResNet-18", "training (images/s)"] == pytest.approx(80 * 64 / 60) and costs.loc["VGG-11", "n"] == 5
    pairs, _ = tables.confusion_table(cells)
    assert {pairs.loc[5, "pair 1"].split(":")[0], pairs.loc[5, "pair 2"].split(":")[0]} == {"airplane / ship", "car / truck"}
    assert pairs.loc[5, "most accurate"].startswith("horse") and pairs.loc[5, "least accurate"].startswith("bird")
    assert tables.anova_table(cells)[0].set_index("source").loc["technique", "published share (%)"] == pytest.approx(55.1, abs=0.1)


def test_accuracy_on_the_labelled_images_stands_beside_that_on_test(cells):
    def told(record):
        if getattr(record, "id", "") != "SimCLR-ResNet-18-1":
            return record
        tuned = record.evaluations["finetune"] | {"train_top1": 88.5}
        return type(record)(**{**vars(record), "evaluations": record.evaluations | {"finetune": tuned}})

    frame, _ = tables.accuracy_table(cells.assign(record=cells["record"].map(told)))
    lines = frame.set_index(["technique", "net", "readout"])[tables.TRAIN]
    assert lines.loc["SimCLR", "ResNet-18", "fine-tuned"] == 88.5 and lines.notna().sum() == 1


def test_untrained_is_shared_by_all_but_split_brain(cells):
    assert {record.id.split("-")[0] for record in untrained(cells, "BYOL", "ResNet-18").records.values()} == {"SimCLR"}
    assert {record.id.split("-")[0] for record in untrained(cells, "Split-Brain", "ResNet-18").records.values()} == {"Split"}


def test_tables_mark_what_is_missing(partial, cells):
    frame, _ = tables.accuracy_table(partial)
    gone = frame[(frame["technique"] == "BYOL") & (frame["net"] == "ShuffleNetV2")]
    assert set(gone["note"]) == {"missing"} and gone["ours, last"].isna().all() and gone["published (maximum)"].notna().all()
    assert tables.grid_table(partial)[0].iloc[4, 4] == "missing | 71"
    assert tables.anova_table(partial)[0]["note"].str.startswith("missing").all()
    empty = cells.assign(record=None)
    for make in ("accuracy_table", "grid_table", "block_table", "collapse_table", "anova_table", "cost_table", "confusion_table"):
        made, runs = getattr(tables, make)(empty)
        assert runs == [] and "missing" in made.to_string(), make


def test_published_figures_and_the_text_against_them():
    theirs = published_grid()
    assert theirs.loc["MoCo v2", "SqueezeNet"] == 10 and list(theirs.index) == list(TECHNIQUES) and list(theirs.columns) == list(NETS)
    assert theirs["ResNet-18"]["Split-Brain"] == theirs.loc["Split-Brain"].max()  # the text: second
    alone = [net for net in NETS if (theirs[net] < theirs.loc["BYOL", net]).sum() == 4]
    assert alone == ["MobileNetV2", "ShuffleNetV2", "SqueezeNet"] and theirs.loc["MoCo v2", "ResNet-18"] == theirs.loc["BYOL", "ResNet-18"]
    assert theirs.loc["SimCLR"].idxmin() == "ShuffleNetV2" and published()["flops"]["ResNet-18"] == 1.8e9
    assert len(tables.contradictions_table()[0]) == 7
    assert (lightweight_settings.NETS, lightweight_settings.TECHNIQUES) == (NETS, TECHNIQUES) and len(LIGHT) == 4


def test_single_runs_get_an_interval_over_images(lightweight):
    one = lightweight(seeds=1)
    found, over = accuracy(grid(one)[0], "linear")
    assert over == "test images" and found.low < found.mean < found.high
    assert "±" not in tables.grid_table(one)[0].iloc[0, 1]
