"""Explicit downloads: python -m helpers.data.download cifar10 [cifar100 stl10]. Nothing else ever touches the network.

The archive is fetched by torchvision and checked against its MD5, extracted beside its place and moved there whole.
"""

import argparse
import http.client
import os
import shutil
import sys
import tarfile
from pathlib import Path

from helpers.core.errors import DataError, RecordError, UserError, pick
from helpers.core.files import data_dir, lock, shown
from helpers.data.torchvision_files import OFFICIAL, checked, command


def download(name: str) -> Path:
    """The dataset's folder in DATA_DIR, downloaded, checked and extracted unless it is there."""
    official = pick("dataset to download", name, OFFICIAL)
    place = data_dir() / name
    target = place / official.folder
    with lock(data_dir() / f".{name}.lock"):
        if target.is_dir() and all((target / file).is_file() for file in official.checksums):
            for file in official.checksums:
                checked(name, target / file)
            return target
        part = place / ".partial"  # hidden: no reader looks into it
        try:
            part.mkdir(parents=True, exist_ok=True)
            archive = fetch(official.reference.url, part, official.reference.filename, official.reference.tgz_md5, name)
            extract(archive, part / "content")
            for file in official.checksums:
                checked(name, part / "content" / official.folder / file)
            shutil.rmtree(target, ignore_errors=True)
            os.rename(part / "content" / official.folder, target)
            shutil.rmtree(part, ignore_errors=True)
        except OSError as error:
            raise DataError(
                f"Could not store {name} in {shown(place)}: {error.strerror or error}. Mend that and run again: {command(name)}"
            ) from error
    return target


def fetch(url: str, folder: Path, file: str, md5: str, name: str) -> Path:
    """The archive with this MD5; one that is whole already is kept, anything else is fetched again."""
    from torchvision.datasets.utils import download_url

    try:
        download_url(url, str(folder), file, md5)
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"Downloading {name} from {url} failed: {error}. Nothing was changed. Run again: {command(name)}") from error
    except RuntimeError as error:  # torchvision's word for a wrong checksum
        raise DataError(f"The download of {file} is truncated or damaged: its checksum is wrong. Run again: {command(name)}") from error
    return folder / file


def extract(archive: Path, folder: Path) -> None:
    """Unpack an archive into a folder of its own; a member that would land outside it is an error and nothing is kept."""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with tarfile.open(archive) as members:
            members.extractall(folder, filter="data")
    except tarfile.FilterError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DataError(
            f"{archive.name} would write outside its folder: member {error.tarinfo.name!r}. It was not used; delete it."
        ) from error
    except (tarfile.TarError, EOFError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DataError(f"{archive.name} is truncated or no archive: {error}. Delete it and download it again.") from error


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m helpers.data.download", description="Download datasets into DATA_DIR.")
    parser.add_argument("names", nargs="+", metavar="name", help=", ".join(OFFICIAL))
    try:
        for name in parser.parse_args(arguments).names:
            print(f"{name} is in {shown(download(name))}")
    except (DataError, UserError, RecordError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
