"""A run's epochs for whoever watches: one line each in batch, a live bar in JupyterLab, never both."""

import time

from helpers.core.progress import in_lab, line


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
