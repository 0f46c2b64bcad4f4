"""Between two runs the device gives back what nothing uses; graphs go only where they hold much of it, and code lives on without them."""

import shutil
from types import SimpleNamespace

import pytest
import torch

from helpers.training import compiled
from helpers.training.compiled import make_room

CARD = torch.device("cuda")
TOTAL = 80 * 2**30


@pytest.fixture
def card(monkeypatch):
    """A card of 80 GiB that tells what it is told to, and what was asked of it."""
    said = SimpleNamespace(reserved=0, allocated=0, done=[])
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: said.done.append("emptied"))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: said.reserved)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: said.allocated)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=TOTAL))
    monkeypatch.setattr(torch.compiler, "reset", lambda: said.done.append("reset"))
    return said


@pytest.mark.parametrize(
    ("reserved", "allocated", "reset"), [(0.3, 0.0, True), (0.9, 0.5, True), (0.2, 0.0, False), (0.9, 0.8, False), (0.0, 0.0, False)]
)
def test_graphs_go_where_a_quarter_of_the_card_lies_idle(reserved, allocated, reset, card, monkeypatch):
    monkeypatch.setattr(compiled, "_shared", SimpleNamespace(cache_info=lambda: SimpleNamespace(currsize=1)))
    card.reserved, card.allocated = int(reserved * TOTAL), int(allocated * TOTAL)
    make_room(CARD)
    assert card.done == (["emptied", "reset", "emptied"] if reset else ["emptied"])


def test_nothing_is_reset_where_nothing_was_compiled(card, monkeypatch):
    monkeypatch.setattr(compiled, "_shared", SimpleNamespace(cache_info=lambda: SimpleNamespace(currsize=0)))
    card.reserved = TOTAL
    make_room(CARD)
    assert card.done == ["emptied"]


def test_a_lost_device_is_left_alone(card, monkeypatch):
    def lost():
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(torch.cuda, "empty_cache", lost)
    make_room(CARD)
    assert card.done == []


def test_a_cpu_has_nothing_to_give_back(card):
    make_room(torch.device("cpu"))
    assert card.done == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++ on a CPU")
def test_compiled_runs_hold_no_memory_and_go_on_after_a_reset():
    """What is compiled is kept for the next run of a net, and with it nothing of the run that it was compiled for."""
    import gc
    import weakref

    from tests.training.test_compiled import training

    losses, alive = [], []
    for between in (lambda: None, torch.compiler.reset, lambda: None):
        run = training(depth=1, precision="fp32", compile=True)
        losses.append([row["loss"] for row in run.run()])
        alive = [weakref.ref(part) for part in (run, run.method, run.optimizer, next(run.method.parameters()))]
        del run
        gc.collect()  # as make_room() does: where the code is not in torch's cache, compiling leaves a circle of frames behind
        assert [part() for part in alive] == [None] * 4
        between()
    assert losses[0] == losses[1] == losses[2]
