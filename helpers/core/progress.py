"""Progress for whoever watches: lines in batch, a live bar in JupyterLab, never both."""

import os
import sys
import time
from pathlib import Path


def in_lab() -> bool:
    """Whether a person watches: a Jupyter kernel that no batch command started (that sets PROGRESS_FILE)."""
    return "ipykernel" in sys.modules and "PROGRESS_FILE" not in os.environ


def line(text: str) -> None:
    """A line for whoever watches a batch run: into PROGRESS_FILE where one is set, so that no notebook is flooded; else printed."""
    path = os.environ.get("PROGRESS_FILE")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text + "\n")
    else:
        print(text, flush=True)


class Counted:
    """How far a long piece of work is, once it has gone on for a while: a bar in JupyterLab, else a line now and then."""

    PATIENCE, PAUSE = 3.0, 10.0  # seconds before the first word, and between two lines

    def __init__(self, title: str, total: int):
        self.title, self.total, self.done = title, total, 0
        self.started = time.monotonic()
        self.next = self.started + self.PATIENCE
        self.bar = None

    def add(self, count: int = 1) -> None:
        self.done += count
        now = time.monotonic()
        if self.total and now >= self.next:
            self.next = now + (0.5 if in_lab() else self.PAUSE)
            self._tell(now - self.started)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def _tell(self, seconds: float) -> None:
        text = f"{self.title}: {self.done:,} of {self.total:,}, about {seconds / self.done * (self.total - self.done):.0f} s left"
        if not in_lab():
            return line(text)
        from IPython.display import display
        from ipywidgets import IntProgress

        if self.bar is None:
            self.bar = IntProgress(max=self.total, style={"description_width": "initial"}, layout={"width": "100%"})
            display(self.bar)
        self.bar.value, self.bar.description = self.done, text
