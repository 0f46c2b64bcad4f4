"""One run that cannot go on, for whatever reason, says why and leaves the others alone."""

import gc
import weakref

import pytest
import torch

from helpers.core import devices
from helpers.core.errors import TrainingStopped, UserError
from helpers.methods import METHODS
from helpers.runs import run as running
from helpers.runs.cost import forecast
from helpers.runs.run import run
from helpers.runs.sweep import sweep
from helpers.training import Training

MARK = 0.9  # the temperature of the run that fails


def no_gpu_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def no_memory():
    torch.empty(2**50)


def no_python_memory():
    raise MemoryError


@pytest.fixture
def broken(monkeypatch, tiny):
    """A run whose forward pass does what it is told to, once it is told."""
    original = METHODS["simclr"].embed

    def arrange(what, **changes):
        def embed(self, inputs):
            if self.temperature == MARK:
                what()
            return original(self, inputs)

        monkeypatch.setattr(METHODS["simclr"], "embed", embed)
        return tiny(method={"options": {"temperature": MARK, "hidden": 16, "out": 8}}, **changes)

    return arrange


@pytest.mark.parametrize("memory", [no_gpu_memory, no_memory, no_python_memory])
def test_out_of_memory_names_what_to_lower(house, broken, memory):
    config = broken(memory, training={"batch_size": 32, "accumulate": 2})
    with pytest.raises(
        TrainingStopped, match=r"out of memory at batch size 32, step 1\. Lower training.batch_size; .*accumulate \(now 2\)"
    ):
        run(config, "cpu")


def test_out_of_memory_is_named_in_range_tests_and_forecasts_too(house, broken, tiny):
    config = broken(no_memory, training={"rate": {"seeds": 1, "coarse_steps": 10, "fine_steps": 10}})
    with pytest.raises(TrainingStopped, match="Lower training.batch_size"):
        run(config, "cpu")
    table = forecast([config, tiny()], device="cpu")
    assert "Lower training.batch_size" in table["runs"][0]  # said in its row, and the others are still forecast
    assert table["minutes"][1] > 0


def test_out_of_memory_in_a_readout_says_so_and_keeps_what_was_trained(house, tiny, steps, monkeypatch):
    """The second call has only to read out; nothing of the first holds memory by then."""
    alive, begin, read = [], Training.__post_init__, running.evaluated

    def watched(self):
        begin(self)
        alive.extend(map(weakref.ref, (self, self.method, self.optimizer)))

    def spent(*given):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(Training, "__post_init__", watched)
    monkeypatch.setattr(running, "evaluated", spent)
    config = tiny()
    gc.collect()
    gc.disable()
    try:
        outcome = sweep([config], device="cpu")
        assert "out of memory while" in outcome.failures[config.id] and "lower workers" in outcome.failures[config.id]
        assert len(alive) == 3 and [each() for each in alive] == [None] * 3
    finally:
        gc.enable()
    trained = len(steps)
    monkeypatch.setattr(running, "evaluated", read)
    again = sweep([config], device="cpu")
    assert again[config] is not None and trained == len(steps) == again[config].metrics["step"].max()


def test_other_errors_are_not_taken_for_it():
    assert not devices.out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_sweep_goes_on_after_every_kind_of_failure(house, broken, tiny, monkeypatch, capsys):
    """Out of memory, a loss that is no number, and combinations that only the data can refuse; then a run that is right."""
    memory = broken(no_gpu_memory)
    original = METHODS["simclr"].criterion

    def criterion(self, outputs, batch):
        loss, logs = original(self, outputs, batch)
        return (loss * float("nan") if self.temperature == 0.8 else loss), logs

    monkeypatch.setattr(METHODS["simclr"], "criterion", criterion)
    bad = {
        "out of memory at batch size 64": memory,
        "The loss became nan at step 1 of 8": tiny(method={"options": {"temperature": 0.8}}),
        "vit_micro: a patch of 5 does not divide the image size 32. Patches that do: 1, 2, 4, 8, 16, 32": tiny(
            encoder={"name": "vit_micro", "stem": "patch5"}
        ),
        "batch size 64 is larger than the 13 images": tiny(method={"name": "supervised", "options": {}}, data={"label_fraction": 0.1}),
        "accumulate = 3 needs that many batches an epoch, but there are 2": tiny(training={"accumulate": 3}),
        "Unknown dataset 'embeded'. Did you mean 'embedded'": tiny(data={"dataset": "embeded"}),
        "Unknown split of embedded 'tset'. Did you mean 'test'": tiny(data={"test_split": "tset"}),
        "nowhere.safetensors": tiny(encoder={"weights": "/nowhere.safetensors"}),
    }
    good = tiny()
    outcome = sweep([*bad.values(), good], device="cpu")
    for says, config in bad.items():
        assert says in outcome.failures[config.id], outcome.failures[config.id]
    assert "Traceback" not in capsys.readouterr().out, "these say by themselves what is wrong"
    assert outcome[good] is not None and len(outcome.failures) == len(bad) and outcome.trained == 1
    assert f"{len(bad)} failed" in outcome.summary() and len(outcome.failure_table()) == len(bad)


def test_an_unforeseen_error_shows_where_it_came_from(house, broken, capsys):
    config = broken(lambda: {}["no such key"])
    assert sweep([config], device="cpu").failures == {config.id: "KeyError: 'no such key'"}
    assert "in embed" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["cuda:99", "mps" if not torch.backends.mps.is_available() else "tpu", None])
def test_a_device_that_does_not_exist_is_refused_before_anything(house, tiny, name):
    with pytest.raises(UserError, match="[dD]evice .* Use"):
        sweep([tiny()], device=name)
    assert not (house.home / "runs").exists()
