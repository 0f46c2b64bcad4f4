"""Batches: every image once, an order that is a function of (seed, epoch), resident and streamed alike, within their memory."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from helpers.core.errors import UserError
from helpers.data import Batches, Split
from helpers.data import batches as room


def made(count=103, size=4, labels=True):
    images = np.arange(count * 3 * size * size, dtype=np.int64).astype(np.uint8).reshape(count, 3, size, size)
    images[:, 0, 0, 0] = np.arange(count) % 251
    return Split(images, np.arange(count, dtype=np.int64) * 2 if labels else None)


def epoch_indices(batches, epoch, start=0):
    return [batch.indices.tolist() for batch in batches.epoch(epoch, start)]


@pytest.mark.parametrize("resident", [True, False])
def test_an_epoch_holds_every_image_once(resident):
    split = made()
    batches = Batches(split, 10, "cpu", drop_last=False, resident=resident)
    seen = list(batches.epoch(0))
    assert len(seen) == len(batches) == 11 and len(seen[-1].images) == 3
    assert sorted(torch.cat([batch.indices for batch in seen]).tolist()) == list(range(103))
    for batch in seen:
        assert batch.images.dtype == torch.uint8 and (batch.images.numpy() == split.images[batch.indices]).all()
        assert (batch.labels == 2 * batch.indices).all()
    assert len(Batches(split, 10, "cpu", resident=resident)) == 10


@pytest.fixture
def tiny_blocks(monkeypatch):
    """Blocks of 4 images of 48 bytes, groups of 6 blocks: the streaming order in small."""
    monkeypatch.setattr(room, "BLOCK_BYTES", 4 * 48)
    monkeypatch.setattr(room, "GROUP_BYTES", 24 * 48)


def test_order_is_a_function_of_seed_and_epoch(tiny_blocks):
    for size, drop_last in ((10, True), (7, False)):
        runs = [epoch_indices(Batches(made(), size, "cpu", seed=1, drop_last=drop_last, resident=r), 3) for r in (True, False, True)]
        assert runs[0] == runs[1] == runs[2], "resident and streamed yield the same batches"
    first, other = Batches(made(), 10, "cpu", seed=1), Batches(made(), 10, "cpu", seed=2)
    assert epoch_indices(first, 3) != epoch_indices(first, 4)
    assert epoch_indices(first, 3) != epoch_indices(other, 3)
    assert sorted(first.order(5).tolist()) == list(range(103))


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("images", [30, 100, 103, 250])
def test_shorter_and_longer_epochs_go_on_where_the_last_one_stopped(resident, images):
    batches = Batches(made(), 10, "cpu", seed=3, resident=resident, epoch_images=images)
    passes = Batches(made(), 10, "cpu", seed=3, resident=resident)
    assert len(batches) == images // 10
    stream = torch.cat([batches.order(epoch) for epoch in range(5)]).tolist()
    whole = [index for number in range(5 * images // 103 + 1) for index in passes.order(number).tolist()]
    assert stream == whole[: 5 * images], "one shuffled pass after another, and nothing left out or seen twice in one"
    undisturbed, resumed = list(batches.epoch(2)), list(batches.epoch(2, 2))
    assert all(torch.equal(a.images, b.images) for a, b in zip(undisturbed[2:], resumed, strict=True))


def test_order_keeps_blocks_together_for_the_disk(tiny_blocks):
    order = Batches(made(), 10, "cpu").order(0)
    assert len(set((order[:24] // 4).tolist())) <= 7, "a group reads few blocks"
    assert order.tolist() != sorted(order.tolist())


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("start", [0, 1, 6, 10])
def test_resumes_mid_epoch(tiny_blocks, resident, start):
    batches = Batches(made(), 10, "cpu", seed=5, resident=resident)
    undisturbed = list(batches.epoch(2))
    resumed = list(Batches(made(), 10, "cpu", seed=5, resident=resident).epoch(2, start))
    assert len(resumed) == 10 - start
    for one, other in zip(undisturbed[start:], resumed, strict=True):
        assert torch.equal(one.images, other.images) and torch.equal(one.indices, other.indices) and torch.equal(one.labels, other.labels)


@pytest.mark.parametrize("resident", [True, False])
def test_indices_choose_images_and_in_order_keeps_their_order(resident):
    chosen = np.array([5, 50, 7, 100, 99])
    batches = Batches(made(labels=False), 2, "cpu", indices=chosen, resident=resident)
    everything = list(batches.in_order())
    assert [batch.indices.tolist() for batch in everything] == [[5, 50], [7, 100], [99]]
    assert everything[1].labels is None and everything[1].images[0, 0, 0, 0] == 7
    assert sum(epoch_indices(batches, 0), []) != [] and set(sum(epoch_indices(batches, 0), [])) <= set(chosen.tolist())


def test_auto_is_resident_within_the_budget_and_streams_beyond():
    assert Batches(made(), 10, "cpu", budget=103 * 48).resident
    assert not Batches(made(), 10, "cpu", budget=103 * 48 - 1).resident
    assert Batches(made(), 10, "cpu", indices=np.arange(20), budget=20 * 48).resident
    assert Batches(made(), 10, "cpu").resident


def test_a_stream_left_early_ends_its_reader_and_errors_reach_the_consumer(monkeypatch):
    import threading

    before = threading.active_count()
    stream = Batches(made(), 2, "cpu", resident=False).epoch(0)
    next(stream)
    stream.close()
    assert threading.active_count() == before
    batches = Batches(made(), 2, "cpu", resident=False)
    monkeypatch.setattr(torch, "index_select", lambda *a, **k: (_ for _ in ()).throw(OSError("the disk is gone")))
    with pytest.raises(OSError, match="the disk is gone"):
        list(batches.epoch(0))


def test_impossible_requests():
    with pytest.raises(UserError, match=r"200.*103.*[Ll]ower"):
        Batches(made(), 200, "cpu")
    assert len(Batches(made(), 200, "cpu", drop_last=False)) == 1
    with pytest.raises(UserError, match="at least 1"):
        Batches(made(), 0, "cpu")
    with pytest.raises(UserError, match="epoch_images is 0"):
        Batches(made(), 1, "cpu", epoch_images=0)
    with pytest.raises(UserError, match="64 is larger than the 20 images of an epoch.*20 or less"):
        Batches(made(), 64, "cpu", epoch_images=20)
    with pytest.raises(UserError, match="empty"):
        Batches(made(), 1, "cpu", indices=np.array([], dtype=int))
    with pytest.raises(UserError, match="103 images"):
        Batches(made(), 1, "cpu", indices=np.array([103]))
    with pytest.raises(UserError, match="10 steps"):
        next(Batches(made(), 10, "cpu").epoch(0, 11))


MEASURE = """
import sys, numpy as np
from helpers.data import Batches, Split
def peak():
    return next(int(l.split()[1]) * 1024 for l in open("/proc/self/status") if l.startswith("VmHWM"))
path, batch, budget = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
images = np.load(path, mmap_mode="c")
warm = Split(np.zeros((512, 3, 96, 96), dtype=np.uint8), None)
for resident in (True, False):  # what the libraries themselves load at first use is no part of it
    list(Batches(warm, 8, "cpu", resident=resident).epoch(0))
before = peak()
batches = Batches(Split(images, None), batch, "cpu", budget=budget)
total = sum(int(batch.images[0, 0, 0, 0]) for epoch in range(2) for batch in batches.epoch(epoch))
print(batches.resident, peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize(("batch", "budget", "resident"), [(256, 10**6, "False"), (32, 10**9, "True")])
def test_memory(tmp_path, batch, budget, resident):
    """With a pack of 440 MB: resident adds no more than its size and the batches in use, streamed no more than 300 MB."""
    pack = np.lib.format.open_memmap(tmp_path / "pack.npy", mode="w+", dtype=np.uint8, shape=(16000, 3, 96, 96))
    pack[:, 0, 0, 0] = 1
    allowed = pack.nbytes + 8 * batch * 3 * 96 * 96 if resident == "True" else 300 * 10**6
    del pack
    arguments = [sys.executable, "-c", MEASURE, str(tmp_path / "pack.npy"), str(batch), str(budget)]
    run = subprocess.run(arguments, capture_output=True, text=True, check=True)
    kind, added = run.stdout.split()
    assert kind == resident
    assert int(added) <= allowed, f"added {int(added) / 1e6:.0f} MB, allowed {allowed / 1e6:.0f}"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("resident", [True, False])
def test_on_a_gpu(resident):
    split = made()
    here = Batches(split, 10, "cpu", indices=np.arange(3, 90))
    there = Batches(split, 10, "cuda", indices=np.arange(3, 90), resident=resident)
    for one, other in zip(here.epoch(1), there.epoch(1), strict=True):
        assert other.images.device.type == other.labels.device.type == other.indices.device.type == "cuda"
        assert torch.equal(one.images, other.images.cpu()) and torch.equal(one.indices, other.indices.cpu())
