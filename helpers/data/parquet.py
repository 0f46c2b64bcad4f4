"""Parquet files with image bytes and labels, one or several a split: the layout dataset hubs ship."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from helpers.core.errors import DataError
from helpers.core.files import shown
from helpers.data.sources import Item, Opened, RawSplit, Source, names_of_classes, stamp, with_test

IMAGE_NAMES = ("image", "img", "images", "picture", "bytes")
LABEL_NAMES = ("label", "labels", "fine_label", "class", "target")
ROWS = 512


def find(name: str, places: list[Path]) -> Source | None:
    """The dataset as Parquet files in the place of its name, or in its data/ folder."""
    for place in places:
        for folder in (place, place / "data"):
            files = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))
            if files:
                return Source(stamp(files, place), lambda share, files=files: _open(name, files, share))
    return None


def _open(name: str, files: list[Path], share: float) -> Opened:
    shards: dict[str, list[Path]] = {}
    for path in files:
        shards.setdefault(re.split(r"-\d+", path.stem)[0], []).append(path)
    names = next(filter(None, map(_class_names, files)), None)
    text = _text_classes(files) if names is None else None
    splits = {split: _split(paths, text) for split, paths in shards.items()}
    every = np.concatenate([np.empty(0, dtype=np.int64), *(split.labels for split in splits.values() if split.labels is not None)])
    classes = names_of_classes(every, names or text, files[0])
    splits, note = with_test(splits, share)
    return Opened(splits, classes, f"Parquet files of {name}/{note}")


def _schema(path: Path) -> pa.Schema:
    try:
        return pq.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{_shown(path)} is no whole Parquet file (truncated?): {_first_line(error)}. Get the file again.") from error


def _shown(path: Path) -> str:
    return f"{shown(path.parent)}/{path.name}"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")


def _image_column(path: Path) -> str:
    """The dotted name of the column with image bytes: found by its type, the usual names first."""
    schema = _schema(path)
    found = {}
    for field in schema:
        if _is_bytes(field.type):
            found[field.name] = field.name
        elif pa.types.is_struct(field.type) and any(part.name == "bytes" and _is_bytes(part.type) for part in field.type):
            found[field.name] = f"{field.name}.bytes"
    for name in (*IMAGE_NAMES, *found):
        if name in found:
            return found[name]
    raise DataError(f"{_shown(path)} has no column of image bytes; its columns are {', '.join(schema.names)}.")


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _label_column(path: Path) -> pa.Field | None:
    """The column of labels: one of the usual names, else the only column of whole numbers, else none."""
    schema = _schema(path)
    for name in LABEL_NAMES:
        if name in schema.names:
            return schema.field(name)
    whole = [field for field in schema if pa.types.is_integer(field.type)]
    return whole[0] if len(whole) == 1 else None


def _class_names(path: Path) -> tuple[str, ...] | None:
    """Class names from the metadata that dataset hubs write into the schema."""
    column, metadata = _label_column(path), _schema(path).metadata or {}
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return tuple(map(str, features[column.name]["names"]))
    except (KeyError, ValueError, TypeError, AttributeError):
        return None


def _text_classes(files: list[Path]) -> tuple[str, ...] | None:
    """Class names where the label columns hold them as text."""
    columns = [(path, _label_column(path)) for path in files]
    texts = [_column(path, field.name) for path, field in columns if field is not None and _is_text(field.type)]
    return tuple(sorted({name for column in texts for name in column.unique().to_pylist() if name is not None})) if texts else None


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _column(path: Path, name: str) -> pa.ChunkedArray:
    try:
        return pq.ParquetFile(path).read(columns=[name]).column(name)
    except (OSError, pa.ArrowInvalid, KeyError) as error:
        raise DataError(f"Cannot read column {name} of {_shown(path)}: {_first_line(error)}. Get the file again.") from error


def _split(paths: list[Path], text: tuple[str, ...] | None) -> RawSplit:
    column = _label_column(paths[0])
    labels = None
    if column is not None:
        labels = np.concatenate([_labels(path, column.name, text) for path in paths])
        labels = None if (labels < 0).all() else labels
    image = _image_column(paths[0])

    def items() -> Iterator[Item]:
        for path in paths:
            yield from _rows(path, image)

    return RawSplit(sum(pq.ParquetFile(path).metadata.num_rows for path in paths), labels, items)


def _labels(path: Path, name: str, text: tuple[str, ...] | None) -> np.ndarray:
    values = _column(path, name)
    if values.null_count:
        raise DataError(f"{values.null_count} labels in column {name} of {_shown(path)} are empty. Fill them in, or leave the column out.")
    if text is not None and _is_text(values.type):
        numbers = {name: number for number, name in enumerate(text)}
        return np.array([numbers[value] for value in values.to_pylist()], dtype=np.int64)
    if not pa.types.is_integer(values.type):
        raise DataError(f"Column {name} of {_shown(path)} holds {values.type}; labels are whole numbers or text.")
    return values.to_numpy().astype(np.int64)


def _rows(path: Path, image: str) -> Iterator[Item]:
    """The encoded images of one file, a few hundred in memory at a time."""
    row = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=ROWS, columns=[image], use_threads=False):
            column = batch.column(0)
            for value in column.field("bytes") if pa.types.is_struct(column.type) else column:
                yield f"{path.name}, row {row}", value.as_py() or b""
                row += 1
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{_shown(path)} is damaged near row {row}: {_first_line(error)}. Get the file again.") from error
