"""The other processes of a run that has several: python -m helpers.runs.beside CONFIG RANK MEETING, started by the first one."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from helpers.core.errors import TrainingStopped, UserError
from helpers.core.files import REPOSITORY
from helpers.runs.config import RunConfig
from helpers.training.group import Group


class Company:
    """The other processes: started at once, as they need seconds to import, and met when training begins."""

    def __init__(self, config: RunConfig, folder: Path):
        self.size, self.meeting = config.training.processes, folder / "meeting"
        given = [sys.executable, "-m", "helpers.runs.beside", config.model_dump_json(exclude_defaults=True)]
        alone = os.environ | {"OMP_NUM_THREADS": "1"}
        self.others = [
            subprocess.Popen([*given, str(rank), str(self.meeting)], cwd=REPOSITORY, env=alone, start_new_session=True)
            for rank in range(1, self.size)
        ]

    @contextmanager
    def meet(self, parts: dict) -> Iterator[None]:
        """While training, this process is one of the group and has its share of the threads; its readings have all of them."""
        threads, follow = torch.get_num_threads(), parts["probe"]

        def reading(*given) -> dict:
            torch.set_num_threads(threads)
            try:
                return follow(*given)
            finally:
                torch.set_num_threads(share)

        self._wait()
        share = max(1, threads // self.size)
        torch.set_num_threads(share)
        group = Group(0, self.size, self.meeting)
        parts |= {"probe": reading, "group": group}
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            group.close()

    def _wait(self) -> None:
        """Until all others stand at the meeting; one that has ended before is an error at once, not after a long wait."""
        for rank, process in enumerate(self.others, 1):
            while not _arrival(self.meeting, rank).exists():
                if process.poll() is not None:
                    raise TrainingStopped(f"Process {rank} of {self.size} ended with code {process.returncode} before training began.")
                time.sleep(0.02)

    def leave(self) -> None:
        """Nobody is left behind, however the run ended."""
        for process in self.others:
            process.kill()
            process.wait()


def _arrival(meeting: Path, rank: int) -> Path:
    return meeting.with_name(f"arrived-{rank}")


@contextmanager
def company(config: RunConfig, device: torch.device) -> Iterator[Company | None]:
    """The other processes that a run asks for, or None."""
    if config.training.processes == 1:
        yield None
        return
    if device.type != "cpu":
        raise UserError(f"training.processes = {config.training.processes} shares the cores of a CPU, and this is {device}: set it to 1.")
    with tempfile.TemporaryDirectory(prefix="meeting-") as folder:
        others = Company(config, Path(folder))
        try:
            yield others
        finally:
            others.leave()


def main(arguments: list[str] | None = None) -> None:
    """Train beside the first process to the end; what it needs, checkpoints included, it reads as that one does."""
    from helpers.runs.rates import find_rate
    from helpers.runs.run import build, checkpoint_folder, settings_of
    from helpers.training import Training

    given, rank, meeting = arguments or sys.argv[1:]
    config, device = RunConfig(**json.loads(given)), torch.device("cpu")
    torch.set_num_threads(1)
    rate, _ = find_rate(config, device)  # where the first process makes a range test, its record is waited for
    method, batches = build(config, device)
    _arrival(Path(meeting), int(rank)).touch()
    group = Group(int(rank), config.training.processes, Path(meeting))
    training = Training(method, batches, settings_of(config, rate), device, folder=checkpoint_folder(config), group=group)
    training.resume()
    training.folder = None  # the first process keeps the checkpoints
    training.run()


if __name__ == "__main__":
    main()
