"""The ledger of claims: every claim in every variant that judged it, as results/claims.csv and results/claims.md, and in short in the README."""

from collections import Counter

import numpy as np
import pandas as pd

from helpers import studies
from helpers.core.files import read_json
from helpers.judging import looks
from helpers.judging.claims import Claim, read_claims
from helpers.judging.tables import TAKES, TREND, margin_in_words
from helpers.judging.wording import in_words
from helpers.pages.blocks import command, count, found_verdicts, variants
from helpers.pages.prices import GUESS, cost
from helpers.report.report import MISSING, markdown

VERDICTS = ("supported", "contradicted", "undecided")
COLUMNS = (
    *("claim", "study", "variant", "statement", "published", "ours", "low", "high", "level", "unit", "margin"),
    *("seeds", "runs", "scope", "trend", "verdict", "p_for", "p_against", "holm", "needs", "takes", "cost", "reason", "figure"),
)
FAMILY = 0.05  # the chance that any verdict of the whole ledger is wrong, after Holm


def ledger() -> pd.DataFrame:
    """A row for every claim in every variant of its study, in the order of claims.toml; one that no variant judged has a row that says so."""
    claims = read_claims()
    found = {path: found_verdicts(path) for path in variants() if (path / "claims.csv").is_file()}
    rows = []
    for claim in claims.values():
        judged = [
            _judged(claim, path, row)
            for path, frame in found.items()
            if path.parent.name == claim.study
            for row in frame[frame["claim"] == claim.id].to_dict("records")
        ]
        rows += judged or [_unjudged(claim)]
    return with_holm(pd.DataFrame(rows, columns=list(COLUMNS)))


def with_holm(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with what is left of their verdicts when all that have an interval share one chance to be wrong (Holm): of either
    direction the better p-value, which is two-sided. What could not be judged stays in the family, where it can only take."""
    p = rows[["p_for", "p_against"]].astype(float)
    smaller = p.min(axis=1).fillna(1.0).to_numpy()
    better = np.where(p["p_for"].fillna(1.0) < p["p_against"].fillna(1.0), "supported", "contradicted")
    family = rows["low"].notna().to_numpy()
    held = np.zeros(len(rows), dtype=bool)
    held[family] = holm(smaller[family]) < FAMILY
    return rows.assign(holm=np.where(held, better, np.where(family, "undecided", "")))


def after_holm() -> dict[tuple[str, str], str]:
    """What is left of the verdict of each claim in each variant."""
    rows = ledger()
    return {(claim, variant): held for claim, variant, held in rows[["claim", "variant", "holm"]].itertuples(index=False)}


def holm(p: np.ndarray) -> np.ndarray:
    """Adjusted p-values: the smallest times their number, the next times one fewer, none below one before it."""
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return adjusted.clip(max=1.0)


def _judged(claim: Claim, path, row: dict) -> dict:
    same = {
        name: row.get(name)
        for name in ("ours", "low", "high", "level", "seeds", "scope", "trend", "verdict", "p_for", "p_against", "needs", "takes", "reason")
    }
    runs = [] if pd.isna(row["runs"]) else row["runs"].split()
    asked = "" if pd.isna(row["needs"]) else cost(runs, int(row["needs"]))
    return _about(claim) | same | {"variant": path.name, "runs": len(runs), "cost": asked, "figure": _shown(claim, path)}


def _unjudged(claim: Claim) -> dict:
    """No variant of its study is committed, or the claim was made after it was drawn."""
    none = dict.fromkeys(("ours", "low", "high", "level", "p_for", "p_against", "needs", "takes", "cost"))
    reason = f"not computed yet: `{command(claim.study, studies.part(claim.study, 'settings').VARIANTS[0])}`"
    return (
        _about(claim)
        | none
        | {"variant": "", "seeds": 0, "runs": 0, "scope": "", "trend": "", "verdict": "undecided", "reason": reason, "figure": ""}
    )


def _about(claim: Claim) -> dict:
    statement = claim.statement + (" (ours)" if claim.ours else "")
    return {"claim": claim.id, "study": claim.study, "statement": statement} | {
        name: getattr(claim, name) for name in ("published", "unit", "margin")
    }


def _shown(claim: Claim, path) -> str:
    """The figure or table that shows a claim, as a path within results/, where the variant has it: the picture, or the table to be read."""
    index = read_json(path / "index.json") if (path / "index.json").is_file() else []
    files = next((entry["files"] for entry in index if entry["name"] == claim.figure), [])
    return next((f"{path.parent.name}/{path.name}/{name}" for name in files if name.endswith((".svg", ".md"))), "")


def csv_text(rows: pd.DataFrame) -> str:
    """Levels and p-values in as many digits as they have: the other numbers keep four places."""
    short = {
        name: ["" if pd.isna(each) else f"{each:.4g}" for each in rows[name].astype(float)] for name in ("level", "p_for", "p_against")
    }
    return rows.assign(**short).astype({"needs": "Int64"}).to_csv(index=False, float_format="%.4f", lineterminator="\n")


HOLM = """\
*After Holm*: what is left of a verdict when every claim here that has an interval shares a chance of 5 % that any is decided wrongly.
*Margin*: a claim is supported where the whole interval lies above it (within it on both sides, where it is of equality), contradicted
where the whole interval lies on the other side, at the level that its comparisons share. What leans for it has its middle on the right side.
*Would take*: how many seeds in all would decide with a chance of 80 %, were the truth what was found; a projection from few
seeds. "Hardly by {most} seeds": at every look on the way a verdict has a chance below {hopeless:.0f} %.
What they cost is what this claim's seeds cost: their measured time, where a run that kept one core busy counts half of it as hours of two, and on an H100 a guess from their training's
operations and steps, with {run:.0f} s a run for images and readouts.""".format(
    most=looks.MOST, hopeless=100 * looks.HOPELESS, run=GUESS["cuda"].run
)


def page(rows: pd.DataFrame) -> str:
    """results/claims.md: who says what of which claim at a glance, then each variant's verdicts with all that is behind them."""
    parts = [
        "# Ledger of claims",
        "Written by `make claims` from the records; the same as [claims.csv](claims.csv). A verdict holds for its scope only.",
        HOLM,
    ]
    judged = rows[rows["variant"] != ""]
    if len(judged):
        names = {(row.study, row.variant): f"{row.study}, {row.variant}" for row in judged.itertuples()}
        verdict = {(row.claim, row.study, row.variant): row.verdict for row in judged.itertuples()}
        grid = [
            {"claim": claim} | {name: verdict.get((claim, *key), MISSING) for key, name in names.items()}
            for claim in dict.fromkeys(judged["claim"])
        ]
        parts.append(markdown(pd.DataFrame(grid)))
    last = ""
    for (study, variant), part in judged.groupby(["study", "variant"], sort=False):
        if study != last:
            parts += [f"## {study}: what is judged", markdown(_asked(study))]
            last = study
        where = f"[{study}/{variant}]({study}/{variant})"
        parts += [f"## {study}, {variant}", f"{count(part)}; tables, figures and runs in {where}.", markdown(_readable(part))]
    waiting = rows[rows["variant"] == ""]
    if len(waiting):
        parts += ["## Not judged yet", markdown(waiting[["claim", "study", "statement", "published", "verdict", "reason"]])]
    return "\n\n".join(parts) + "\n"


def _asked(study: str) -> pd.DataFrame:
    """Of each claim the number that is estimated, as it was fixed before the first run: it may test less than the sentence says."""
    return pd.DataFrame([{"claim": c.id, "says": c.statement, "judged": c.estimand} for c in read_claims().values() if c.study == study])


def _readable(part: pd.DataFrame) -> pd.DataFrame:
    table = part[["claim", "statement", "published"]].copy()
    table["ours [95 %]"] = [in_words(row.ours, row.low, row.high, row.level) for row in part.itertuples()]
    claims = read_claims()
    table["margin"] = [margin_in_words(claims[name]) for name in part["claim"]]
    table[["seeds", "runs", "scope"]] = part[["seeds", "runs", "scope"]]
    table[TREND] = [MISSING if pd.isna(each) or not each else each for each in part["trend"]]
    table["verdict"] = part["verdict"]
    table["after Holm"] = [each or MISSING for each in part["holm"]]
    for name, column in ((TAKES, "takes"), ("further seeds cost (projection)", "cost")):
        table[name] = [MISSING if pd.isna(each) or not each else each for each in part[column]]
    table["reason"] = part["reason"]
    table["shown in"] = [f"[{path.rsplit('/', 1)[-1].partition('.')[0]}]({path})" if path else MISSING for path in part["figure"]]
    return table


def summary() -> str:
    """The count of verdicts, a row a study and variant."""
    rows = ledger()
    table = []
    for (study, variant), part in rows.groupby(["study", "variant"], sort=False):
        found, kept = Counter(part["verdict"]), Counter(part["holm"])
        scope = ", ".join(dict.fromkeys(part["scope"])) or MISSING
        table.append(
            {"study": study, "variant": variant or "not computed yet", "scope": scope, "claims": len(part)}
            | {v: found[v] for v in VERDICTS}
            | {"of them after Holm": f"{kept['supported']} supported, {kept['contradicted']} contradicted"}
        )
    return (
        markdown(pd.DataFrame(table))
        + "\n\nEvery claim with its interval, its reason and the figure that shows it: [claims.md](claims.md), [claims.csv](claims.csv)."
    )
