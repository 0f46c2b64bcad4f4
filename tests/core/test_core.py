"""Errors that help, files written whole, seeds that repeat."""

import errno
import multiprocessing
import os

import pytest
import torch

from helpers.core import files
from helpers.core.devices import pick_device
from helpers.core.errors import RecordError, UserError, nearest, pick
from helpers.core.seeds import derive, generator


def test_unknown_names_list_the_nearest():
    assert nearest("simclrr", ["simclr", "moco_v2", "sit"])[0] == "simclr"
    with pytest.raises(UserError, match="Unknown method 'simclrr'. Did you mean 'simclr'"):
        pick("method", "simclrr", {"simclr": 1, "supervised": 2, "byol": 3, "swav": 4})


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"x": 1})

    def fails(part):
        part.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RecordError, match="disk is full"):
        files.write_with(path, fails)
    assert files.read_json(path) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_a_cut_json_file_is_named(tmp_path):
    (tmp_path / "cut.json").write_text('{"x": ')
    with pytest.raises(RecordError, match="cut.json"):
        files.read_json(tmp_path / "cut.json")


def test_messages_hold_no_folders_of_the_machine(tmp_path):
    assert str(tmp_path) not in files.shown(tmp_path / "x")
    assert files.shown(files.REPOSITORY / "results" / "x") == "results/x"


def _hold(path, held, release):
    with files.lock(path):
        held.set()
        release.wait(10)


def test_a_lock_is_held_by_one_process(tmp_path):
    context = multiprocessing.get_context("fork")
    held, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "lock", held, release))
    other.start()
    assert held.wait(10)
    with files.lock(tmp_path / "lock", wait=False) as mine:
        assert not mine
    release.set()
    other.join()
    with files.lock(tmp_path / "lock", wait=False) as mine:
        assert mine


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(RecordError, match="read-only"):
        files.write_text(tmp_path / "x", "y")


def test_seeds_are_functions_of_their_keys():
    assert derive(1, "views", 3) == derive(1, "views", 3) != derive(1, "views", 4)
    assert torch.equal(torch.rand(3, generator=generator("cpu", 1, "a")), torch.rand(3, generator=generator("cpu", 1, "a")))


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "nonsense"])
def test_a_device_that_does_not_exist_is_an_error(name):
    with pytest.raises(UserError, match="Use|Choose"):
        pick_device(name)
