"""Progress: one line an epoch in batch, a live bar in JupyterLab, never both."""

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


class EpochReport:
    """Reports a run's epochs under its name. Call it with the epoch's metrics and the number of epochs."""

    def __init__(self, name: str):
        self.name = name
        self.started = time.monotonic()
        self.bar = None

    def __call__(self, row: dict, epochs: int) -> None:
        knn = f"  kNN {row['knn']:.1f} %" if row.get("knn") == row.get("knn") and "knn" in row else ""
        text = f"{self.name}  epoch {row['epoch']}/{epochs}  loss {row['loss']:.3f}{knn}  {row['seconds']:.1f} s"
        if in_lab():
            self._show(row["epoch"], epochs, text)
        else:
            line(text)

    def _show(self, epoch: int, epochs: int, text: str) -> None:
        from IPython.display import display
        from ipywidgets import HTML, IntProgress, VBox

        if self.bar is None:
            self.bar, self.text = IntProgress(max=epochs), HTML()
            display(VBox([self.bar, self.text]))
        self.bar.value, self.text.value = epoch, text
