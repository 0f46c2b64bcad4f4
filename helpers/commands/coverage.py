"""How often intervals hold the truth and campaigns decide rightly, simulated, into results/judging/: python -m helpers.commands.coverage."""

import argparse
import sys

from helpers.core.errors import answered
from helpers.core.files import shown, write_text
from helpers.judging import coverage
from helpers.pages import coverage_page


@answered
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m helpers.commands.coverage", description="Simulate what intervals and verdicts are worth."
    )
    parser.parse_args(arguments)
    tables = {name: getattr(coverage, name)() for name in coverage_page.TABLES}
    for path, text in coverage_page.files(tables).items():
        print(f"Written: {shown(write_text(path, text))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
