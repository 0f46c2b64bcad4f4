"""Judge every claim anew from the records of all variants and write the ledger and the README: python -m helpers.commands.claims."""

import argparse
import sys
from pathlib import Path

from helpers.commands import readme
from helpers.core.errors import answered
from helpers.core.files import REPOSITORY, shown
from helpers.judging.tables import claims_text, write_claims
from helpers.pages.blocks import command, variants, with_parameter
from helpers.pages.redraw import in_turns, rejudge
from helpers.runs.records import runs_dir
from helpers.runs.seals import seal_new


@answered
def main(arguments: list[str] | None = None, notebooks: Path = REPOSITORY / "notebooks", page: Path = REPOSITORY / "README.md") -> int:
    """The exit code: 0 written, 2 something cannot be read or written."""
    parser = argparse.ArgumentParser(prog="python -m helpers.commands.claims", description="Write the ledger of claims from the records.")
    parser.parse_args(arguments)
    if new := seal_new(runs_dir()):
        print(f"Sealed: {len(new)} records that had no checksums yet")
    for folder, verdicts in zip(variants(), in_turns(rejudge, variants()), strict=True):
        _put(folder, verdicts)
    return readme.main([], page)


def _put(folder: Path, verdicts) -> None:
    """A variant's claims.csv, where it is not what the records give; its other tables are then from another time."""
    if verdicts is None:
        return
    path = folder / "claims.csv"
    if path.is_file() and path.read_text(encoding="utf-8") == claims_text(verdicts):
        return
    print(f"Written: {shown(write_claims(verdicts, folder))}. Its other tables and figures are older; draw them with")
    print(f"  {with_parameter(command(folder.parent.name, folder.name), '-p train false')}")


if __name__ == "__main__":
    sys.exit(main())
