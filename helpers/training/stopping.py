"""How a run is asked to stop: SIGTERM, Ctrl-C or a deadline raise a flag, and the loop stops after the step at hand."""

import signal
import threading
import time
from contextlib import contextmanager


class Stopped(RuntimeError):
    """A run that stopped where it was asked to, with everything in its checkpoint; run it again and it goes on."""


class StopFlag:
    """Says why to stop, or None to go on. The deadline is in seconds from now."""

    def __init__(self, seconds: float | None = None):
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self.reason: str | None = None

    def __call__(self) -> str | None:
        if self.reason is None and self.deadline is not None and time.monotonic() >= self.deadline:
            self.reason = "the time budget is spent"
        return self.reason

    def left(self) -> float:
        return float("inf") if self.deadline is None else self.deadline - time.monotonic()


@contextmanager
def graceful(seconds: float | None = None):
    """While open, SIGTERM and the first Ctrl-C set the flag; a second Ctrl-C interrupts at once."""
    flag = StopFlag(seconds)
    if threading.current_thread() is not threading.main_thread():
        yield flag
        return

    def ask(number, frame):
        if number == signal.SIGINT and flag.reason is not None:
            raise KeyboardInterrupt
        flag.reason = f"{signal.Signals(number).name} was received"

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
