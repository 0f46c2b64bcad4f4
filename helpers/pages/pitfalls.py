"""How methods go wrong, and what stands in the way: the end of the page of methods."""

import functools
import tomllib
from pathlib import Path

from helpers.core.errors import UserError


@functools.cache
def pitfalls() -> list[dict]:
    """method, wrong, and at least one of: tests (file::name under tests/), why."""
    found = []
    for method, rows in tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")).items():
        for row in rows:
            if unknown := set(row) - {"wrong", "tests", "why"}:
                raise UserError(f"pitfalls.toml, {method}: unknown {', '.join(sorted(unknown))}.")
            if not (row.get("tests") or row.get("why")):
                raise UserError(f"pitfalls.toml, {method}: nothing stands in the way of {row['wrong']!r}. Name a test or say why.")
            found.append({"method": method, "tests": [], "why": None} | row)
    return found


def pitfall_list() -> str:
    """In Markdown: for each method what goes wrong, why not here, and the tests as pytest takes them."""
    lines, last = [], None
    for row in pitfalls():
        if row["method"] != last:
            lines += ["", f"**{row['method']}**", ""]
            last = row["method"]
        lines.append(
            f"* {row['wrong']}. *Here:* " + "; ".join([*filter(None, [row["why"]]), *(f"`tests/{test}`" for test in row["tests"])])
        )
    return "\n".join(lines).strip()
