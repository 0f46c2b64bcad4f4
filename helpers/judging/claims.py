"""The judge: claims from the claims.toml of every study, verdicts computed from estimates by one rule.

- difference, association, share: supported when the whole interval lies above the margin, contradicted when below it;
- equivalence: supported when the whole interval lies within plus or minus the margin, contradicted when wholly outside;
- order: the rule of difference for each neighbouring pair, and of any claim with several parts: supported when every part is,
  contradicted when any is;
- anything else, and any part with fewer than three seeds, is undecided, with the reason and the direction it leans;
- a part that compares what has not learned (competence.py) is never judged: it is undecided, and names what has not.

"Supported" asks all parts at once, so each is tested at the full level: chance would have to favour every one. "Contradicted" asks any of
them, so that all comparisons together hold the level (Bonferroni): the parts, and where a part is the rival that speaks most against,
all the rivals it was picked from. Where parts may fail and the best are taken, they are tested at the level of so many choices.
"""

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from helpers.core.errors import UserError, pick, unknown
from helpers.judging import looks
from helpers.judging.competence import UNRECORDED, UNREFERRED
from helpers.judging.evidence import evidence, leans_for, position, sharing
from helpers.judging.price import Price, price_of_all
from helpers.judging.statistics import LEVEL, Estimate
from helpers.judging.trend import words
from helpers.judging.wording import in_words, listed

STUDIES = Path(__file__).parents[1] / "studies"
SEEDS_NEEDED = 3
UNLEARNED = "training that learns, before any seeds"
UNSEEN = "the same runs anew: these did not record their directions"
UNREAD = "the untrained references: run the study again, they take seconds"
SCOPES = ("embedded", "reduced", "paper")
KINDS = ("order", "difference", "equivalence", "association", "share")
COLUMNS = (
    *("claim", "study", "scope", "published", "ours", "low", "high", "level", "seeds", "trend", "verdict", "reason"),
    *("p_for", "p_against", "needs", "takes", "runs"),
)


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
    trend: tuple[tuple[float, float], ...] = ()  # (share of the training, the difference by then), where it was read on the way
    unfit: tuple[str, ...] = ()  # what it compares and has not learned, in words: it cannot be judged by it


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


def at_look(parts: list[Part], first: int | None) -> list[Part]:
    """The parts of a study that decides adaptively from `first` seeds on, each interval at the level of the look that it is;
    None: a fixed number of seeds, so they stay at 95 %."""
    if first is None:
        return parts
    return [
        replace(part, estimate=part.estimate.at(1 - looks.alpha(first, part.estimate.seeds))) if part.estimate else part for part in parts
    ]


def judge_parts(claim: Claim, parts: list[Part]) -> tuple[str, str]:
    """(verdict, reason) of a claim from its parts alone, each at the level of its interval; scope is judge's business."""
    found, enough = [part for part in parts if part.estimate is not None], _judged(parts)
    family = _family(enough)
    if against := _against(claim, parts):
        return "contradicted", "; ".join(_told(part) for part in against)
    if parts and len(enough) == len(parts) and all(position(claim.kind, claim.margin, part.estimate) == "supported" for part in parts):
        return "supported", "; ".join(_told(part) for part in parts)
    reasons = [part.missing for part in parts if part.estimate is None]
    reasons += listed([words for part in parts for words in part.unfit])
    if (fewest := min((part.estimate.seeds for part in found), default=SEEDS_NEEDED)) < SEEDS_NEEDED:
        reasons.append(f"n = {fewest}")
    elif found and (not reasons or _chance_of_many(claim, enough)):
        reasons.append(_within(claim, found, family))
    if found:
        lean = {leans_for(claim.kind, claim.margin, part.estimate) for part in found}
        reasons.append({(True,): "leans for", (False,): "leans against", (False, True): "leans both ways"}[tuple(sorted(lean))])
    text = ", ".join(dict.fromkeys(reasons)) or "nothing to judge"
    return "undecided", "; ".join([text, *(_told(part) for part in found)])


def _judged(parts: list[Part]) -> list[Part]:
    """Those that a verdict may rest on."""
    return [part for part in parts if part.estimate is not None and part.estimate.seeds >= SEEDS_NEEDED and not part.unfit]


def _family(parts: list[Part]) -> int:
    return sum(part.estimate.rivals for part in parts)


def _against(claim: Claim, parts: list[Part]) -> list[Part]:
    """Those that contradict a claim by themselves, among so many."""
    judged = _judged(parts)
    return [part for part in judged if position(claim.kind, claim.margin, part.estimate, _family(judged)) == "contradicted"]


def deciding(claim: Claim, parts: list[Part], verdict: str) -> Part | None:
    """The part whose numbers stand for the claim: the one that contradicts it, or else the one furthest from supporting it."""
    found = [part for part in parts if part.estimate is not None]
    if claim.kind == "equivalence":
        return max(found, key=lambda part: abs(part.estimate.value), default=None)

    def strength(part: Part) -> float:
        bound = part.estimate.high if verdict == "contradicted" else part.estimate.low
        return part.estimate.value if bound is None else bound

    return min(found, key=strength, default=None)


def judge(
    claim: Claim, estimand: Callable[..., list[Part]] | None, cells: pd.DataFrame, scope: str, first: int | None = None, **context
) -> dict:
    """One row of claims.csv, and beside its columns the "parts" they come from. `context` (reading, readout) goes to the
    estimand, which is handed the cells; `first` as for `at_look`."""
    parts, verdict, reason = [], "undecided", "no estimand is bound to this claim"
    if estimand is not None:
        parts, verdict, reason = judge_looks(claim, estimand, cells, first, context)
    if claim.scope == "paper" and scope != "paper":
        verdict, reason = "undecided", "compares with a constant of the paper's own scale"
    runs = dict.fromkeys(run for each in parts for run in each.runs)
    if lacking := dict.fromkeys(run for each in parts for run in each.lacking):  # those that came first may not be those that decide
        verdict, reason = "undecided", f"{len(runs)} of {len(runs) + len(lacking)} runs; {reason}"
    part = deciding(claim, parts, verdict)
    shown = part.estimate if part else Estimate(None, None, None, 0)
    course = words(part.trend, claim.margin, claim.kind) if part else ""
    values = (shown.value, shown.low, shown.high, 100 * shown.level, shown.seeds, course, verdict, reason)
    tests, asked = (None, None), (None, "")
    if not lacking and not (claim.scope == "paper" and scope != "paper"):  # else it could not be decided, whatever the numbers
        tests = p_values(claim, parts)
        asked = takes(claim, parts, first) if verdict == "undecided" else asked
    row = dict(zip(COLUMNS, (claim.id, claim.study, scope, claim.published, *values, *tests, *asked, " ".join(runs)), strict=True))
    return row | {"parts": parts}


def judge_looks(
    claim: Claim, estimand: Callable[..., list[Part]], cells: pd.DataFrame, first: int | None, context: dict
) -> tuple[list[Part], str, str]:
    """(parts, verdict, reason) of the first look that decides, or of the last one. What cannot be formed at one look may be at a later one.
    A verdict stands where all the seeds that have run bear out that what it rests on passes the gate: by chance it may open once."""
    had, fell = seen_at_looks(cells, first), ""
    last = _formed(estimand, had[-1], context)
    for seen in had:
        formed, unformed = last if seen is had[-1] else _formed(estimand, seen, context)
        parts = at_look(formed, first)
        verdict, reason = ("undecided", unformed) if unformed else judge_parts(claim, parts)
        if verdict == "undecided" or any(part.lacking for part in parts):
            continue
        now, later = _most_seeds(parts), _most_seeds(last[0])
        if all(_borne_out(part, last[0]) for part in (parts if verdict == "supported" else _against(claim, parts))):
            return parts, verdict, reason + (f"; reached with {now} seeds, and it stands: {later} have run by now" if now < later else "")
        fell = f"; {verdict} with {now} seeds, which all that have run do not bear out"
    return parts, verdict, reason + fell


def _borne_out(part: Part, last: list[Part]) -> bool:
    """Whether the same runs, with those at further seeds, are compared still and pass the gate."""
    return any(set(part.runs) <= set(each.runs) and each.estimate is not None and not each.unfit for each in last)


def seen_at_looks(cells: pd.DataFrame, first: int | None) -> list[pd.DataFrame]:
    """The rows that each look had: no verdict depends on the seeds that other claims then asked for."""
    if first is None or cells is None or "seed" not in cells or (most := int(cells["seed"].max()) + 1) <= first:
        return [cells]
    return [cells[cells["seed"] < seeds] for seeds in range(first, most + 1)]


def _formed(estimand: Callable[..., list[Part]], cells: pd.DataFrame, context: dict) -> tuple[list[Part], str]:
    try:
        return estimand(cells, **context), ""
    except Undecided as why:
        return [], str(why)


def _most_seeds(parts: list[Part]) -> int:
    return max((part.estimate.seeds for part in parts if part.estimate), default=0)


def p_values(claim: Claim, parts: list[Part]) -> tuple[str | None, str | None]:
    """(for, against), two-sided as the verdict takes them: beside 0.05 they give it. Of an adaptive study they are raised as its level
    is lowered. As text of three digits: columns of numbers keep four places."""
    if not (found := [part.estimate for part in _judged(parts)]):
        return None, None
    family = sum(each.rivals for each in found)
    pairs = [evidence(claim.kind, claim.margin, each) for each in found]
    scale = [2 * (1 - LEVEL) / (1 - each.level) for each in found]
    pro = max(p * by * sharing(each.level, 1 + each.spared) for (p, _), by, each in zip(pairs, scale, found, strict=True))
    contra = min(p * by * sharing(each.level, family) for (_, p), by, each in zip(pairs, scale, found, strict=True))
    return f"{min(pro, 1.0) if len(found) == len(parts) else 1.0:.3g}", f"{min(contra, 1.0):.3g}"


def takes(claim: Claim, parts: list[Part], first: int | None) -> tuple[int | None, str]:
    """(seeds in all, the same in words) that would probably decide; (None, "") where something else than seeds is missing."""
    found = [part.estimate for part in parts if part.estimate is not None]
    if not found or len(found) < len(parts):
        return None, ""
    if unfit := [words for part in parts for words in part.unfit]:
        asked = {UNREAD if UNREFERRED in words else UNSEEN if UNRECORDED in words else UNLEARNED for words in unfit}
        return None, next(words for words in (UNLEARNED, UNSEEN, UNREAD) if words in asked)
    if min(each.seeds for each in found) < SEEDS_NEEDED:
        return SEEDS_NEEDED, f"{SEEDS_NEEDED} seeds at least"
    if any(each.error is None for each in found):
        return None, ""
    open_ = [each for each in found if position(claim.kind, claim.margin, each) != "supported"]
    contrary = [each for each in open_ if not leans_for(claim.kind, claim.margin, each)]  # one of them would be enough
    few = all if contrary else any
    if first is not None and few(looks.futile(claim.kind, claim.margin, each, first) for each in contrary or open_):
        return None, f"hardly to be decided by {looks.MOST} seeds"
    asked: Price = (
        price_of_all(claim.kind, claim.margin, found)
        if first is None
        else price_of_all(claim.kind, claim.margin, found, partial(looks.alpha, first), looks.MOST)
    )
    return asked.seeds, asked.words()


def judge_study(
    study: str, estimands: dict[str, Callable], cells: pd.DataFrame, scope: str, first: int | None = None, **context
) -> pd.DataFrame:
    """A row for every claim of a study, in the order of claims.toml. `first`: with how many seeds a study began that adds seeds until
    its claims are decided (see `looks`); None: their number was fixed beforehand."""
    if scope not in SCOPES:
        raise unknown("scope", scope, SCOPES)
    claims = {name: claim for name, claim in read_claims().items() if claim.study == study}
    for name in estimands:
        pick(f"claim of {study}", name, claims)
    rows = [judge(claim, estimands.get(name), cells, scope, first, **context) for name, claim in claims.items()]
    verdicts = pd.DataFrame(rows, columns=list(COLUMNS))
    verdicts.attrs["parts"] = {row["claim"]: row["parts"] for row in rows}  # for whoever plans what to train next
    return verdicts


def _chance_of_many(claim: Claim, parts: list[Part]) -> bool:
    """Whether a part speaks against the claim by itself."""
    return any(not part.unfit and position(claim.kind, claim.margin, part.estimate) == "contradicted" for part in parts)


def _within(claim: Claim, parts: list[Part], family: int) -> str:
    """Why parts that all have their seeds do not decide."""
    if _chance_of_many(claim, parts):
        return f"one of {family} comparisons speaks against it, and that may be chance among so many"
    if all(position(claim.kind, claim.margin, replace(part.estimate, spared=0)) == "supported" for part in parts):
        return "what holds was chosen as what holds best, and that may be chance"
    return f"an interval spans the margin of {claim.margin:g} {claim.unit}"


def _told(part: Part) -> str:
    found = part.estimate
    return f"{part.name} {in_words(found.value, found.low, found.high)}"
