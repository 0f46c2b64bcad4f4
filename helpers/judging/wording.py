"""Estimates and reasons as verdicts, tables and pages say them."""

import pandas as pd

from helpers.judging.statistics import LEVEL

NAMED = 4  # reasons of one kind that a verdict lists


def in_words(ours: float | None, low: float | None, high: float | None, level: float = 100 * LEVEL) -> str:
    """An estimate with its interval as a table shows it, "—" where there is none; a level that is not the usual one is said."""
    at = "" if level == 100 * LEVEL else f" at {level:.4g} %"
    return "—" if pd.isna(ours) else _short(ours) + ("" if pd.isna(low) else f" [{_short(low)}, {_short(high)}{at}]")


def _short(value: float) -> str:
    """Two places of the four that claims.csv keeps: what is read from there and what is told here are rounded alike."""
    return f"{round(value, 4):.2f}"


def listed(words: list[str]) -> list[str]:
    """The first few, and how many more."""
    words = list(dict.fromkeys(words))
    return words if len(words) <= NAMED else [*words[:NAMED], f"and {len(words) - NAMED} more like these"]
