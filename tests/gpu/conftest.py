"""Every comparison here runs twice: CPU with CPU, so that the tests themselves are tried anywhere, and CPU with CUDA (marked gpu)."""

import os

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts; without it matrix products may differ from run to run

import pytest
import torch

CUDA = pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")])


@pytest.fixture(params=["cpu", CUDA])
def device(request):
    return torch.device(request.param)


@pytest.fixture(autouse=True)
def full_float32():
    """fp32 means fp32: with TF32, which torch uses for convolutions unasked, CPU and CUDA agree to three digits only."""
    switches = (torch.backends.cudnn, torch.backends.cuda.matmul)
    before = [switch.allow_tf32 for switch in switches]
    for switch in switches:
        switch.allow_tf32 = False
    yield
    for switch, value in zip(switches, before, strict=True):
        switch.allow_tf32 = value


@pytest.fixture
def no_waiting(device):
    """An error for anything that waits for the device while the fixture's context is open."""

    class Watch:
        def __enter__(self):
            if device.type == "cuda":
                torch.cuda.set_sync_debug_mode("error")

        def __exit__(self, *error):
            if device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")

    return Watch()


@pytest.fixture
def same_every_time(device):
    """Deterministic kernels where there are any; what has none warns and names itself."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)
