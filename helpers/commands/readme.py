"""Write the README's generated blocks and every generated page of results/ from what lies there: python -m helpers.commands.readme [--check]."""

import argparse
import re
import sys
from pathlib import Path

from helpers.core.errors import UserError, answered, pick
from helpers.core.files import REPOSITORY, results_dir, shown, write_text
from helpers.pages import ledger, methods_page, overview

BLOCK = re.compile(r"(<!-- begin: ([\w-]+) -->\n)(.*?)(<!-- end: \2 -->)", re.DOTALL)
MARKER = re.compile(r"<!-- (?:begin|end): ")


def render(text: str) -> str:
    """The text with each block between its markers written anew; markers that do not pair are an error."""

    def block(found: re.Match) -> str:
        begin, name, old, end = found.groups()
        if MARKER.search(old):
            raise UserError(f"The block {name!r} of the README has another marker inside. Give each block its own begin and end.")
        return f"{begin}\n{pick('block of the README', name, overview.BLOCKS)()}\n\n{end}"

    rest = BLOCK.sub("", text)
    if stray := MARKER.search(rest):
        raise UserError(f"A marker of the README has no partner: {rest[stray.start() :].splitlines()[0]}. Mend it and run again.")
    return BLOCK.sub(block, text)


def pages(readme: Path) -> dict[Path, str]:
    """Every generated page beside the tables, with the text that the results give it."""
    if not readme.is_file():
        raise UserError(f"There is no {shown(readme)}. `git checkout {shown(readme)}` restores it.")
    rows = ledger.ledger()
    return {
        readme: render(readme.read_text(encoding="utf-8")),
        **overview.pages(),
        results_dir() / "claims.md": ledger.page(rows),
        results_dir() / "claims.csv": ledger.csv_text(rows),
        methods_page.page_path(methods_page.MAIN): methods_page.page(),
    }


@answered
def main(arguments: list[str] | None = None, readme: Path = REPOSITORY / "README.md") -> int:
    """The exit code: 0 written (or, with --check, as the results give), 1 with --check where they differ, 2 something cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m helpers.commands.readme", description="Write the generated pages.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is not what the results give")
    given = parser.parse_args(arguments)
    wanted = pages(readme)
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if given.check:
            print(f"{shown(path)} is not what the results give: run `make results-tables`.", file=sys.stderr)
        else:
            print(f"Written: {shown(write_text(path, wanted[path]))}")
    if not stale:
        print("Everything is what the results give.")
    return 1 if stale and given.check else 0


if __name__ == "__main__":
    sys.exit(main())
