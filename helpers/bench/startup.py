"""What a user waits for before the first step, and the memory of one step: measured in a process of its own, where all is fresh.

python -m helpers.bench.startup CASE DEVICE [compile], called by the bench; prints one line of JSON.
"""

import json
import resource
import subprocess
import sys
import time

from helpers.core.clock import process_seconds
from helpers.core.errors import RecordError


def startup(case: str, device: str, compile: bool) -> dict:
    """Seconds of each stage, and peak bytes. compile: what compiling adds to the first step; None where it is not tried."""
    plain = _fresh(case, device)
    seconds = {name: plain[name] for name in ("interpreter", "import_torch", "import_helpers", "build", "first_step")}
    extra = _fresh(case, device, "compile")["first_step"] - plain["first_step"] if compile else None
    return {"startup": seconds | {"compile": None if extra is None else round(extra, 2)}, "peak_memory": plain["peak_memory"]}


def _fresh(*arguments: str) -> dict:
    call = [sys.executable, "-m", "helpers.bench.startup", *arguments]
    done = subprocess.run(call, capture_output=True, text=True)
    if done.returncode:
        raise RecordError(f"The start-up of {arguments[0]} could not be measured: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def main(case: str, device_name: str, *options: str) -> None:
    seconds, started = {"interpreter": process_seconds()}, time.perf_counter()

    def lap(name: str) -> None:
        nonlocal started
        seconds[name] = time.perf_counter() - started
        started = time.perf_counter()

    import torch

    torch.compiler.config.force_disable_caches = True  # what a fresh machine would wait for
    lap("import_torch")
    from helpers.bench.cases import parse_case
    from helpers.bench.steps import Ours
    from helpers.core.devices import wait
    from helpers.data import load

    lap("import_helpers")
    device, parsed = torch.device(device_name), parse_case(case)
    step = Ours(parsed, load("embedded", image_size=parsed.size).split("train"), device, compile="compile" in options)
    wait(device)
    lap("build")
    step()
    wait(device)
    lap("first_step")
    step()
    wait(device)
    on_gpu = device.type == "cuda"
    peak = torch.cuda.max_memory_allocated(device) if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({name: round(value, 3) for name, value in seconds.items()} | {"peak_memory": peak}))


if __name__ == "__main__":
    main(*sys.argv[1:])
