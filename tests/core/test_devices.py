"""What a device says of itself, and what its errors mean."""

from types import SimpleNamespace

import pytest
import torch

from helpers.core import devices

OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build  (builder@host)\nGCC version:  gcc 12"
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024"


@pytest.mark.parametrize(("text", "driver"), [(OPEN, "570.124.06"), (CLOSED, "550.54.15"), ("something else", None), (None, None)])
def test_a_card_is_described_with_what_its_results_depend_on(text, driver, tmp_path, monkeypatch):
    place = tmp_path / "version"
    if text is not None:
        place.write_text(text)
    monkeypatch.setattr(devices, "DRIVER", place)
    card = SimpleNamespace(name="NVIDIA H100 80GB HBM3", total_memory=80 * 2**30, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    found = devices.describe(torch.device("cuda"))
    assert found["type"] == "cuda" and found["name"] == card.name and found["memory_gib"] == 80.0
    assert found["capability"] == "9.0" and found["cuda"] == torch.version.cuda and found["driver"] == driver


SPENT = ["CUDA error: out of memory", "CUDA driver error: out of memory", "Triton Error [CUDA]: out of memory"]
SPENT += ["CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"]
LOST = ["CUDA error: unspecified launch failure", "CUDA driver error: an illegal memory access was encountered"]
LOST += ["Triton Error [CUDA]: device-side assert triggered", "CUDA error: uncorrectable ECC error encountered"]


@pytest.mark.parametrize(("text", "spent", "lost"), [*((t, True, False) for t in SPENT), *((t, False, True) for t in LOST)])
def test_memory_that_is_spent_is_not_a_device_that_is_lost(text, spent, lost):
    error = RuntimeError(text)
    assert devices.out_of_memory(error) is spent and devices.device_lost(error) is lost
    assert not devices.device_lost(ValueError(text))


def test_an_error_of_the_program_is_neither():
    error = RuntimeError("Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!")
    assert not devices.out_of_memory(error) and not devices.device_lost(error)


@pytest.mark.parametrize(
    ("maker", "vectors", "unit", "good"),
    [
        ("AuthenticAMD", True, False, True),
        ("AuthenticAMD", False, False, False),
        ("GenuineIntel", True, False, False),
        ("GenuineIntel", True, True, True),
    ],
)
def test_which_cpus_are_good_at_bf16(maker, vectors, unit, good, monkeypatch):
    monkeypatch.setattr(devices, "processor", lambda field="model name": maker)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: vectors)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: unit)
    assert devices.good_at_bf16.__wrapped__("cpu") == good
    assert devices.describe(torch.device("cpu"))["matrix_unit"] == unit
