"""Everything that is measured for speed: python -m helpers.commands.bench [steps | readouts | together | same-numbers | projection] ..."""

import argparse
import sys
from importlib import import_module

from helpers.core.errors import answered

# What can be measured, in which module of helpers.bench, and what that is; without a word it is whole steps.
KINDS = {
    "steps": ("measure", "whole training steps beside the standard approach: speed, memory, start-up"),
    "readouts": ("readouts", "linear probe and kNN beside scikit-learn"),
    "together": ("together", "several small runs at once beside one"),
    "same-numbers": ("same_numbers", "whether full speed learns what plain fp32 learns"),
    "projection": ("projection", "nothing: times on a chip that is not at hand, from its data sheet"),
}


@answered
def main(arguments: list[str] | None = None) -> int:
    words = sys.argv[1:] if arguments is None else arguments
    named = bool(words) and words[0] in KINDS
    kind = words[0] if named else "steps"
    module, about = KINDS[kind]
    work = import_module(f"helpers.bench.{module}")
    kinds = f"Or give one of {', '.join(KINDS)} as the first word, and --help behind it."
    parser = argparse.ArgumentParser(prog=f"python -m helpers.commands.bench {kind}", description=f"Measure {about}.", epilog=kinds)
    work.options(parser)
    return work.run(parser.parse_args(words[1:] if named else words))


if __name__ == "__main__":
    sys.exit(main())
