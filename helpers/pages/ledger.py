"""The ledger of claims: every claim in every variant that judged it, as results/claims.csv and results/claims.md, and in short in the README."""

from collections import Counter

import pandas as pd

from helpers import studies
from helpers.core.files import read_json
from helpers.judging.claims import TREND, Claim, in_words, read_claims
from helpers.pages.blocks import command, count, found_verdicts, variants
from helpers.report.report import MISSING, markdown

VERDICTS = ("supported", "contradicted", "undecided")
COLUMNS = (
    *("claim", "study", "variant", "statement", "published", "ours", "low", "high", "unit", "margin"),
    *("seeds", "runs", "scope", "trend", "verdict", "reason", "figure"),
)


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
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _judged(claim: Claim, path, row: dict) -> dict:
    same = {name: row.get(name) for name in ("ours", "low", "high", "seeds", "scope", "trend", "verdict", "reason")}
    runs = 0 if pd.isna(row["runs"]) else len(row["runs"].split())
    return _about(claim) | same | {"variant": path.name, "runs": runs, "figure": _shown(claim, path)}


def _unjudged(claim: Claim) -> dict:
    """No variant of its study is committed, or the claim was made after it was drawn."""
    none = dict.fromkeys(("ours", "low", "high"))
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
    return rows.to_csv(index=False, float_format="%.4f", lineterminator="\n")


def page(rows: pd.DataFrame) -> str:
    """results/claims.md: who says what of which claim at a glance, then each variant's verdicts with all that is behind them."""
    parts = [
        "# Ledger of claims",
        "Written by `make claims` from the records; the same as [claims.csv](claims.csv). A verdict holds for its scope only.",
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
    for (study, variant), part in judged.groupby(["study", "variant"], sort=False):
        where = f"[{study}/{variant}]({study}/{variant})"
        parts += [f"## {study}, {variant}", f"{count(part)}; tables, figures and runs in {where}.", markdown(_readable(part))]
    waiting = rows[rows["variant"] == ""]
    if len(waiting):
        parts += ["## Not judged yet", markdown(waiting[["claim", "study", "statement", "published", "verdict", "reason"]])]
    return "\n\n".join(parts) + "\n"


def _readable(part: pd.DataFrame) -> pd.DataFrame:
    table = part[["claim", "statement", "published"]].copy()
    table["ours [95 %]"] = [in_words(row.ours, row.low, row.high) for row in part.itertuples()]
    table["margin"] = [f"{row.margin:g} {row.unit}" for row in part.itertuples()]
    shown = ["seeds", "runs", "scope", "trend", "verdict", "reason"]
    table[shown] = part[shown].fillna("")
    table = table.rename(columns={"trend": TREND})
    table["shown in"] = [f"[{path.rsplit('/', 1)[-1].partition('.')[0]}]({path})" if path else MISSING for path in part["figure"]]
    return table


def summary() -> str:
    """The count of verdicts, a row a study and variant."""
    rows = ledger()
    table = []
    for (study, variant), part in rows.groupby(["study", "variant"], sort=False):
        found = Counter(part["verdict"])
        scope = ", ".join(dict.fromkeys(part["scope"])) or MISSING
        table.append(
            {"study": study, "variant": variant or "not computed yet", "scope": scope, "claims": len(part)}
            | {v: found[v] for v in VERDICTS}
        )
    return (
        markdown(pd.DataFrame(table))
        + "\n\nEvery claim with its interval, its reason and the figure that shows it: [claims.md](claims.md), [claims.csv](claims.csv)."
    )
