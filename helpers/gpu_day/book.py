"""The book of a day on a GPU: its clock, what each step came to, its folder and the archive that goes home."""

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import torch

from helpers.core.clock import process_seconds
from helpers.core.devices import describe, good_at_bf16
from helpers.core.files import read_json, results_dir, slug, without_places, write_json, write_text
from helpers.gpu_day import page as gpu_day_page
from helpers.gpu_day.page import LOG, REPORT, STATE
from helpers.runs import archive, records
from helpers.runs.manifest import code_version, versions

SHARES = {"check": (1 / 7, 120), "speed": (1 / 7, 120), "sharing": (1 / 4, 60)}  # of the whole time, and at most so many seconds
RESERVE = (1 / 20, 15)  # for the last archive
FRESH = 12 * 3600  # a day that was begun no longer ago than that is gone on with
AGAIN = 10.0  # seconds below which nothing is begun anew
ARCHIVE = 9_000_000  # bytes of records that go into one archive


@dataclass
class Day:
    """A day under way: its folder, its clock, and what it knows so far (day.json)."""

    device: torch.device
    size: str
    minutes: float
    folder: Path
    state: dict = field(default_factory=dict)

    def left(self) -> float:
        """Seconds until the last archive must be written."""
        whole = self.minutes * 60
        return whole - process_seconds() - min(RESERVE[0] * whole, RESERVE[1])

    def share(self, name: str) -> float:
        """Seconds that a step may take of the day, less what it took before."""
        part, most = SHARES[name]
        spent = self.state["steps"].get(name, {}).get("seconds", 0)
        return min(min(part * self.minutes * 60, most) - spent, self.left())

    def say(self, text: str) -> None:
        text = f"[{process_seconds():5.0f} s] {text}"
        print(text, flush=True)
        with open(self.folder / LOG, "a", encoding="utf-8") as log:
            log.write(text + "\n")

    def step(self, name: str, work: Callable[[], tuple[str, bool]], beyond: bool = False) -> None:
        """One step, which says what came of it and whether it is complete; one that fails does not take the rest down. `beyond`: on time
        that nothing else needs, where its own share is used."""
        before = self.state["steps"].get(name, {})
        if before.get("state") == "done":
            return self.say(f"{name}: done before")
        if before and name in SHARES and not beyond and self.share(name) < AGAIN:
            return self.say(f"{name}: its share of the time was used before")
        if self.left() <= 0:
            self.state["steps"][name] = before or {"state": "left out", "said": "no time was left"}
            return self.keep()
        started = time.monotonic()
        self.say(f"{name} ...")
        try:
            said, complete = work()
            done = {"state": "done" if complete else "in part", "said": said}
        except Exception as error:  # whatever it is, the next step may still be right
            told = without_places("".join(traceback.format_exception(error)))
            done = {"state": "failed", "said": without_places(f"{type(error).__name__}: {error}")[:500], "traceback": told[-4000:]}
        self.state["steps"][name] = done | {"seconds": before.get("seconds", 0) + round(time.monotonic() - started, 1)}
        self.say(f"{name}: {done['state']}; {done['said']}")
        self.keep()

    def keep(self) -> None:
        """Write down what is known, and the archive that goes home."""
        write_json(self.folder / STATE, self.state)
        write_text(self.folder / REPORT, gpu_day_page.page(self.folder))
        for number, runs in enumerate(self._packets(), start=1):
            archive.export(archive_path(self.folder, number), runs, self.folder if number == 1 else None)

    def _packets(self) -> Iterator[list[str]]:
        """The day's records in lots that one archive can hold, a range test as early as the runs that need it."""
        lot, size = [], 0
        for run in sorted(self.state["records"], key=lambda run: "-range-" not in run):
            here = sum(path.stat().st_size for path in (records.runs_dir() / run).glob("*"))
            if lot and size + here > ARCHIVE:
                yield lot
                lot, size = [], 0
            lot, size = [*lot, run], size + here
        yield lot

    def take_stock(self) -> None:
        """Which records are this day's."""
        self.state["records"] = [record.id for record in records.everything() if record.manifest["started"] >= self.state["started"]]


def archive_path(folder: Path, number: int = 1) -> Path:
    return folder.with_name(folder.name + (f"-{number}" if number > 1 else "") + ".zip")


def open_day(device: torch.device, size: str, minutes: float) -> Day:
    """The day begun a while ago on this device, to go on with, or a new one."""
    name = describe(device)["name"]
    for folder in reversed(gpu_day_page.days()):
        state = read_json(folder / STATE)
        age = datetime.now(UTC) - datetime.fromisoformat(state["started"])
        if (state["device"]["name"], state["size"], state["code"]["source"]) == (
            name,
            size,
            code_version()["source"],
        ) and age.total_seconds() < FRESH:
            return Day(device, size, minutes, folder, state | {"minutes": minutes, "warnings": warnings_of(device)})
    now = datetime.now(UTC)
    name = f"{now:%Y-%m-%d-%H%M%S}-{slug(name).replace('_', '-')}" + ("-toy" if size == "toy" else "")
    folder = results_dir() / "gpu_day" / name
    state = {
        "started": now.isoformat(timespec="seconds"),
        "device": describe(device),
        "versions": versions(),
        "code": code_version(),
        "size": size,
        "minutes": minutes,
        "warnings": warnings_of(device),
        "steps": {},
        "records": [],
    }
    folder.mkdir(parents=True, exist_ok=True)
    return Day(device, size, minutes, folder, state)


def warnings_of(device: torch.device) -> list[str]:
    """What of this card makes the numbers another thing than they seem."""
    if device.type != "cuda":
        return [f"This is a rehearsal on {device.type}: its numbers say nothing of a GPU."]
    found = []
    free, total = torch.cuda.mem_get_info(device)
    if free < 0.95 * total:
        found.append(f"{(total - free) / 2**30:.1f} of {total / 2**30:.0f} GiB are in use by others: times are not to be trusted.")
    if not good_at_bf16("cuda"):
        found.append("This card has no bf16: precision auto computes in fp32 there.")
    return found
