"""Readers: every layout yields the images that were written, and damaged or missing files are named."""

import hashlib
import io
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torchvision import datasets

from helpers.core.errors import DataError, UserError
from helpers.data import load


@pytest.fixture(autouse=True)
def folders(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def picture(value, size=(8, 8), mode="RGB"):
    return Image.fromarray(np.random.default_rng(value).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).convert(mode)


def png(value, size=(8, 8)):
    buffer = io.BytesIO()
    picture(value, size).save(buffer, "png")
    return buffer.getvalue()


def chw(value):
    return np.asarray(picture(value)).transpose(2, 0, 1)


# torchvision's layout


def write_cifar(folder, monkeypatch, reference, batches, meta, label_key):
    """Small batches in CIFAR's format, whose checksums take the place of the official ones."""
    folder.mkdir(parents=True)
    sums, content = {}, {}
    for number, name in enumerate(batches):
        pixels = np.random.default_rng(number).integers(0, 256, (4, 3072), dtype=np.uint8)
        content[name] = {"data": pixels, label_key: [0, 1, 1, 0]}
    content[meta["filename"]] = {meta["key"]: ["ant", "bee"]}
    for name, one in content.items():
        (folder / name).write_bytes(pickle.dumps(one))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(reference, "train_list", [[name, sums[name]] for name in batches[:-1]])
    monkeypatch.setattr(reference, "test_list", [[batches[-1], sums[batches[-1]]]])
    monkeypatch.setattr(reference, "meta", meta | {"md5": sums[meta["filename"]]})
    return content


@pytest.mark.parametrize("nested", [True, False])
def test_cifar10(folders, monkeypatch, nested):
    place = folders / "cifar10" / "cifar-10-batches-py" if nested else folders / "cifar-10-batches-py"
    content = write_cifar(
        place, monkeypatch, datasets.CIFAR10, ["data_batch_1", "data_batch_2", "test_batch"], datasets.CIFAR10.meta, "labels"
    )
    data = load("cifar10")
    assert data.classes == ("ant", "bee") and "CIFAR-10" in data.source and "Krizhevsky" in data.licence
    expected = np.concatenate([content["data_batch_1"]["data"], content["data_batch_2"]["data"]]).reshape(-1, 3, 32, 32)
    assert (data.split("train").images == expected).all()
    assert data.split("train").labels.tolist() == [0, 1, 1, 0] * 2 and len(data.split("test")) == 4


def test_cifar100_reads_fine_labels(folders, monkeypatch):
    write_cifar(
        folders / "cifar100/cifar-100-python", monkeypatch, datasets.CIFAR100, ["train", "test"], datasets.CIFAR100.meta, "fine_labels"
    )
    assert load("cifar100").split("test").labels.tolist() == [0, 1, 1, 0]


def test_a_changed_cifar_file_is_named_and_never_unpickled(folders, monkeypatch):
    place = folders / "cifar10/cifar-10-batches-py"
    write_cifar(place, monkeypatch, datasets.CIFAR10, ["data_batch_1", "test_batch"], datasets.CIFAR10.meta, "labels")
    whole = (place / "data_batch_1").read_bytes()
    (place / "data_batch_1").write_bytes(whole[:-100])
    with pytest.raises(DataError, match=r"data_batch_1 is truncated or damaged.*python -m helpers.data.download cifar10"):
        load("cifar10")
    (place / "data_batch_1").unlink()
    with pytest.raises(DataError, match=r"data_batch_1 is missing.*download cifar10"):
        load("cifar10")


class Explodes:
    def __reduce__(self):
        return (pytest.fail, ("a foreign pickle was run",))


def test_a_foreign_pickle_is_never_run(folders, monkeypatch):
    place = folders / "cifar10/cifar-10-batches-py"
    write_cifar(place, monkeypatch, datasets.CIFAR10, ["data_batch_1", "test_batch"], datasets.CIFAR10.meta, "labels")
    for name in ("data_batch_1", "batches.meta"):
        (place / name).write_bytes(pickle.dumps(Explodes()))
    with pytest.raises(DataError, match="checksum"):
        load("cifar10")


def test_stl10(folders, monkeypatch):
    place = folders / "stl10/stl10_binary"
    place.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 96, 96), dtype=np.uint8)
    for part, count in (("train", 3), ("test", 2), ("unlabeled", 5)):
        images[:count].transpose(0, 1, 3, 2).tofile(place / f"{part}_X.bin")
        np.arange(1, count + 1, dtype=np.uint8).tofile(place / f"{part}_y.bin")
    (place / "unlabeled_y.bin").unlink()
    (place / "class_names.txt").write_text("airplane\nbird\ncar\n")
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in place.iterdir()}
    monkeypatch.setattr(datasets.STL10, "train_list", [[n, sums[n]] for n in ("train_X.bin", "train_y.bin", "unlabeled_X.bin")])
    monkeypatch.setattr(datasets.STL10, "test_list", [[n, sums[n]] for n in ("test_X.bin", "test_y.bin")])
    data = load("stl10")
    assert (data.split("train").images == images[:3]).all() and data.split("train").labels.tolist() == [0, 1, 2]
    assert data.split("unlabeled").labels is None and len(data.split("unlabeled")) == 5
    assert data.classes == ("airplane", "bird", "car")


# Class folders


def test_class_folders_with_train_and_test(folders):
    for value, path in enumerate(["train/cat/1.png", "train/cat/2.jpg", "train/dog/a/3.png", "test/dog/4.png", "unlabeled/5.png"]):
        (folders / "pets" / path).parent.mkdir(parents=True, exist_ok=True)
        picture(value).save(folders / "pets" / path)
    data = load("pets")
    assert data.classes == ("cat", "dog")
    assert data.split("train").labels.tolist() == [0, 0, 1] and data.split("test").labels.tolist() == [1]
    assert (data.split("test").images[0] == chw(3)).all() and data.split("unlabeled").labels is None
    with pytest.raises(UserError, match=r"'tset'.*'test'"):
        data.split("tset")


def test_a_missing_test_split_is_held_out_by_class_and_said(folders):
    for label, count in (("cat", 20), ("dog", 10)):
        (folders / "pets" / label).mkdir(parents=True)
        for number in range(count):
            picture(number).save(folders / "pets" / label / f"{number:02}.png")
    (folders / "pets/.hidden").mkdir()
    picture(0).save(folders / "pets/.hidden/x.png")
    data = load("pets")
    assert data.classes == ("cat", "dog") and "fifth of each class" in data.source
    assert np.bincount(data.split("train").labels).tolist() == [16, 8] and np.bincount(data.split("test").labels).tolist() == [4, 2]
    both = np.concatenate(
        [data.split("train").images[data.split("train").labels == 0], data.split("test").images[data.split("test").labels == 0]]
    )
    assert {image.tobytes() for image in both} == {chw(number).tobytes() for number in range(20)}


def test_modes_and_sizes(folders):
    for split in ("train", "test"):
        (folders / f"mix/{split}/any").mkdir(parents=True)
    picture(0).save(folders / "mix/test/any/0.png")
    grey16 = Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000)
    for name, image in {
        "1": picture(1, mode="L"),
        "2": picture(2).convert("RGBA"),
        "3": picture(3).convert("P"),
        "4": grey16,
        "5": picture(5, (30, 20)),
    }.items():
        image.save(folders / f"mix/train/any/{name}.png")
    with pytest.raises(DataError, match=r"5.png is 30 x 20, not 8 x 8.*image_size"):
        load("mix")
    data = load("mix", image_size=8)
    grey, alpha, _, deep, wide = data.split("train").images
    assert (grey[0] == np.asarray(picture(1, mode="L"))).all() and (grey[0] == grey[1]).all()
    assert (alpha == chw(2)).all()
    assert deep[0].ravel().tolist() == [value * 1000 >> 8 for value in range(64)]
    expected = picture(5, (30, 20)).resize((8, 8), Image.Resampling.BILINEAR, box=(5, 0, 25, 20))
    assert (wide == np.asarray(expected).transpose(2, 0, 1)).all()


def test_an_image_that_will_not_decode_is_named_and_skippable(folders):
    for split in ("train", "test"):
        (folders / "pets" / split / "cat").mkdir(parents=True)
        for number in range(4):
            picture(number).save(folders / "pets" / split / "cat" / f"{number}.png")
    bad = folders / "pets/train/cat/2.png"
    for content in (bad.read_bytes()[:60], b"no image"):
        bad.write_bytes(content)
        with pytest.raises(DataError, match=r"pets/train/cat/2.png.*skip_damaged=True") as raised:
            load("pets")
        assert str(folders) not in str(raised.value)
    data = load("pets", skip_damaged=True)
    assert len(data.split("train")) == len(data.split("train").labels) == 3 and "1 damaged images left out" in data.source
    assert (data.split("train").images[2] == chw(3)).all()
    with pytest.raises(DataError, match="2.png"):  # the pack that left it out does not count
        load("pets")


# Parquet


def write_parquet(path, values, labels=None, names=None, column="image", label="label", plain=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    data = [png(value) if isinstance(value, int) else value for value in values]
    columns = {column: pa.array(data, pa.binary()) if plain else pa.array([{"bytes": one, "path": "x.png"} for one in data])}
    if labels is not None:
        columns[label] = pa.array(labels)
    table = pa.table(columns)
    if names:
        features = {label: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=2)


@pytest.mark.parametrize("plain", [True, False])
def test_parquet(folders, plain):
    write_parquet(folders / "p/train.parquet", [1, 2, 3], [1, 0, 1], ["ant", "bee", "cow"], plain=plain)
    write_parquet(folders / "p/test.parquet", [4], [0], ["ant", "bee", "cow"], plain=plain)
    data = load("p")
    assert data.classes == ("ant", "bee", "cow") and data.split("train").labels.tolist() == [1, 0, 1]
    assert (data.split("train").images == np.stack([chw(1), chw(2), chw(3)])).all() and (data.split("test").images[0] == chw(4)).all()


def test_parquet_shards_other_names_and_text_labels(folders):
    write_parquet(folders / "p/data/train-00000-of-00002.parquet", [1, 2], ["b", "a"], column="img", label="fine_label")
    write_parquet(folders / "p/data/train-00001-of-00002.parquet", [3], ["c"], column="img", label="fine_label")
    write_parquet(folders / "p/data/validation-00000-of-00001.parquet", [4], ["a"], column="img", label="fine_label")
    write_parquet(folders / "p/data/unlabeled.parquet", [5], column="img")
    data = load("p")
    assert data.classes == ("a", "b", "c") and data.split("train").labels.tolist() == [1, 0, 2]
    assert data.split("test").labels.tolist() == [0] and "validation split serves as test" in data.source
    assert data.split("unlabeled").labels is None


def test_one_parquet_file_is_divided(folders):
    write_parquet(folders / "p/all.parquet", list(range(20)), [0, 1] * 10)
    data = load("p")
    assert len(data.split("train")) == 16 and np.bincount(data.split("test").labels).tolist() == [2, 2] and data.classes == ("0", "1")
    found = {image.tobytes(): int(label) for split in data.splits.values() for image, label in zip(split.images, split.labels, strict=True)}
    assert found == {chw(value).tobytes(): value % 2 for value in range(20)}


def test_damaged_parquet(folders):
    write_parquet(folders / "p/train.parquet", [1, b"no image", 3], [0, 1, 0])
    write_parquet(folders / "p/test.parquet", [1], [0])
    with pytest.raises(DataError, match=r"train.parquet, row 1"):
        load("p")
    assert load("p", skip_damaged=True).split("train").labels.tolist() == [0, 0]
    whole = (folders / "p/train.parquet").read_bytes()
    (folders / "p/train.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"p/train.parquet is no whole Parquet file"):
        load("p")
    write_parquet(folders / "p/train.parquet", [1], [7], ["ant", "bee"])
    with pytest.raises(DataError, match=r"label 7.*2 classes"):
        load("p")


# What is missing


def test_a_dataset_that_only_its_authors_share_says_where(folders):
    with pytest.raises(DataError, match=r"'aid' is not here.*class folders.*captain-whu.github.io/AID"):
        load("aid")


def test_what_is_missing_is_said_in_one_message(folders, tmp_path):
    with pytest.raises(DataError, match=r"data/cifar10 .*python -m helpers.data.download cifar10") as raised:
        load("cifar10")
    assert str(tmp_path) not in str(raised.value)
    (folders / "pets").mkdir()
    with pytest.raises(DataError, match="'pets'"):
        load("pets")
    with pytest.raises(UserError, match=r"Did you mean 'cifar1"):
        load("cifar-1")
    with pytest.raises(UserError, match="no dataset name"):
        load("../secret")
    with pytest.raises(UserError, match="Only the embedded"):
        load("pets", options={"size": 3})
