"""As many of the GPU's tests as the time allows, most telling first, each result kept as soon as it is there:
python -m helpers.gpu_day.check FILE --seconds 120 [--device D] [--workers N].

pytest does the work; this module is also the plugin that it loads. A test that ends its process costs itself alone: the rest goes on.
"""

import argparse
import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from helpers.core.files import REPOSITORY, append_json, json_lines, without_places

# Words of a test's name, the most telling first: does a step learn the same, without waiting, compiled too, and after a resume?
TELLING = (
    "test_a_step[cuda-simclr",
    "test_losses_and",
    "test_views_for_given",
    "test_features",
    "test_nearest",
    "test_linear",
    "test_a_step_waits_for_nothing[cuda-simclr",
    "test_making_views_waits",
    "test_a_resumed_run",
    "test_compiled_steps_are_the_steps[cuda-simclr",
    "test_compiled_views",
    "test_batches",
    "test_memory",
    "test_bf16",
    "test_no_optimizer_waits",
    "test_a_step[",
    "test_a_step_waits",
    "test_a_resumed_compiled",
    "test_a_step_has_deterministic",
    "test_compiled_steps",
)
FILE, LINES, UNTIL = "GPU_CHECK_FILE", "GPU_CHECK_LINES", "GPU_CHECK_UNTIL"  # how this process tells its pytest
GRACE = 5.0  # seconds that pytest gets to write its last word


def rank(name: str) -> int:
    """The place of a test in the order."""
    name = name.rpartition("::")[2]
    return next((n for n, words in enumerate(TELLING) if words in name.replace("[cpu-", "[cuda-")), len(TELLING))


# -- the plugin ---------------------------------------------------------------------------------------------------------


def pytest_collection_modifyitems(config, items) -> None:
    if FILE in os.environ:
        before = list(json_lines(Path(os.environ[FILE])))[: int(os.environ[LINES])]  # every worker must choose the same tests
        done = {row["test"] for row in before if "outcome" in row}
        items[:] = [item for item in items if item.nodeid not in done]
    items.sort(key=lambda item: rank(item.nodeid))


def pytest_runtest_setup(item) -> None:
    if FILE in os.environ:
        if time.time() >= float(os.environ[UNTIL]):
            item.session.shouldstop = "the time is up"
            import pytest

            pytest.skip("the time is up")
        append_json(Path(os.environ[FILE]), {"begun": item.nodeid})


def pytest_runtest_logreport(report) -> None:
    if FILE not in os.environ or "PYTEST_XDIST_WORKER" in os.environ:  # the workers' reports come here too
        return
    if report.when == "call" or report.outcome != "passed" and report.when == "setup":
        if report.skipped and "the time is up" in str(report.longrepr):
            return
        row = {"test": report.nodeid, "outcome": report.outcome, "seconds": round(report.duration, 2)}
        if report.failed:
            row["reason"] = _last_line(str(report.longrepr))
            row["traceback"] = without_places(str(report.longrepr))[-3000:]
        elif report.skipped:
            row["reason"] = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)[-200:]
        if printed := report.capstdout.strip():
            row["printed"] = printed[-500:]
        append_json(Path(os.environ[FILE]), row)


def _last_line(text: str) -> str:
    errors = [line[1:].strip() for line in text.splitlines() if line.startswith("E ")]
    return without_places(errors[0] if errors else text.strip().rpartition("\n")[2])[:300]


# -- the command --------------------------------------------------------------------------------------------------------


def check(file: Path, seconds: float, device: str, workers: int) -> bool:
    """Run what has no result yet until the time is up, again and again where a test took the process with it; whether all was run."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        before = _settled(file)
        how = _pytest(file, left, device, workers)
        if how != "crashed":
            return how == "ended"
        _settle_crashed(file)
        if _settled(file) == before:
            return False
    return False


def _pytest(file: Path, left: float, device: str, workers: int) -> str:
    """One pytest: "ended", "late" where the time was up, "crashed" where the process ended by itself in the midst."""
    cuda = device != "cpu"
    call = [sys.executable, "-m", "pytest", "tests/gpu", "-q", "-p", "helpers.gpu_day.check", "-p", "no:cacheprovider"]
    call += ["-m", "gpu" if cuda else "not gpu and not slow"]
    if importlib.util.find_spec("xdist") and workers > 1:
        call += ["-n", str(workers), "--dist", "load", "--maxschedchunk", "1"]
    call += ["-o", "timeout=60"]  # one that hangs costs a minute
    # Not a worker of the pytest that this command may run under: its plugin would leave the reports to the others.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST_")}
    given = outside | {FILE: str(file), LINES: str(sum(1 for _ in json_lines(file))), UNTIL: str(time.time() + left)}
    process = subprocess.Popen(call, cwd=REPOSITORY, env=given, start_new_session=True)
    try:
        code = process.wait(timeout=left)
        return "late" if time.time() >= float(given[UNTIL]) else "ended" if code in (0, 1, 2, 5) else "crashed"
    except subprocess.TimeoutExpired:
        return "late"
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its workers too
            process.wait()


def _settled(file: Path) -> int:
    return sum("outcome" in row for row in json_lines(file))


def _settle_crashed(file: Path) -> None:
    """A test that was begun last and has no result took its process with it."""
    rows = list(json_lines(file))
    ended = {row["test"] for row in rows if "outcome" in row}
    begun = [row["begun"] for row in rows if "begun" in row]
    if begun and begun[-1] not in ended:
        append_json(file, {"test": begun[-1], "outcome": "failed", "seconds": 0, "reason": "its process ended in the midst of it"})


def results(file: Path) -> list[dict]:
    """The last result of each test, in the order in which they came."""
    return list({row["test"]: row for row in json_lines(file) if "outcome" in row}.values())


def summary(file: Path) -> str:
    counts = Counter(row["outcome"] for row in results(file))
    return ", ".join(f"{counts[word]} {word}" for word in ("passed", "failed", "skipped") if counts[word]) or "nothing was run"


def failures(file: Path) -> Iterator[dict]:
    return (row for row in results(file) if row["outcome"] == "failed")


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 all passed, 1 something failed, 75 the time was up before all had been run, 2 there is no pytest."""
    parser = argparse.ArgumentParser(prog="python -m helpers.gpu_day.check", description="Run the GPU's tests, most telling first.")
    parser.add_argument("file", type=Path, help="where the results go, one a line; what is there is not run again")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--workers", type=int, default=4)
    given = parser.parse_args(arguments)
    if importlib.util.find_spec("pytest") is None:
        print("Error: pytest is not installed here, so nothing can be checked.", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # pytest is ended on the way out
    whole = check(given.file, given.seconds, given.device, given.workers)
    print(summary(given.file), flush=True)
    return os.EX_TEMPFAIL if not whole else 1 if any(failures(given.file)) else 0


if __name__ == "__main__":
    sys.exit(main())
