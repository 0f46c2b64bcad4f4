"""Downloads: checked, whole or not at all, and archives kept inside their folder. The network is a server on this machine."""

import functools
import hashlib
import http.server
import io
import tarfile
import threading

import pytest
from torchvision import datasets

from helpers.core.errors import DataError, UserError
from helpers.data import download as room


def archive(path, members):
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def server(monkeypatch, tmp_path):
    """The address under which this machine serves the test's folder."""
    monkeypatch.setenv("no_proxy", "*")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path)) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture
def offered(monkeypatch, tmp_path, server):
    """A small CIFAR-10 archive on the server, with its checksums in the place of the official ones."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    content = {name: name.encode() * 50 for name in ("data_batch_1", "test_batch", "batches.meta")}
    path = archive(tmp_path / "offered.tar.gz", {f"cifar-10-batches-py/{name}": one for name, one in content.items()})
    sums = {name: hashlib.md5(one).hexdigest() for name, one in content.items()}
    reference = datasets.CIFAR10
    monkeypatch.setattr(reference, "train_list", [["data_batch_1", sums["data_batch_1"]]])
    monkeypatch.setattr(reference, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(reference, "meta", {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]})
    monkeypatch.setattr(reference, "url", f"{server}/{path.name}")
    monkeypatch.setattr(reference, "tgz_md5", hashlib.md5(path.read_bytes()).hexdigest())
    return path


def test_downloads_into_torchvisions_layout_once(offered, tmp_path, capsys):
    assert room.main(["cifar10"]) == 0
    target = tmp_path / "data/cifar10/cifar-10-batches-py"
    assert sorted(path.name for path in target.iterdir()) == ["batches.meta", "data_batch_1", "test_batch"]
    assert [path.name for path in (tmp_path / "data/cifar10").iterdir()] == ["cifar-10-batches-py"], "no leftovers"
    offered.unlink()
    assert room.main(["cifar10"]) == 0, "what is there is not fetched again"
    (target / "test_batch").write_bytes(b"cut")
    with pytest.raises(DataError, match="test_batch is truncated or damaged"):
        room.download("cifar10")


def test_an_interrupted_download_never_counts(offered, monkeypatch, tmp_path):
    extract = room.extract
    monkeypatch.setattr(room, "extract", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        room.download("cifar10")
    target = tmp_path / "data/cifar10/cifar-10-batches-py"
    assert not target.exists()
    part = tmp_path / "data/cifar10/.partial/cifar-10-python.tar.gz"
    part.write_bytes(part.read_bytes()[:100])  # cut short by the interruption
    monkeypatch.setattr(room, "extract", extract)
    assert room.download("cifar10") == target and (target / "test_batch").is_file()


def test_a_wrong_checksum_is_an_error_and_nothing_is_kept(offered, tmp_path, capsys):
    offered.write_bytes(offered.read_bytes()[:-20])
    assert room.main(["cifar10"]) == 1
    said = capsys.readouterr().err
    assert "checksum is wrong" in said and "python -m helpers.data.download cifar10" in said
    assert not (tmp_path / "data/cifar10/cifar-10-batches-py").exists()


def test_no_network_is_said(offered):
    offered.unlink()
    with pytest.raises(DataError, match=r"Downloading cifar10 .* failed.*Run again"):
        room.download("cifar10")


@pytest.mark.parametrize("member", ["../evil", "ok/../../evil"])
def test_an_archive_that_would_leave_its_folder(tmp_path, member):
    path = archive(tmp_path / "bad.tar.gz", {"fine": b"1", member: b"2"})
    with pytest.raises(DataError, match="evil"):
        room.extract(path, tmp_path / "inside/content")
    assert not (tmp_path / "inside/content").exists() and not list(tmp_path.rglob("evil"))


def test_a_link_out_of_the_folder(tmp_path):
    path = tmp_path / "bad.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        link = tarfile.TarInfo("door")
        link.type, link.linkname = tarfile.SYMTYPE, "../../.."
        tar.addfile(link)
    with pytest.raises(DataError, match="door"):
        room.extract(path, tmp_path / "content")


def test_a_truncated_archive(tmp_path):
    path = archive(tmp_path / "cut.tar.gz", {"a": bytes(range(256)) * 400})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match="cut.tar.gz is truncated"):
        room.extract(path, tmp_path / "content")


def test_unknown_names():
    with pytest.raises(UserError, match="cifar100"):
        room.download("cifar1000")
