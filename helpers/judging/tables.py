"""Verdicts as a file, and as the table that a reader wants."""

from pathlib import Path

import pandas as pd

from helpers.core.files import write_text
from helpers.judging.claims import COLUMNS, Claim, read_claims
from helpers.judging.wording import in_words

NOTHING = "—"  # nothing is missing, or something else than seeds
TREND = "at 1/4, 1/2 and all of the training"  # the head of that column
TAKES = "would take"  # likewise


def write_claims(verdicts: pd.DataFrame, folder: Path) -> Path:
    """claims.csv in a variant's folder."""
    return write_text(Path(folder) / "claims.csv", claims_text(verdicts))


def claims_text(verdicts: pd.DataFrame) -> str:
    whole = verdicts[list(COLUMNS)].assign(level=[f"{level:g}" for level in verdicts["level"]]).astype({"needs": "Int64"})
    return whole.to_csv(index=False, float_format="%.4f", lineterminator="\n")


def margin_in_words(claim: Claim) -> str:
    """What the interval is held against: all of it above the margin, or within it on both sides."""
    return f"{'within ± ' if claim.kind == 'equivalence' else '> '}{claim.margin:g} {claim.unit}"


def verdict_table(verdicts: pd.DataFrame) -> pd.DataFrame:
    """The verdicts as a reader wants them: each claim's sentence first, its interval in one column, without run ids."""
    claims = read_claims()
    interval = [in_words(row.ours, row.low, row.high, row.level) for row in verdicts.itertuples()]
    table = verdicts[["claim", "published", "seeds", "trend", "scope", "verdict", "reason"]].copy()
    table.insert(1, "says", [claims[name].statement + (" (ours)" if claims[name].ours else "") for name in verdicts["claim"]])
    table.insert(3, "ours [95 %]", interval)
    table.insert(4, "margin", [margin_in_words(claims[name]) for name in verdicts["claim"]])
    table[TAKES] = [NOTHING if pd.isna(text) or not text else text for text in verdicts["takes"]]
    return table.rename(columns={"trend": TREND})
