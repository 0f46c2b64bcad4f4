"""A run in two processes learns what one process learns from the same batches, goes on after a stop, and leaves nobody behind."""

import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from helpers.core.errors import TrainingStopped, UserError
from helpers.runs import beside
from helpers.runs.config import RunConfig
from helpers.runs.run import encoder_file, run
from helpers.training import Stopped

DATA = {"dataset": "embedded", "train_images": 64, "test_images": 32}


def config(processes, **training):
    """A net without batch statistics on views that nothing is drawn for: how a batch is shared out then makes no difference."""
    return RunConfig(
        data=DATA,
        encoder={"name": "squeezenet"},
        views={"recipe": "none", "options": {"count": 2}},
        method={"name": "simclr", "options": {"norm": "none", "temperature": 0.2}},
        training={"epochs": 2, "batch_size": 32, "optimizer": "sgd", "rate": 0.01, "precision": "fp32", "processes": processes} | training,
        evaluation={"probe": "knn10", "maps": None, "cka": False},
    )


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNS_DIR", str(tmp_path / "runs"))
    monkeypatch.setenv("CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CHECKPOINT_DIR", raising=False)


def weights(made):
    return torch.cat([value.flatten().float() for value in load_file(encoder_file(made.id)).values()])


def test_two_processes_learn_what_one_does():
    one, two = run(config(1), "cpu"), run(config(2), "cpu")
    assert one.metrics["step"].tolist() == two.metrics["step"].tolist() == [2, 4]
    assert two.metrics["loss"].tolist() == pytest.approx(one.metrics["loss"].tolist(), rel=1e-5)
    torch.testing.assert_close(weights(two), weights(one), rtol=1e-4, atol=1e-5)
    assert not torch.distributed.is_initialized()


def test_a_stopped_pair_goes_on_where_it_was():
    whole = run(config(2, epochs=3), "cpu")
    again, asked = config(2, epochs=3), iter([None] * 3)
    (encoder_file(whole.id)).rename(encoder_file("kept"))
    kept = load_file(encoder_file("kept"))
    (whole.path).rename(whole.path.with_name("elsewhere"))
    with pytest.raises(Stopped, match="after step"):
        run(again, "cpu", stop=lambda: next(asked, "the test says so"))
    resumed = run(again, "cpu")
    assert resumed.manifest["resumed"] is not None
    assert resumed.metrics["loss"].tolist() == whole.metrics["loss"].tolist()
    assert all(torch.equal(value, kept[name]) for name, value in load_file(encoder_file(resumed.id)).items())


def test_one_that_cannot_begin_is_named_at_once(monkeypatch):
    broken = [sys.executable, "-c", "raise SystemExit(7)"]
    monkeypatch.setattr(beside.subprocess, "Popen", lambda command, popen=subprocess.Popen, **how: popen(broken, **how))
    began = time.monotonic()
    with pytest.raises(TrainingStopped, match="Process 1 of 2 ended with code 7"):
        run(config(2), "cpu")
    assert time.monotonic() - began < 60


def test_nobody_is_left_behind_when_a_run_fails(monkeypatch):
    started = []
    monkeypatch.setattr(
        beside.subprocess, "Popen", lambda *given, popen=subprocess.Popen, **how: started.append(popen(*given, **how)) or started[-1]
    )
    with pytest.raises(UserError, match="validation|images"):
        run(config(2).model_copy(update={"data": config(2).data.model_copy(update={"validation": 64})}), "cpu")
    assert started and all(process.poll() is not None for process in started)


def test_what_cannot_be_shared_is_refused_before_any_work():
    with pytest.raises(UserError, match="batch_size = 33.*processes = 2"):
        config(2, batch_size=33)
    with pytest.raises(UserError, match="BYOL has a process to itself; simclr may share"):
        RunConfig(method={"name": "byol"}, training={"processes": 2})
    with pytest.raises(UserError, match="cores of a CPU"), beside.company(config(2), torch.device("cuda")):
        pass
