import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from helpers.core.errors import UserError
from helpers.core.files import REPOSITORY
from helpers.judging.claims import (
    COLUMNS,
    Claim,
    Part,
    Undecided,
    judge,
    judge_parts,
    judge_study,
    read_claims,
)
from helpers.judging.evidence import evidence, position
from helpers.judging.statistics import Estimate, made
from helpers.judging.tables import margin_in_words, verdict_table, write_claims


def claim(kind="difference", margin=1.0, **more):
    return Claim("X", "contest", kind, margin, "statement", "estimand", **more)


def part(low, high, seeds=3, name="a − b"):
    """Its 95 % interval without seeds' part, so that it reaches 1.96 of its errors."""
    return Part(name, made((low + high) / 2, 0.0, ((high - low) / 2 / 1.959964) ** 2, seeds), ("r1", "r2"))


@pytest.mark.parametrize(
    ("kind", "margin", "low", "high", "verdict"),
    [
        ("difference", 1.0, 1.1, 3.0, "supported"),
        ("difference", 1.0, -3.0, 0.9, "contradicted"),
        ("difference", 1.0, 0.5, 3.0, "undecided"),
        ("difference", -5.0, -4.0, 1.0, "supported"),
        ("equivalence", 2.0, -1.9, 1.5, "supported"),
        ("equivalence", 2.0, 2.1, 5.0, "contradicted"),
        ("equivalence", 2.0, -5.0, -2.1, "contradicted"),
        ("equivalence", 2.0, 1.0, 3.0, "undecided"),
        ("association", 0.0, 0.2, 0.9, "supported"),
        ("association", 0.0, -0.9, -0.2, "contradicted"),
        ("association", 0.0, -0.2, 0.9, "undecided"),
        ("share", 0.0, 0.1, 0.2, "supported"),
    ],
)
def test_one_part(kind, margin, low, high, verdict):
    assert judge_parts(claim(kind, margin), [part(low, high)])[0] == verdict


def test_order_needs_every_neighbour_and_falls_with_one():
    order = claim("order", 0.5)
    assert judge_parts(order, [part(1, 2), part(0.6, 3)])[0] == "supported"
    assert judge_parts(order, [part(1, 2), part(0.4, 3)])[0] == "undecided"
    assert judge_parts(order, [part(1, 2), part(-3, 0.2, name="b − c")]) == ("contradicted", "b − c -1.40 [-3.00, 0.20]")
    assert judge_parts(order, [Part("a − b", None, (), "no run of b"), part(-3, 0.4)])[0] == "contradicted"


def test_one_of_many_comparisons_must_speak_louder_against_a_claim():
    order, against = claim("order", 0.5), part(-3, 0.4, name="b − c")
    assert judge_parts(order, [against])[0] == "contradicted"
    verdict, reason = judge_parts(order, [part(1, 2), against])
    assert verdict == "undecided" and reason.startswith("one of 2 comparisons speaks against it, and that may be chance among so many")
    lazy = replace(part(1, 2), unfit=("a has not learned",))
    twice = [replace(against, estimate=replace(against.estimate, rivals=2)), lazy]
    reason = judge_parts(order, twice)[1]
    assert reason.startswith("a has not learned, one of 2 comparisons speaks against it"), "what has learned is told beside what has not"
    picked = replace(against, estimate=replace(against.estimate, rivals=2))
    assert judge_parts(order, [picked])[0] == "undecided"
    tail = picked.estimate.below(0.5)
    assert position("order", 0.5, against.estimate, int(0.025 / tail)) == "contradicted"
    assert position("order", 0.5, against.estimate, int(0.025 / tail) + 1) == "spans"


def test_a_verdict_that_stands_from_an_earlier_look_says_so():
    cells = pd.DataFrame({"seed": range(6)})

    def estimand(seen):
        return [part(2.0, 3.0, seeds=len(seen), name="a − b")]

    row = judge(claim(), estimand, cells, "reduced", first=3)
    assert row["verdict"] == "supported" and row["reason"].endswith("; reached with 3 seeds, and it stands: 6 have run by now")
    assert "reached" not in judge(claim(), estimand, cells[:3], "reduced", first=3)["reason"]


def test_what_an_early_look_cannot_form_a_later_one_judges():
    """As where an arm is seen to have learned only with more seeds."""

    def estimand(seen):
        if len(seen) < 5:
            raise Undecided("too few have learned")
        return [part(2.0, 3.0, seeds=len(seen), name="a − b")]

    row = judge(claim(), estimand, pd.DataFrame({"seed": range(6)}), "reduced", first=3)
    assert row["verdict"] == "supported" and row["seeds"] == 5
    early = judge(claim(), estimand, pd.DataFrame({"seed": range(4)}), "reduced", first=3)
    assert early["verdict"] == "undecided" and early["reason"] == "too few have learned" and early["parts"] == []


UNFIT = ("a has not learned",)


def at_six(early: list[Part], late: list[Part] | None, name="order") -> dict:
    """What is judged with six seeds where the parts were `early` ones at the first look, of three, and then `late` ones (None: they cannot
    be formed). Each holds a run a seed."""

    def estimand(seen):
        if len(seen) > 3 and late is None:
            raise Undecided("a has not learned")
        return [replace(each, runs=tuple(f"{each.name}{seed}" for seed in seen["seed"])) for each in (early if len(seen) == 3 else late)]

    return judge(claim(name), estimand, pd.DataFrame({"seed": range(6)}), "reduced", first=3)


@pytest.mark.parametrize("late", [None, [replace(part(2.0, 3.0, seeds=6), unfit=UNFIT)]])
def test_a_verdict_falls_where_all_seeds_do_not_bear_out_that_what_it_compares_has_learned(late):
    """The gate is asked anew at each look, so by chance it may open once."""
    row = at_six([part(2.0, 3.0)], late)
    assert row["verdict"] == "undecided" and row["reason"].startswith("a has not learned")
    assert row["reason"].endswith("; supported with 3 seeds, which all that have run do not bear out")


def test_a_verdict_falls_where_another_comparison_has_taken_its_place():
    """As where a rate that had learned with fewer seeds has not with all of them."""
    assert at_six([part(2.0, 3.0, name="at 8")], [part(-0.5, 1.5, seeds=6, name="at 2")])["verdict"] == "undecided"
    assert at_six([part(2.0, 3.0, name="at 8")], [part(-0.5, 1.5, seeds=6, name="at 8")])["verdict"] == "supported"


def test_what_contradicts_is_not_held_to_what_else_has_learned():
    good, against = part(2.0, 3.0, name="a − b"), part(-4.0, -3.0, name="b − c")
    later = [replace(each, estimate=replace(each.estimate, seeds=6)) for each in (good, against)]
    assert at_six([good, against], [replace(later[0], unfit=UNFIT), later[1]])["verdict"] == "contradicted"
    swapped = at_six([replace(good, unfit=UNFIT), against], [later[0], replace(later[1], unfit=UNFIT)])
    assert swapped["verdict"] == "undecided", "one has not learned at each look, and now it is the one that contradicted"


def test_a_verdict_may_be_reached_again():
    def estimand(seen):
        runs = tuple(f"r{seed}" for seed in (seen["seed"] if len(seen) != 4 else range(9, 12)))
        return [replace(part(2.0, 3.0, seeds=len(seen)), runs=runs)]

    row = judge(claim(), estimand, pd.DataFrame({"seed": range(6)}), "reduced", first=4)
    assert row["verdict"] == "supported" and row["seeds"] == 5 and "bear out" not in row["reason"]


def test_the_margin_says_which_side_supports():
    assert margin_in_words(claim(margin=0.5)) == "> 0.5 points" and margin_in_words(claim("equivalence", 3.0)) == "within ± 3 points"


def test_the_best_of_several_must_speak_louder_for_it():
    good = part(0.6, 4).estimate
    assert position("order", 0.5, good) == "supported"
    assert position("order", 0.5, replace(good, spared=1)) == "spans"


def test_evidence_is_the_interval_turned_round():
    found = part(-1.0, 3.0).estimate
    assert evidence("difference", -1.0, found) == pytest.approx((0.025, 0.975))
    assert evidence("difference", 3.0, found) == pytest.approx((0.975, 0.025))
    assert evidence("equivalence", 3.0, found)[0] == pytest.approx(0.025, abs=1e-4)
    assert evidence("equivalence", 1.0, part(1.0, 3.0).estimate)[1] == pytest.approx(0.025)


def test_noise_alone_contradicts_an_order_of_many_seldom():
    """Twenty differences of exactly the margin: without the family about 1 - 0.975^20 = 40 % would be contradicted."""
    rng, trials = np.random.default_rng(0), 1000
    order = claim("order", 0.5)
    draws = 0.5 + rng.standard_normal((trials, 20))
    parts = [[Part("x", made(value, 0.0, 1.0, 3)) for value in row] for row in draws]
    assert sum(judge_parts(order, row)[0] == "contradicted" for row in parts) / trials < 0.04


def test_too_few_seeds_lean_but_never_decide():
    verdict, reason = judge_parts(claim(), [part(5, 6, seeds=1)])
    assert verdict == "undecided" and reason.startswith("n = 1, leans for")
    verdict, reason = judge_parts(claim(), [part(-6, -5, seeds=2)])
    assert verdict == "undecided" and reason.startswith("n = 2, leans against")
    assert "leans both ways" in judge_parts(claim("order"), [part(5, 6, seeds=1), part(-6, -5, seeds=1)])[1]


def test_missing_parts_keep_it_undecided_and_are_named():
    verdict, reason = judge_parts(claim("order"), [part(5, 6), Part("b − c", None, ("r3",), "no run of c")])
    assert verdict == "undecided" and reason.startswith("no run of c, leans for")
    assert judge_parts(claim(), []) == ("undecided", "nothing to judge")


def test_no_interval_decides_nothing():
    verdict, reason = judge_parts(claim(), [Part("a − b", Estimate(9.0, None, None, 3))])
    assert verdict == "undecided" and "margin of 1 points, leans for" in reason


def test_a_verdict_never_crosses_scopes():
    def estimand(cells):
        return [part(5, 6)]

    assert judge(claim(scope="paper"), estimand, None, "paper")["verdict"] == "supported"
    row = judge(claim(scope="paper"), estimand, None, "reduced")
    assert (row["verdict"], row["reason"]) == ("undecided", "compares with a constant of the paper's own scale")
    assert judge(claim(), estimand, None, "embedded")["scope"] == "embedded"


def test_row_shows_the_part_that_decides_and_all_runs():
    row = judge(claim("order"), lambda cells: [part(5, 6), replace(part(-3, -2, 4, "b − c"), runs=("r2", "r9"))], None, "reduced")
    assert (row["ours"], row["seeds"], row["runs"]) == (-2.5, 4, "r1 r2 r9") and (row["low"], row["high"]) == pytest.approx((-3, -2))
    assert tuple(row) == (*COLUMNS, "parts")


def test_the_weakest_part_stands_for_a_supported_claim():
    row = judge(claim("order"), lambda cells: [part(5, 6), part(2, 9)], None, "reduced")
    assert row["verdict"] == "supported" and (row["low"], row["high"]) == pytest.approx((2, 9))


def test_an_estimand_may_decline():
    def estimand(cells):
        raise Undecided("another reading")

    row = judge(claim(), estimand, None, "reduced")
    assert (row["verdict"], row["reason"], row["ours"], row["seeds"]) == ("undecided", "another reading", None, 0)


def test_a_study_has_a_row_for_every_claim_and_refuses_unknown_ones(tmp_path):
    verdicts = judge_study("backbone_contest", {"C1": lambda cells: [part(1, 2)]}, None, "reduced")
    assert list(verdicts["claim"]) == ["C1", "C2", "C2b", "C2c", "C3", "C4", "C5", "C6", "C7", "C8", "C9"]
    assert verdicts.loc[0, "verdict"] == "supported" and set(verdicts.loc[1:, "verdict"]) == {"undecided"}
    with pytest.raises(UserError, match="C2b"):
        judge_study("backbone_contest", {"C2d": lambda cells: []}, None, "reduced")
    with pytest.raises(UserError, match="reduced"):
        judge_study("backbone_contest", {}, None, "reducd")
    read = pd.read_csv(write_claims(verdicts, tmp_path))
    assert list(read.columns) == list(COLUMNS) and read.loc[0, "ours"] == 1.5 and read.loc[0, "runs"] == "r1 r2"
    table = verdict_table(verdicts)
    assert table.loc[0, "ours [95 %]"] == "1.50 [1.00, 2.00]" and table.loc[1, "ours [95 %]"] == "—"
    assert table.loc[7, "says"].endswith("(ours)")


def test_the_claims_file_is_held_to_its_fields(tmp_path):
    assert read_claims()["C3"].scope == "paper" and read_claims()["C5"].unit == "CKA" and read_claims()["C7"].ours
    bad = tmp_path / "some_study" / "claims.toml"
    bad.parent.mkdir()
    bad.write_text('[Z]\nkind = "differense"\nmargin = 0.0\nstatement = "s"\nestimand = "e"\n')
    with pytest.raises(UserError, match="difference"):
        read_claims(tmp_path)
    bad.write_text('[Z]\nkind = "order"\nmargn = 0.0\nstatement = "s"\nestimand = "e"\n')
    with pytest.raises(UserError, match="margn"):
        read_claims(tmp_path)
    bad.write_text('[C1]\nkind = "order"\nmargin = 0.0\nstatement = "s"\nestimand = "e"\n')
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "claims.toml").write_text(bad.read_text())
    with pytest.raises(UserError, match="C1 stands in other and in some_study"):
        read_claims(tmp_path)


def test_every_claim_names_a_figure_or_table_of_its_study():
    for claim in read_claims().values():
        notebook = json.loads((REPOSITORY / "notebooks" / f"{claim.study}.ipynb").read_text(encoding="utf-8"))
        source = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
        assert re.search(rf'report\.(figure|table)\(\s*"{claim.figure}",', source), f"{claim.id}: {claim.figure}"
