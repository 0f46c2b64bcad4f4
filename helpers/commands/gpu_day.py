"""A GPU for a quarter of an hour, used to the second: python -m helpers.commands.gpu_day [--minutes 14] [--device D] [--size toy].

The tests that compare CUDA with the CPU, the speed table, the race, then the runs of every study, those first that tell most a minute.
Each step is written down as soon as it ends, what fails is written down with its traceback and the rest goes on, and the same command
goes on where the last one ended. Everything comes home in one archive: make campaign IMPORT=results/gpu_day/DAY.zip.
"""

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from helpers.bench.speed_table import cases
from helpers.bench.together import sharing
from helpers.core.clock import process_seconds
from helpers.core.devices import pick_device
from helpers.core.errors import UserError, answered
from helpers.core.files import REPOSITORY, json_lines, shown, without_places, write_text
from helpers.gpu_day import check as gpu_check
from helpers.gpu_day.book import AGAIN, Day, archive_path, open_day
from helpers.gpu_day.page import CHECK, LOG, REPORT, SPEED
from helpers.gpu_day.runs import Runs
from helpers.runs import records

TOGETHER = (1, 2, 4)  # processes that share a card, tried
WORTH = 1.1  # times one process's speed that more of them must reach
COMPILERS = 3  # processes that compile ahead while the tests run
LATE = 5.0  # seconds that a command gets beyond its time
LAST = 6.0  # seconds before the very end at which everything stops


def check(day: Day, runs: Runs) -> tuple[str, bool]:
    """The tests, and beside them what needs cores and no GPU: packing the images, planning the runs, compiling ahead."""
    seconds = day.share("check")
    ahead = range(COMPILERS if day.device.type == "cuda" else 0)
    with ExitStack() as others:
        tests = others.enter_context(beside(day, _check_call(day, seconds)))
        for number in ahead:
            others.enter_context(beside(day, [*_speed_call(day, seconds), "--warm", str(number), str(COMPILERS)]))
        runs.plan()
        return _checked(day, tests)


def rest_of_check(day: Day, seconds: float) -> tuple[str, bool]:
    with beside(day, _check_call(day, seconds)) as tests:
        return _checked(day, tests)


def _checked(day: Day, tests: subprocess.Popen) -> tuple[str, bool]:
    code = tests.wait()
    if code == 2:
        raise RuntimeError("pytest is not installed here, so nothing was checked")
    return gpu_check.summary(day.folder / CHECK), code != os.EX_TEMPFAIL


def speed(day: Day, seconds: float) -> tuple[str, bool]:
    """The speed table, in a process of its own: one that ends in the midst of a measurement is started again behind it."""
    file, until, code = day.folder / SPEED, time.monotonic() + seconds, os.EX_TEMPFAIL
    while (left := until - time.monotonic()) > 0:
        with beside(day, _speed_call(day, left)) as table:
            try:
                code = table.wait(timeout=left + LATE)
            except subprocess.TimeoutExpired:  # a net that compiles long past its time
                break
        if code in (0, 2, os.EX_TEMPFAIL):
            break
    rows = [row for row in json_lines(file) if "way" in row]
    bad = sum("failed" in row for row in rows)
    return f"{len(rows) - bad} measured" + (f", {bad} failed" if bad else ""), code == 0


def _check_call(day: Day, seconds: float) -> list[str]:
    workers = min(4, os.cpu_count() or 1) if day.size == "full" else 1
    call = ["helpers.gpu_day.check", str(day.folder / CHECK), "--seconds", str(seconds)]
    return [*call, "--device", day.device.type, "--workers", str(workers)]


def _speed_call(day: Day, seconds: float) -> list[str]:
    return [
        "helpers.bench.speed_table",
        str(day.folder / SPEED),
        "--seconds",
        str(seconds),
        "--device",
        str(day.device),
        "--size",
        day.size,
    ]


@contextmanager
def beside(day: Day, call: list[str]) -> Iterator[subprocess.Popen]:
    """One of the other commands at work, what it says in the log; it ends with the context at the latest."""
    with open(day.folder / LOG, "a", encoding="utf-8") as log:
        call = [sys.executable, "-m", *call]
        process = subprocess.Popen(call, cwd=REPOSITORY, stdout=log, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                with suppress(subprocess.TimeoutExpired):
                    process.wait(LATE)
                process.kill()
                process.wait()


def share_card(day: Day) -> tuple[str, bool]:
    """How many small runs at once the device likes best."""
    case = cases(day.size)[0] if day.size == "toy" else next(c for c in cases(day.size) if c.batch == 128)
    counts = TOGETHER if day.device.type == "cuda" else TOGETHER[:2]
    rates = sharing(case, counts, 2.0 if day.size == "full" else 0.2, day.device, day.share("sharing"))
    best = max(rates, key=rates.get)
    day.state["workers"] = best if rates[best] >= WORTH * rates[counts[0]] else 1
    day.state["sharing"] = {"case": str(case), "rates": {str(count): rate for count, rate in rates.items()}}
    return f"{day.state['workers']} at a time, {rates[day.state['workers']] / rates[counts[0]]:.2f} x one", True


def spend(day: Day) -> None:
    """All steps in their order, and the time that is left on what was not finished."""
    runs = Runs(day)
    day.state["skipped"] = {}
    day.step("check", lambda: check(day, runs))
    day.step("speed", lambda: speed(day, day.share("speed")))
    day.step("sharing", lambda: share_card(day))
    day.step("race", runs.race)
    day.step("runs", runs.train)
    for name, work in (("speed", speed), ("check", rest_of_check)):
        left = day.left() if day.size == "full" else min(day.left(), AGAIN)
        if left >= AGAIN and day.state["steps"].get(name, {}).get("state") == "in part":
            day.step(name, lambda work=work, left=left: work(day, left), beyond=True)


@contextmanager
def hard_limit(day: Day) -> Iterator[None]:
    """The machine goes back when its time is up: what is still at work a moment before is left behind, all that is written goes home."""

    def give_up() -> None:
        with suppress(Exception):  # the step may be writing as well; whatever happens, the machine is given back in time
            day.say("The time is up in the midst of a step; it is left behind.")
            finish(day)
        for child in _children():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        os._exit(os.EX_TEMPFAIL)

    timer = threading.Timer(max(day.minutes * 60 - process_seconds() - LAST, 0), give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _children() -> list[int]:
    """The processes that this one has started, where the system tells."""
    with suppress(OSError):
        return [int(child) for path in Path("/proc/self/task").glob("*/children") for child in path.read_text().split()]
    return []


@answered
def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 all done, 75 the time is up with work left, 1 something failed, 2 the call was wrong or cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m helpers.commands.gpu_day", description="Use a rented GPU to the second.")
    parser.add_argument("--minutes", type=float, default=14, help="all in all, counted from the start of the process")
    parser.add_argument("--device", default="cuda", help="cuda; cpu to rehearse")
    parser.add_argument("--size", choices=("full", "toy"), default="full")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # children are ended on the way out
    if given.minutes * 60 - process_seconds() < 45:
        raise UserError(f"--minutes {given.minutes:g} is too little: starting takes most of a minute. Give at least 2.")
    records.check_writable()
    day = open_day(pick_device(given.device), given.size, given.minutes)
    for text in day.state["warnings"]:
        day.say(text)
    with hard_limit(day):
        spend(day)
    finish(day)
    states = {step["state"] for step in day.state["steps"].values()}
    return 1 if "failed" in states or day.state.get("failures") else 75 if states != {"done"} else 0


def finish(day: Day) -> None:
    day.take_stock()
    path = day.folder / LOG
    write_text(path, without_places(path.read_text(encoding="utf-8")))
    day.keep()
    print(
        f"\nRead it:  {shown(day.folder / REPORT)}\nTake it home:  {shown(archive_path(day.folder))}; there, make campaign IMPORT={archive_path(day.folder).name}"
    )


if __name__ == "__main__":
    sys.exit(main())
