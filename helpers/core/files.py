"""Folders and files. A reader never sees half a file: everything is written beside its place and renamed into it."""

import contextlib
import errno
import fcntl
import io
import json
import os
import re
import stat
import sys
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from helpers.core.errors import RecordError

REPOSITORY = Path(__file__).resolve().parents[2]


def _folder(setting: str, default: str) -> Path:
    value = os.environ.get(setting)
    return Path(value).expanduser().resolve() if value else REPOSITORY / default


def data_dir() -> Path:
    """Where datasets are read from (DATA_DIR, default data/). Never written to, except by an explicit download."""
    return _folder("DATA_DIR", "data")


def cache_dir() -> Path:
    """Where packs and checkpoints go (CACHE_DIR, default .cache/). Everything in it can be made again."""
    return _folder("CACHE_DIR", ".cache")


def results_dir() -> Path:
    """Where records, tables, figures and executed notebooks go (results/; RESULTS_DIR moves it, for tests and trials)."""
    return _folder("RESULTS_DIR", "results")


def shown(path: Path) -> str:
    """A path as it may be printed: relative to the repository where it lies inside, so no machine's folders leak out."""
    try:
        return str(Path(path).resolve().relative_to(REPOSITORY))
    except ValueError:
        return Path(path).name


def slug(name: str) -> str:
    """Letters and digits that any file system takes: folders may be called "Küste 2019 (neu)"."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_") or "folder"


def write_with(path: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a temporary file beside `path`, then rename it into place, whole or not at all."""
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise RecordError(why_not(path, error)) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
    return path


def write_text(path: Path, text: str) -> Path:
    return write_with(path, lambda part: part.write_text(text, encoding="utf-8"))


def write_bytes(path: Path, content: bytes) -> Path:
    return write_with(path, lambda part: part.write_bytes(content))


def zipped(content: dict[str, bytes], packed: bool = True, runnable: Collection[str] = ()) -> bytes:
    """A zip of these files. The same content gives the same bytes: sorted, and no times or system in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(content):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system, info.compress_type = 3, zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            info.external_attr = (stat.S_IFREG | (0o755 if name in runnable else 0o644)) << 16
            archive.writestr(info, content[name], compresslevel=9)
    return buffer.getvalue()


def write_json(path: Path, content: object) -> Path:
    return write_text(path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path):
    """The content of a JSON file, or an error that names the file and what to do."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise RecordError(f"Cannot read {shown(path)}: {error}. If it was cut short, delete its folder and run again.") from error


def without_places(text: str) -> str:
    """A traceback or a log as it may be kept: nothing in it tells where on which machine it was written."""
    for place, name in ((str(REPOSITORY), "."), (sys.prefix, "python"), (sys.base_prefix, "python"), (str(Path.home()), "~")):
        text = text.replace(place + os.sep, name + "/")
    return re.sub(r"(?<![\w.:/~])/(?:home|root|work|Users)/", "…/", text)


def append_json(path: Path, content: dict) -> None:
    """One more line of a file that grows: a process that is killed loses at most the line it was writing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab+") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(end - 1, 0))
            cut = file.read(1) not in (b"", b"\n")
            file.write(b"\n" * cut + json.dumps(content, sort_keys=True).encode() + b"\n")
    except OSError as error:
        raise RecordError(why_not(path, error)) from error


def json_lines(path: Path) -> Iterator[dict]:
    """The lines of such a file; one that was cut short is passed over."""
    for text in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError):
            yield json.loads(text)


def why_not(path: Path, error: OSError) -> str:
    """What to say when `path` could not be written."""
    where = shown(path)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: {where} was not written, what was there before is untouched. Free some space and run again; finished runs are kept."
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return f"Cannot write {where}: the folder is read-only ({error.strerror}). Make it writable, or set CACHE_DIR (packs, checkpoints) or RESULTS_DIR (records, figures) to a folder that is."
    return f"Cannot write {where}: {error.strerror or error}."


@contextlib.contextmanager
def lock(path: Path, wait: bool = True) -> Iterator[bool]:
    """Hold `path` for this process alone; yields whether it is held. The system lets go of it when the process dies."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = open(path, "a")
    except OSError as error:
        raise RecordError(why_not(path, error)) from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
