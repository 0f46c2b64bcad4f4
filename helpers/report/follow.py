"""What training says, on the terminal while a notebook executes, and not in the notebook: kernels write lines to a file,
this side prints them as they come."""

import os
import threading
from contextlib import contextmanager
from pathlib import Path

EVERY = 0.5  # seconds


@contextmanager
def progress_lines(path: Path):
    """While open, kernels started from here report their progress to `path` (PROGRESS_FILE), and its new lines are printed."""
    path.touch()
    before = os.environ.get("PROGRESS_FILE")
    os.environ["PROGRESS_FILE"] = str(path)
    done = threading.Event()

    def follow() -> None:
        with path.open(encoding="utf-8") as lines:
            while True:
                last = done.wait(EVERY)
                if text := lines.read():
                    print(text, end="", flush=True)
                if last:
                    return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if before is None:
            del os.environ["PROGRESS_FILE"]
        else:
            os.environ["PROGRESS_FILE"] = before
