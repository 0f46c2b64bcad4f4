"""Executing a notebook in batch, and making what comes out fit to be read anywhere. The one place that calls papermill."""

import json
import os
import re
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import nbformat
import papermill
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from helpers.core.files import REPOSITORY, shown, write_text
from helpers.report.follow import progress_lines

LARGE = 2_000_000  # bytes; code hosts stop showing notebooks not far above


@dataclass(frozen=True)
class Outcome:
    code: int  # exit code; 0 when every cell was executed
    problem: str = ""  # where and why it stopped, in one line
    written: bool = True  # whether the executed notebook was put into its place


class Kernel(AsyncKernelManager):
    """A kernel of this very Python, whatever kernels are installed; its socket is a file, since the ports of two starts may collide."""

    current: "Kernel | None" = None

    def __init__(self, **settings):
        folder = tempfile.TemporaryDirectory(prefix="kernel-")
        super().__init__(transport="ipc", connection_file=str(Path(folder.name) / "kernel.json"), **settings)
        self._folder = folder
        self._kernel_spec = KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], display_name="Python 3", language="python"
        )
        Kernel.current = self

    def signal(self, number: int) -> None:
        """Send a signal to the kernel and the processes it started."""
        process = getattr(self.provisioner, "process", None)
        if process is not None and process.poll() is None:
            os.killpg(os.getpgid(process.pid), number)


class Signals:
    """While entered, SIGTERM and SIGINT go to the kernel, which papermill does not see to; a second one kills it."""

    def __init__(self):
        self.received = 0

    def __enter__(self):
        self._before = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number, _frame):
        again, self.received = self.received, number
        if Kernel.current is None or not Kernel.current.has_kernel:
            raise KeyboardInterrupt
        Kernel.current.signal(signal.SIGKILL if again else number)


def execute(source: Path, target: Path, parameters: dict, timeout: int) -> Outcome:
    """Execute `source` with the parameters and write the notebook and its HTML page to `target`, also when a cell failed."""
    problem, code = "", 0
    with tempfile.TemporaryDirectory(prefix="notebook-") as folder, Signals() as signals:
        part = Path(folder) / target.name
        try:
            with progress_lines(Path(folder) / "progress"):
                _papermill(source, part, parameters, timeout)
        except PapermillExecutionError as error:
            problem, code = f"in the cell that begins `{_first_line(error.source)}`: {error.ename}: {error.evalue.strip()}", 1
        except CellTimeoutError:
            problem, code = f"because a cell took more than {timeout / 3600:g} hours. Give more with --timeout HOURS.", 1
        except (DeadKernelError, KeyboardInterrupt):
            problem, code = "because its kernel died; out of memory is the usual cause.", 1
        except RuntimeError as error:
            problem, code = f"because its kernel could not start: {error}", 1
        broken = bool(problem)
        if signals.received:
            problem, code = f"because it was interrupted ({signal.Signals(signals.received).name}).", 128 + signals.received
        # A sweep that is asked to stop ends its notebook in order; one that was cut off does not take the place of a whole one.
        if not part.exists() or (signals.received and broken and target.exists()):
            return Outcome(code, problem, written=False)
        executed = nbformat.read(part, as_version=4)
    _put(clean(executed, problem), target)
    return Outcome(code, problem)


def _papermill(source: Path, part: Path, parameters: dict, timeout: int) -> None:
    papermill.execute_notebook(
        str(source),
        str(part),
        parameters=parameters,
        kernel_name="python3",
        language="python",
        kernel_manager_class=Kernel,
        cwd=str(REPOSITORY),
        progress_bar=False,
        stdout_file=sys.stdout,
        stderr_file=sys.stderr,
        execution_timeout=timeout,
        record_timing=False,
    )


def clean(executed: nbformat.NotebookNode, problem: str = "") -> nbformat.NotebookNode:
    """Without widget state, timings and this machine's folders, which help no reader; what stopped it stands at the top."""
    executed.metadata.pop("widgets", None)
    record = executed.metadata.pop("papermill", {})
    own = (record.get("parameters") or {}).get("data_dir")
    executed.metadata["papermill"] = {"parameters": record.get("parameters", {}), "version": record.get("version", "")}
    for cell in executed.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.id = "injected-parameters"  # papermill draws another each time, which would show as a change
    if problem:
        executed.cells.insert(0, nbformat.v4.new_markdown_cell(f"**Not complete.** This execution stopped {problem}", id="stopped"))
    text = nbformat.writes(executed)
    if own:  # a folder of the user's own goes by its name
        text = text.replace(json.dumps(str(own), ensure_ascii=False)[1:-1], Path(str(own)).name)
    return nbformat.reads(_without_machine_paths(text), as_version=4)


def _without_machine_paths(text: str) -> str:
    for folder, instead in ((str(REPOSITORY), ""), (sys.prefix, "python/"), (sys.base_prefix, "python/"), (str(Path.home()), "~/")):
        if len(Path(folder).parts) > 1:
            text = text.replace(folder.rstrip("/") + "/", instead)
    return text


def _put(executed: nbformat.NotebookNode, target: Path) -> None:
    write_text(target, nbformat.writes(executed) + "\n")
    write_text(target.with_suffix(".html"), page(executed, target.stem))
    for path in (target, target.with_suffix(".html")):
        if path.stat().st_size > LARGE:
            print(f"Warning: {shown(path)} has {path.stat().st_size / 1e6:.1f} MB; over 2 MB code hosts do not show it.", file=sys.stderr)


def page(executed: nbformat.NotebookNode, title: str) -> str:
    """The notebook as one HTML file that needs no network: figures inside, no scripts from elsewhere."""
    settings = Config({"HTMLExporter": {"embed_images": True, "mathjax_url": "", "require_js_url": ""}})
    html, _ = HTMLExporter(config=settings).from_notebook_node(executed, resources={"metadata": {"name": title, "path": str(REPOSITORY)}})
    html = re.sub(r'<script src="(https?:[^"]*)?">\s*</script>', "", html)
    return re.sub(r'<script type="module">.*?</script>', "", html, flags=re.DOTALL)


def _first_line(source: str) -> str:
    lines = [line for line in source.splitlines() if line.strip()]
    return lines[0].strip()[:80] if lines else ""
