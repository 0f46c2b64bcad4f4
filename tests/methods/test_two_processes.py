"""Two processes with N samples each give the loss and the gradients of one process with 2N."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("two_processes.py")
CASES = runpy.run_path(str(SCRIPT))["CASES"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("group")
    jobs = [(0, 1, folder / "alone.pt"), (0, 2, folder / "first.pt"), (1, 2, folder / "second.pt")]
    running = [
        subprocess.Popen([sys.executable, SCRIPT, str(rank), str(world), folder / "store", out], stderr=subprocess.PIPE, text=True)
        for rank, world, out in jobs
    ]
    for process in running:
        _, problem = process.communicate(timeout=120)
        assert process.returncode == 0, problem
    return [torch.load(out, weights_only=True) for _, _, out in jobs]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one(results, name):
    (loss, gradients), *halves = (result[name] for result in results)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)
    for half, _ in halves:
        assert half.item() == pytest.approx(loss.item(), rel=1e-5)
    for number, gradient in enumerate(gradients):
        both = torch.cat([half[1][number] for half in halves])
        assert torch.allclose(both, gradient, atol=1e-6), f"gradient of input {number}"
