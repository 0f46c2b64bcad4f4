"""A folder of one's own: read wherever it lies and whatever is in it, known by a name that holds no path."""

import re
import unicodedata

import numpy as np
import pytest
from PIL import Image

from helpers.core.errors import DataError
from helpers.data import decode, load, own, packing
from tests.oddities import noise, odd_folder


@pytest.fixture(autouse=True)
def caches(monkeypatch, tmp_path):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "cache"))


def test_odd_folders_are_read_and_what_was_left_out_is_said(tmp_path):
    place = odd_folder(tmp_path / "Meine Szenen (2019)")
    large, small = own.adopt(place, [48, 16], test_share=0.5)
    assert re.fullmatch(r"meine_szenen_2019-[0-9a-f]{8}", large.name) and small.name == large.name
    assert large.classes == ("Hafen Süd", "bare land", "農地") and (large.image_size, small.image_size) == (48, 16)
    train, test = large.split("train"), large.split("test")
    assert np.bincount(train.labels).tolist() == [3, 2, 4] and np.bincount(test.labels).tolist() == [3, 1, 3]
    assert "of 3 images with four bands the first three are used" in large.source and "50 % of each class" in large.source
    assert str(tmp_path) not in large.source
    expected = decode.pixels(place / "bare land/bands 0.tif", 48)
    alone = np.asarray(Image.fromarray(noise(0, 90, 90, 4)[:, :, :3]).resize((48, 48), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert (expected == alone).all()
    deep = decode.pixels(place / "農地/deep.tif", None)
    assert deep.max() > 200 and (deep[0] == deep[1]).all()  # not clipped to white
    assert load(large.name, image_size=16, test_share=0.5).hash == small.hash  # by its name, from the pack


def test_both_sizes_come_from_one_pass_and_each_is_as_if_made_alone(tmp_path, monkeypatch):
    place = odd_folder(tmp_path / "scenes")
    Image.fromarray(noise(3, 600, 600)).save(place / "農地" / "large.jpg")  # decoded at a fraction of its size
    passes = []
    decoded = packing.decoded
    monkeypatch.setattr(packing, "decoded", lambda items, sizes: passes.append(tuple(sizes)) or decoded(items, sizes))
    both = own.adopt(place, [48, 16])
    assert passes == [(48, 16), (48, 16)]  # train and test
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "other"))
    for size, found in zip((48, 16), both, strict=True):
        assert own.adopt(place, [size])[0].hash == found.hash


def test_a_changed_folder_is_another_dataset_and_an_unchanged_one_is_read_from_its_pack(tmp_path, monkeypatch):
    place = odd_folder(tmp_path / "scenes")
    first = own.adopt(place, [16])[0]
    with monkeypatch.context() as patch:
        patch.setattr(packing, "_make", lambda *a: pytest.fail("packed again"))
        assert own.adopt(place, [16])[0].hash == first.hash
    Image.fromarray(noise(77, 30, 30)).save(place / "bare land" / "new.png")
    assert own.adopt(place, [16])[0].name != first.name


def test_damaged_images_are_named_counted_and_skipped_only_if_asked(tmp_path):
    place = odd_folder(tmp_path / "scenes")
    (place / "農地/empty.png").touch()
    (place / "Hafen Süd/cut.jpg").write_bytes((place / "Hafen Süd/Bild 0 – groß.jpg").read_bytes()[:300])
    Image.fromarray(np.random.default_rng(0).random((8, 8)).astype(np.float32)).save(place / "bare land" / "heights.tif")
    with pytest.raises(DataError) as raised:
        own.adopt(place, [16])
    said = str(raised.value)
    assert said.startswith("3 of 19 images will not decode: ") and "skip_damaged=True" in said and str(tmp_path) not in said
    for name in ("scenes/農地/empty.png", "scenes/Hafen Süd/cut.jpg", "heights.tif (it holds floating-point numbers"):
        assert name in said
    found = own.adopt(place, [16], skip_damaged=True)[0]
    assert sum(len(split) for split in found.splits.values()) == 16 and "3 damaged images left out" in found.source


def mixed_endings(place):
    Image.fromarray(noise(1, 8, 8)).save(place / "農地" / "Grey 0.bmp")


def empty_class(place):
    (place / "meadow" / "old").mkdir(parents=True)


def two_codings(place):
    other = place / unicodedata.normalize("NFD", "Hafen Süd")
    other.mkdir()
    Image.fromarray(noise(1, 8, 8)).save(other / "x.png")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (mixed_endings, r"Two files of one name in scenes/農地/: (Grey 0.bmp and grey 0.png|grey 0.png and Grey 0.bmp).*Remove one"),
        (empty_class, r"class folders without an image: meadow"),
        (two_codings, r"class folders that differ in letters' case or coding alone"),
    ],
)
def test_what_nobody_means_is_an_error(tmp_path, spoil, says):
    place = odd_folder(tmp_path / "scenes")
    spoil(place)
    with pytest.raises(DataError, match=says):
        own.adopt(place, [16])


def test_a_folder_that_is_none_and_one_without_classes(tmp_path):
    with pytest.raises(DataError, match=r"data_dir: there is no folder 'nowhere'"):
        own.adopt(tmp_path / "nowhere", [16])
    (tmp_path / "flat").mkdir()
    Image.fromarray(noise(1, 8, 8)).save(tmp_path / "flat" / "x.png")
    with pytest.raises(DataError, match=r"flat/ holds no class folders with images"):
        own.adopt(tmp_path / "flat", [16])


def test_a_split_of_its_own_is_respected(tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        for name in ("a", "b"):
            (tmp_path / "s" / split / name).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(noise(number, 8, 8)).save(tmp_path / "s" / split / name / f"{number}.png")
    found = own.adopt(tmp_path / "s", [8], test_share=0.5)[0]
    assert len(found.split("train")) == 6 and len(found.split("test")) == 4


def test_links_are_followed_and_one_that_leads_nowhere_is_named(tmp_path):
    place = odd_folder(tmp_path / "scenes")
    (place / "農地").rename(tmp_path / "elsewhere")
    (place / "農地").symlink_to(tmp_path / "elsewhere")
    (place / "loop").symlink_to(place)
    (place / "農地" / "gone.png").symlink_to(tmp_path / "nothing.png")
    with pytest.raises(DataError, match=r"An image will not decode: scenes/農地/gone.png"):
        own.adopt(place, [16])
    assert own.adopt(place, [16], skip_damaged=True)[0].classes == ("Hafen Süd", "bare land", "農地")


@pytest.mark.parametrize("names", [("Train", "Test"), ("training", "testing"), ("test", "val")])
def test_splits_of_other_names_are_not_taken_for_classes(tmp_path, names):
    for name in names:
        (tmp_path / "s" / name / "a").mkdir(parents=True)
        Image.fromarray(noise(1, 8, 8)).save(tmp_path / "s" / name / "a" / "x.png")
    with pytest.raises(DataError, match="look like splits.*Call them train/ and test/"):
        own.adopt(tmp_path / "s", [8])


def test_a_class_that_only_test_has_is_refused(tmp_path):
    for folder in ("train/a", "train/b", "test/a", "test/c"):
        (tmp_path / "s" / folder).mkdir(parents=True)
        Image.fromarray(noise(1, 8, 8)).save(tmp_path / "s" / folder / "x.png")
    with pytest.raises(DataError, match="tests classes that train/ has no image of: c"):
        own.adopt(tmp_path / "s", [8])


def tiff(path, values, **options):
    """A TIFF of whatever bands, whole, uncompressed, as satellites' programs write them."""
    import struct

    height, width, bands = values.shape
    planar = options.get("planar", 1)
    data = (values if planar == 1 else values.transpose(2, 0, 1)).tobytes()
    bits = 8 * values.itemsize
    plane = height * width * values.itemsize
    strips = 1 if planar == 1 else bands
    extra = 1000  # where longer values lie
    entries = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * bands), 259: (3, [1]), 262: (3, [2]), 277: (3, [bands])}
    entries |= {278: (4, [height]), 284: (3, [planar])} | ({338: (3, [options.get("extra", 0)])} if bands > 3 else {})
    entries |= {273: (4, [2000 + n * plane for n in range(strips)]), 279: (4, [plane * (bands if planar == 1 else 1)] * strips)}
    head, tail = struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(entries)), b""
    for tag, (kind, found) in sorted(entries.items()):
        packed = struct.pack(f"<{len(found)}{'H' if kind == 3 else 'I'}", *found)
        if len(packed) > 4:
            head += struct.pack("<HHII", tag, kind, len(found), extra + len(tail))
            tail += packed
        else:
            head += struct.pack("<HHI", tag, kind, len(found)) + packed.ljust(4, b"\0")
    content = (head + b"\0" * 4).ljust(extra, b"\0") + tail
    path.write_bytes(content.ljust(2000, b"\0") + data)


@pytest.mark.parametrize("extra", [0, 2])
def test_of_four_bands_the_first_three_are_used_as_they_are_whatever_the_fourth_is(tmp_path, extra):
    values = noise(5, 12, 12, 4)
    for name in ("a", "b"):
        (tmp_path / "s" / name).mkdir(parents=True)
        for number in range(2):
            tiff(tmp_path / "s" / name / f"{number}.tif", values, extra=extra)
    found = own.adopt(tmp_path / "s", [12])[0]
    assert (found.split("train").images[0] == values[:, :, :3].transpose(2, 0, 1)).all()
    assert "of 4 images with four bands the first three are used" in found.source


def test_what_would_be_read_wrongly_is_refused_with_the_reason(tmp_path):
    deep = noise(5, 12, 12, 3).astype(np.uint16) * 256
    for name, says in (("planar", "16-bit bands lie one after the other"), ("dark", "go up to 999 only")):
        place = tmp_path / name
        for label in ("a", "b"):
            (place / label).mkdir(parents=True)
            Image.fromarray(noise(1, 8, 8)).save(place / label / "x.png")
            Image.fromarray(noise(2, 8, 8)).save(place / label / "y.png")
        if name == "planar":
            tiff(place / "a" / "z.tif", deep, planar=2)
        else:
            Image.fromarray(np.full((8, 8), 999, dtype=np.uint16)).save(place / "a" / "z.tif")
        with pytest.raises(DataError, match=says):
            own.adopt(place, [8])
