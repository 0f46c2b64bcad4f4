"""Does one run fill the device? Runs at once, each in a process of its own, beside one run that has everything; on a CPU also one run
whose batches these processes share.

python -m helpers.bench.together CASE THREADS SECONDS DEVICE [RANK SIZE MEETING] is one of those processes."""

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed as dist

from helpers.bench.cases import FORM, Case, parse_case
from helpers.bench.rows import file_of, lines, written
from helpers.bench.steps import Ours, rate
from helpers.core.devices import describe, pick_device
from helpers.core.errors import RecordError, UserError
from helpers.data import load
from helpers.methods import METHODS
from helpers.runs.pool import usual_workers
from helpers.training.group import Group

CASES = (
    "simclr:resnet_fast:stride2:32:128",
    "simclr:resnet_tiny:stride2:32:128",
    "simclr:convnext_micro:patch4:32:128",
    "simclr:vit_micro:patch8:32:128",
)
WARM = 3  # steps before the clock starts


def measure(case: Case, workers: int, rounds: int, seconds: float, device: torch.device) -> dict:
    """Images a second of one process with all threads and of `workers` processes that share them, round by round."""
    threads = usual_workers(device) if device.type == "cpu" else torch.get_num_threads()
    shares = device.type == "cpu" and workers > 1 and METHODS[case.method].takes_processes and case.batch % workers == 0
    alone, together, shared = [], [], []
    for _ in range(rounds):
        alone += _trained(case, 1, threads, seconds, device)
        together.append(sum(_trained(case, workers, max(1, threads // workers), seconds, device)))
        if shares:
            shared.append(_trained(case, workers, max(1, threads // workers), seconds, device, sharing=True)[0])
    return {
        "method": case.method,
        "backbone": case.backbone,
        "stem": case.stem,
        "size": case.size,
        "batch": case.batch,
        "workers": workers,
        "alone": round(statistics.median(alone), 1),
        "together": round(statistics.median(together), 1),
        "shared": round(statistics.median(shared), 1) if shared else None,
        "ratio": round(statistics.median(b / a for a, b in zip(alone, together, strict=True)), 3),
        "spread": {name: round((max(r) - min(r)) / statistics.median(r), 3) for name, r in (("alone", alone), ("together", together))},
        "rounds": rounds,
        "device": describe(device),
        "torch": torch.__version__,
    }


def sharing(case: Case, counts: Sequence[int], seconds: float, device: torch.device, limit: float) -> dict[int, float]:
    """Images a second of so many processes together, for each of the counts: started once, the first few of them set to work. An error
    after `limit` seconds."""
    threads = max(1, usual_workers(device) // max(counts)) if device.type == "cpu" else torch.get_num_threads()
    with _started(case, max(counts), threads, seconds, device, limit) as pipes:
        return {count: round(sum(_go(pipes[:count])), 1) for count in counts}


def _trained(case: Case, processes: int, threads: int, seconds: float, device: torch.device, sharing: bool = False) -> list[float]:
    """Each process's images a second; those of the whole run where they share its batches."""
    with tempfile.TemporaryDirectory() as folder:
        meeting = Path(folder) / "meeting" if sharing else None
        with _started(case, processes, threads, seconds, device, meeting=meeting) as pipes:
            return _go(pipes)


@contextmanager
def _started(
    case: Case, processes: int, threads: int, seconds: float, device: torch.device, limit: float = 3600, meeting: Path | None = None
) -> Iterator[list[subprocess.Popen]]:
    """Processes that have taken their first steps and wait for the word."""
    name = ":".join(map(str, (case.method, case.backbone, case.stem, case.size, case.batch)))
    call = [sys.executable, "-m", "helpers.bench.together", name, str(threads), str(seconds), str(device)]
    places = [[str(rank), str(processes), str(meeting)] if meeting else [] for rank in range(processes)]
    pipes = [subprocess.Popen(call + place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for place in places]
    late = threading.Timer(limit, lambda: [pipe.kill() for pipe in pipes])
    late.start()
    try:
        for pipe in pipes:
            if pipe.stdout.readline().strip() != "ready":
                raise RecordError(
                    f"A process that was to train {case} did not start: with {processes} at once memory may have run out, or the time."
                )
        yield pipes
    finally:
        late.cancel()
        for pipe in pipes:
            pipe.communicate()  # no more words: it ends


def _go(pipes: list[subprocess.Popen]) -> list[float]:
    """Each one's images a second, all timed while all are at work."""
    for pipe in pipes:
        pipe.stdin.write("go\n")
        pipe.stdin.flush()
    said = [pipe.stdout.readline() for pipe in pipes]
    if not all(said):
        raise RecordError("A process that trained beside others ended in the midst of it: out of memory, or out of time.")
    return [float(text) for text in said]


def child(name: str, threads: str, seconds: str, device: str, *place: str) -> int:
    torch.set_num_threads(int(threads))
    case, where = parse_case(name), torch.device(device)
    group = Group(int(place[0]), int(place[1]), Path(place[2])) if place else None
    step = Ours(case, load("embedded", image_size=case.size).split("train"), where)
    step.training.group = group
    for _ in range(WARM):
        step()
    print("ready", flush=True)
    for _ in sys.stdin:
        found = _together(step, case.batch, float(seconds)) if group else rate(step, case.batch, float(seconds), where)
        time.sleep(0.5)  # not to give another's last step a free core
        print(found, flush=True)
    return 0


def _together(step: Ours, batch: int, seconds: float) -> float:
    """Images a second of a run whose batches are shared: as many steps as the first process takes to fill the time, in each of them."""
    started = time.perf_counter()
    step()
    count = torch.tensor(max(1, round(seconds / (time.perf_counter() - started))))
    dist.broadcast(count, 0)
    started = time.perf_counter()
    for _ in range(int(count)):
        step()
    return int(count) * batch / (time.perf_counter() - started)


def page(rows: list[dict]) -> str:
    table = [
        {
            "device": r["device"]["name"],
            "net (stem)": f"{r['backbone']} ({r['stem']})",
            "batch": r["batch"],
            "alone": f"{r['alone']:,.0f}",
            "processes": r["workers"],
            "together": f"{r['together']:,.0f}",
            "one run, shared": f"{r['shared']:,.0f}" if r.get("shared") else "—",
            "ratio": f"{r['ratio']:.2f}",
            "spread alone, together": f"{r['spread']['alone']:.0%}, {r['spread']['together']:.0%}",
            "rounds": r["rounds"],
        }
        for r in rows
    ]
    about = (
        "# Several small runs at once\n\nWritten by `make bench-together`. Source images a second of whole training steps: one process with every "
        "thread, beside several processes that share the threads, each with a run of its own or all with one whose batches are shared out and "
        "whose gradients are averaged. Medians over rounds in turns."
    )
    return f"{about}\n\n{lines(table)}\n"


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--case", action="append", metavar=FORM)
    parser.add_argument("--workers", type=int, help="processes; one a core, or two on a GPU, unless given")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--device", default="auto")


def run(given: argparse.Namespace) -> int:
    device = pick_device(given.device)
    workers = given.workers or (2 if device.type == "cuda" else usual_workers(device))
    if workers < 1 or given.repeats < 1:
        raise UserError(f"--workers {workers} --repeats {given.repeats}: give at least 1 of each.")
    cases = [parse_case(text) for text in given.case or CASES]
    rows = [measure(case, workers, given.repeats, given.seconds, device) for case in cases]
    text = page(rows)
    print(text)
    print("Read it:", *written(file_of(rows[0]["device"], "-together"), rows, text))
    return 0


if __name__ == "__main__":
    sys.exit(child(*sys.argv[1:]))
