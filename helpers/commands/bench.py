"""Speed and memory beside the standard approach: python -m helpers.commands.bench [--case method:backbone:stem:size:batch ...] ..."""

import argparse
import sys

from helpers.bench.cases import FORM, Case, default_cases, make_case, parse_case
from helpers.bench.measure import measure
from helpers.bench.projection import CHIPS, project
from helpers.bench.projection_race import project_race
from helpers.bench.rows import lines, save, section, summary
from helpers.core.devices import pick_device
from helpers.core.errors import UserError, answered


@answered
def main(arguments: list[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    if given.project:
        print("Read it:", *project(given.project), *project_race(given.project))
        return 0
    if given.repeats < 1 or given.seconds <= 0:
        raise UserError(f"--repeats {given.repeats} --seconds {given.seconds}: give at least one round and a time above 0.")
    device = pick_device(given.device)
    for case in cases(given, device):
        print(f"== {case}, on {device}", flush=True)
        measured = measure(case, given.repeats, given.seconds, device, compile=given.compile or device.type == "cuda")
        written = save(measured)
        print(f"\n{section(measured)}\n\n{lines(summary([measured]))}\n\nRead it:", *written, flush=True)
    return 0


def cases(given: argparse.Namespace, device) -> list[Case]:
    """The cases asked for; without a word about them, the device's default list."""
    if given.case:
        return [parse_case(text) for text in given.case]
    if given.backbone or given.batch is not None:
        return [make_case("simclr", given.backbone or "resnet18", "auto", 32, 256 if given.batch is None else given.batch)]
    return default_cases(device)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m helpers.commands.bench", description="Measure speed and memory.")
    parser.add_argument("--case", action="append", metavar=FORM, help="what to measure; may be given many times")
    parser.add_argument("--backbone", help="one case: SimCLR on this net at 32 px")
    parser.add_argument("--batch", type=int, help="its batch, 256 unless given")
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("--seconds", type=float, default=4, help="of each measurement in a round; at least one step is taken")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--compile", action="store_true", help="try compiling too: always done on a GPU, minutes a case on a CPU")
    parser.add_argument(
        "--project", metavar="CHIP", help=f"measure nothing: project times on a chip from its data sheet ({', '.join(CHIPS)})"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
