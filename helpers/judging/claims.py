"""The judge: claims from the claims.toml of every study, verdicts computed from estimates by one rule.

- difference, association, share: supported when the whole interval lies above the margin, contradicted when below it;
- equivalence: supported when the whole interval lies within plus or minus the margin, contradicted when wholly outside;
- order: the rule of difference for each neighbouring pair, and of any claim with several parts: supported when every part is,
  contradicted when any is;
- anything else, and any part with fewer than three seeds, is undecided, with the reason and the direction it leans.

"Supported" asks all parts at once, so each is tested at the full level: chance would have to favour every one. "Contradicted" asks any of
them, so that all comparisons together hold the level (Bonferroni): the parts, and where a part is the rival that speaks most against,
all the rivals it was picked from. Where parts may fail and the best are taken, they are tested at the level of so many choices.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from helpers.core.errors import UserError, pick, unknown
from helpers.core.files import write_text
from helpers.judging.evidence import leans_for, position
from helpers.judging.statistics import Estimate

STUDIES = Path(__file__).parents[1] / "studies"
SEEDS_NEEDED = 3
SCOPES = ("embedded", "reduced", "paper")
KINDS = ("order", "difference", "equivalence", "association", "share")
COLUMNS = ("claim", "study", "scope", "published", "ours", "low", "high", "seeds", "verdict", "reason", "runs")


@dataclass(frozen=True)
class Claim:
    """One claim of its study's claims.toml. `kind` is order, difference, equivalence, association or share, `margin` in `unit`. `scope` is None for a claim that may be judged at any scale, "paper" for one that may not, or the settings
    that its estimand asks of the runs; `ours` is True where no paper makes it.
    `figure` is the figure or table of its study that shows it best, "" where none does."""

    id: str
    study: str
    kind: str
    margin: float
    statement: str
    estimand: str
    unit: str = "points"
    scope: str | None = None
    ours: bool = False
    published: str = "no figure"
    figure: str = ""


@dataclass(frozen=True)
class Part:
    """One difference a claim asks for: its estimate, or None and what is missing; the ids of the runs behind it, and of those that
    were asked for and have no record."""

    name: str
    estimate: Estimate | None
    runs: tuple[str, ...] = ()
    missing: str = ""
    lacking: tuple[str, ...] = ()
    asked: bool = True  # False: what it compares is in no run of this variant, recorded or to come


class Undecided(Exception):
    """Raised by an estimand that cannot be formed here at all; its text is the reason."""


def read_claims(studies: Path = STUDIES) -> dict[str, Claim]:
    """Every claim of every study by its id."""
    claims: dict[str, Claim] = {}
    for path in sorted(studies.glob("*/claims.toml")):
        where = f"{path.parent.name}/{path.name}"
        for name, fields in tomllib.loads(path.read_text(encoding="utf-8")).items():
            if name in claims:
                raise UserError(f"Claim {name} stands in {claims[name].study} and in {where}: give one of them another id.")
            try:
                claims[name] = Claim(id=name, study=path.parent.name, **fields)
            except TypeError as error:
                raise UserError(f"Claim {name} in {where} has a missing or unknown field: {error}.") from error
            if claims[name].kind not in KINDS:
                raise unknown(f"kind of claim {name}", claims[name].kind, KINDS)
    return claims


def judge_parts(claim: Claim, parts: list[Part]) -> tuple[str, str]:
    """(verdict, reason) of a claim from its parts alone; scope is judge's business."""
    found = [part for part in parts if part.estimate is not None]
    enough = [part for part in found if part.estimate.seeds >= SEEDS_NEEDED]
    family = sum(part.estimate.rivals for part in enough)
    against = [part for part in enough if position(claim.kind, claim.margin, part.estimate, family) == "contradicted"]
    if against:
        return "contradicted", "; ".join(_told(part) for part in against)
    if parts and len(enough) == len(parts) and all(position(claim.kind, claim.margin, part.estimate) == "supported" for part in parts):
        return "supported", "; ".join(_told(part) for part in parts)
    reasons = [part.missing for part in parts if part.estimate is None]
    if len(enough) < len(found):
        reasons.append(f"n = {min(part.estimate.seeds for part in found)}")
    elif found and not reasons:
        reasons.append(_within(claim, found, family))
    if found:
        lean = {leans_for(claim.kind, claim.margin, part.estimate) for part in found}
        reasons.append({(True,): "leans for", (False,): "leans against", (False, True): "leans both ways"}[tuple(sorted(lean))])
    text = ", ".join(dict.fromkeys(reasons)) or "nothing to judge"
    return "undecided", "; ".join([text, *(_told(part) for part in found)])


def deciding(claim: Claim, parts: list[Part], verdict: str) -> Part | None:
    """The part whose numbers stand for the claim: the one that contradicts it, or else the one furthest from supporting it."""
    found = [part for part in parts if part.estimate is not None]
    if claim.kind == "equivalence":
        return max(found, key=lambda part: abs(part.estimate.value), default=None)

    def strength(part: Part) -> float:
        bound = part.estimate.high if verdict == "contradicted" else part.estimate.low
        return part.estimate.value if bound is None else bound

    return min(found, key=strength, default=None)


def judge(claim: Claim, estimand: Callable[..., list[Part]] | None, cells: pd.DataFrame, scope: str, **context) -> dict:
    """One row of claims.csv, and beside its columns the "parts" they come from. `context` (reading, readout) goes to the
    estimand, which is handed the cells."""
    parts, verdict, reason = [], "undecided", "no estimand is bound to this claim"
    if estimand is not None:
        try:
            parts = estimand(cells, **context)
            verdict, reason = judge_parts(claim, parts)
        except Undecided as why:
            reason = str(why)
    if claim.scope == "paper" and scope != "paper":
        verdict, reason = "undecided", "compares with a constant of the paper's own scale"
    runs = dict.fromkeys(run for each in parts for run in each.runs)
    if lacking := dict.fromkeys(run for each in parts for run in each.lacking):  # those that came first may not be those that decide
        verdict, reason = "undecided", f"{len(runs)} of {len(runs) + len(lacking)} runs; {reason}"
    part = deciding(claim, parts, verdict)
    shown = part.estimate if part else Estimate(None, None, None, 0)
    values = (shown.value, shown.low, shown.high, shown.seeds, verdict, reason, " ".join(runs))
    row = dict(zip(COLUMNS, (claim.id, claim.study, scope, claim.published, *values), strict=True))
    return row | {"parts": parts}


def judge_study(study: str, estimands: dict[str, Callable], cells: pd.DataFrame, scope: str, **context) -> pd.DataFrame:
    """A row for every claim of a study, in the order of claims.toml."""
    if scope not in SCOPES:
        raise unknown("scope", scope, SCOPES)
    claims = {name: claim for name, claim in read_claims().items() if claim.study == study}
    for name in estimands:
        pick(f"claim of {study}", name, claims)
    rows = [judge(claim, estimands.get(name), cells, scope, **context) for name, claim in claims.items()]
    verdicts = pd.DataFrame(rows, columns=list(COLUMNS))
    verdicts.attrs["parts"] = {row["claim"]: row["parts"] for row in rows}  # for whoever plans what to train next
    return verdicts


def write_claims(verdicts: pd.DataFrame, folder: Path) -> Path:
    """claims.csv in a variant's folder."""
    return write_text(Path(folder) / "claims.csv", claims_text(verdicts))


def claims_text(verdicts: pd.DataFrame) -> str:
    return verdicts[list(COLUMNS)].to_csv(index=False, float_format="%.4f", lineterminator="\n")


def in_words(ours: float | None, low: float | None, high: float | None) -> str:
    """An estimate with its interval as a table shows it, "—" where there is none."""
    return "—" if pd.isna(ours) else f"{ours:.2f}" + ("" if pd.isna(low) else f" [{low:.2f}, {high:.2f}]")


def verdict_table(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The verdicts as a reader wants them: each claim's sentence first, its interval in one column, without run ids."""
    claims = read_claims()
    interval = [in_words(row.ours, row.low, row.high) for row in verdicts.itertuples()]
    table = verdicts[["claim", "published", "seeds", "scope", "verdict", "reason"]].copy()
    table.insert(1, "says", [claims[name].statement + (" (ours)" if claims[name].ours else "") for name in verdicts["claim"]])
    table.insert(3, "ours [95 %]", interval)
    table.insert(4, "margin", [f"{claims[name].margin:g} {claims[name].unit}" for name in verdicts["claim"]])
    return table


def _within(claim: Claim, parts: list[Part], family: int) -> str:
    """Why parts that all have their seeds do not decide."""
    places = {position(claim.kind, claim.margin, part.estimate) for part in parts}
    if "contradicted" in places:
        return f"one of {family} comparisons speaks against it, and that may be chance among so many"
    return f"an interval spans the margin of {claim.margin:g} {claim.unit}"


def _told(part: Part) -> str:
    found = part.estimate
    interval = "" if found.low is None else f" [{found.low:.2f}, {found.high:.2f}]"
    return f"{part.name} {found.value:.2f}{interval}"
