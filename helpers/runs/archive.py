"""Records in one small zip file, and back: what was recorded on one machine is verified and taken in on another.

The same records make the same bytes. Nothing is taken in before everything in the archive was verified. A day on a GPU (`make gpu-day`)
travels with its records: what it measured and said, one folder of a few small files.
"""

import hashlib
import json
import re
import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from helpers.core.errors import RecordError, UserError
from helpers.core.files import results_dir, shown, why_not, write_bytes, zipped
from helpers.runs import records, transfer, untrained
from helpers.runs.config import RunConfig
from helpers.runs.manifest import code_version
from helpers.runs.records import Record

FORMAT = 2
LARGEST = 10_000_000  # bytes: what can be mailed
UNPACKED = 100 * LARGEST  # more is no archive of records, whatever it says
MANIFEST = "manifest.json"
NAME = re.compile(rf"results/runs/(\w[\w.-]*)/({'|'.join(map(re.escape, records.FILES))})", re.ASCII)
DAY_FILES = ("day.json", "check.jsonl", "speed.jsonl", "report.md", "log.txt")
DAY_NAME = re.compile(rf"results/gpu_day/(\w[\w-]*)/({'|'.join(map(re.escape, DAY_FILES))})", re.ASCII)


def export(path: Path, runs: Iterable[str] | None = None, day: Path | None = None) -> list[str]:
    """Write the records of these runs, or of all there are, into one archive; the ids it holds. A run without a record is left out.
    `day`: the folder of a day on a GPU that goes with them, or by itself where it has no record yet."""
    folder = records.runs_dir()
    there = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")) if folder.is_dir() else []
    ids = there if runs is None else sorted(set(runs) & set(there))
    if not ids and day is None:
        raise UserError(f"There is no record to export in {shown(folder)}.")
    content = {f"results/runs/{run}/{name}": (folder / run / name).read_bytes() for run in ids for name in _files(folder / run)}
    if day is not None:
        content |= {f"results/gpu_day/{day.name}/{name}": (day / name).read_bytes() for name in DAY_FILES if (day / name).is_file()}
    manifest = {"format": FORMAT, "code": code_version(), "files": {name: _digest(data) for name, data in content.items()}}
    packed = zipped({MANIFEST: json.dumps(manifest, indent=1, sort_keys=True).encode()} | content)
    if len(packed) > LARGEST:
        sizes = {run: sum((folder / run / name).stat().st_size for name in records.FILES) for run in ids}
        largest = ", ".join(f"{run} {size / 1000:.0f} kB" for run, size in sorted(sizes.items(), key=lambda item: -item[1])[:5])
        raise UserError(
            f"The archive of {len(ids)} records would have {len(packed) / 1e6:.1f} MB, and {LARGEST / 1e6:g} are allowed. Nothing was "
            f"written: export fewer studies at once. The largest records: {largest}."
        )
    write_bytes(path, packed)
    return ids


def _files(record: Path) -> tuple[str, ...]:
    Record(record).check()
    return records.FILES


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def take_in(path: Path) -> tuple[list[str], list[str], list[str]]:
    """Take the records of an archive in: the ids that are new here, those that were here already and are the same, and those that
    were here with another outcome. What was here stays as it is; a day's files are replaced, as it only ever grows."""
    content = _verified(Path(path))
    day = {name: content.pop(name) for name in list(content) if DAY_NAME.fullmatch(name)}
    folder = records.runs_dir()
    records.check_writable()
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".import-") as beside:
            for name, data in content.items():
                run, file = NAME.fullmatch(name).groups()
                (Path(beside) / run).mkdir(exist_ok=True)
                (Path(beside) / run / file).write_bytes(data)
            arrived = [Record(place).check() for place in sorted(Path(beside).iterdir())]
            here = {record.id: records.find(record.id) for record in arrived}  # a damaged one counts as missing
            other = [record.id for record in arrived if here[record.id] and not here[record.id].agrees(record)]
            new = [record for record in arrived if here[record.id] is None]
            for record in new:
                shutil.rmtree(folder / record.id, ignore_errors=True)  # a damaged one that could not be moved aside
                record.path.rename(folder / record.id)
        for name, data in day.items():
            write_bytes(results_dir() / name.removeprefix("results/"), data)
    except OSError as error:
        raise RecordError(why_not(folder, error)) from error
    return [record.id for record in new], [run for run, record in here.items() if record and run not in other], other


def days_in(path: Path) -> list[str]:
    """The days on a GPU that an archive holds, by the names of their folders."""
    with zipfile.ZipFile(path) as archive:
        return sorted({found.group(1) for name in archive.namelist() if (found := DAY_NAME.fullmatch(name))})


def _verified(path: Path) -> dict[str, bytes]:
    """The files of the archive's records, once its names, its version, every checksum and every config are known to be right."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_entries(path, archive.infolist())
            content = {info.filename: archive.read(info) for info in archive.infolist()}
        manifest = json.loads(content.pop(MANIFEST))
        version, digests = manifest["format"], dict(manifest["files"])
    except RecordError:
        raise
    except OSError as error:
        raise UserError(f"Cannot read the archive {path.name}: {error.strerror or error}.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise _refused(path, f"it is no archive of records, or was damaged or cut short ({type(error).__name__}: {error})") from error
    if version != FORMAT:
        raise _refused(path, f"it has format {version}, and this version of the code reads format {FORMAT}: use the code that wrote it")
    if wrong := [
        name for name in sorted(content.keys() | digests.keys()) if name not in content or _digest(content[name]) != digests.get(name)
    ]:
        raise _refused(path, f"{wrong[0]} is not what its checksum says ({len(wrong)} files in all): fetch the archive again")
    _check_content(path, content)
    return content


def _check_entries(path: Path, infos: list[zipfile.ZipInfo]) -> None:
    """Nothing but the files of records and days, each once, plain and of a bearable size: names decide where things are written."""
    names = [info.filename for info in infos]
    for info in infos:
        kind = stat.S_IFMT(info.external_attr >> 16)
        known = info.filename == MANIFEST or NAME.fullmatch(info.filename) or DAY_NAME.fullmatch(info.filename)
        if not known or kind not in (0, stat.S_IFREG):
            raise _refused(path, f"{info.filename!r} is no file of a record")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise _refused(path, f"{info.filename!r} is packed by method {info.compress_type}, and records are deflated or stored")
    if len(set(names)) < len(names) or sum(info.file_size for info in infos) > UNPACKED:
        raise _refused(path, "it holds a file twice, or far more than records do")


def _check_content(path: Path, content: dict[str, bytes]) -> None:
    """Every record has the name its config gives it, and its arrays a bearable size: known before any is loaded."""
    left = UNPACKED
    for name, data in content.items():
        if DAY_NAME.fullmatch(name):
            continue
        run, file = NAME.fullmatch(name).groups()
        try:
            expected = _id_of(json.loads(data)) if file == records.RECORD else run
            if file == records.ARRAYS:
                left -= sum(array.nbytes for array in records.unpacked(data, left).values())
        except Exception as error:  # as many kinds as there are ways to be wrong
            raise _refused(path, f"{run}/{file} cannot be read ({type(error).__name__}: {error})") from error
        if expected != run:
            raise _refused(path, f"the record {run} holds the config of {expected}")


def _id_of(content: dict[str, dict]) -> str:
    """The id of a record with this config; that of a range test, a transfer or an untrained reference holds only what these depend on."""
    values, manifest = content["config"], content.get("manifest")
    if isinstance(manifest, dict) and manifest.get("kind") == "untrained":
        return untrained.named(values)
    if isinstance(manifest, dict) and manifest.get("kind") == "transfer":
        return transfer.named(values)
    config = RunConfig(**values)
    return config.range_test_id if values == config.range_test_config() else config.id


def _refused(path: Path, reason: str) -> RecordError:
    return RecordError(f"Nothing was imported from {path.name}: {reason}.")
