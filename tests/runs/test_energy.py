"""Energy: measured by the device's counter where it has one, else estimated, and always said which."""

import sys
from types import SimpleNamespace

import pytest
import torch

from helpers.runs import energy
from helpers.runs.energy import EnergyMeter, estimated_watts, flat_watts, rated_watts

CPU = torch.device("cpu")


def test_without_a_counter_it_is_estimated_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(energy, "RAPL", tmp_path / "nothing")
    meter = EnergyMeter(CPU)
    wall, busy, counter = meter.began
    meter.began = (wall - 7200, busy - 3600, counter)  # two hours, of which one core was busy for one
    used = meter.used()
    assert used["method"].startswith("estimated: 8 W") and used["watt_hours"] == pytest.approx(8.0, rel=1e-3)


def test_a_lap_is_the_mean_power_since_the_one_before(monkeypatch, tmp_path):
    counter = tmp_path / "energy_uj"
    monkeypatch.setattr(energy, "RAPL", counter)
    counter.write_text("0\n")
    meter = EnergyMeter(CPU)
    for joules, watts in ((100, 10.0), (400, 30.0)):
        wall, busy, read = meter.lapped
        meter.lapped = (wall - 10, busy, read)
        counter.write_text(f"{joules * 1_000_000}\n")
        assert meter.lap() == pytest.approx(watts, rel=1e-2)


def test_a_counter_is_read_in_joules_and_said_to_be_measured(monkeypatch, tmp_path):
    counter = tmp_path / "energy_uj"
    monkeypatch.setattr(energy, "RAPL", counter)
    counter.write_text("1000000\n")
    meter = EnergyMeter(CPU)
    counter.write_text("7201000000\n")
    assert meter.used() == {"watt_hours": pytest.approx(2.0), "method": "measured: CPU package counter"}
    counter.write_text("5\n")  # it began anew meanwhile
    assert meter.used()["method"].startswith("estimated")


def test_a_card_is_asked_by_its_own_name(monkeypatch):
    card, asked = torch.device("cuda"), []
    library = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda name: asked.append(name) or name,
        nvmlDeviceGetTotalEnergyConsumption=lambda handle: 3_600_000 * len(asked),
        nvmlDeviceGetPowerManagementDefaultLimit=lambda handle: 700_000,
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="12-34"))
    assert EnergyMeter(card).used() == {"watt_hours": pytest.approx(1.0), "method": "measured: GPU counter"}
    assert rated_watts(card) == (700.0, "rated: the card's default power limit")
    assert set(asked) == {"GPU-12-34"}


def test_where_no_rating_is_told_the_flat_figure_stands_in(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert rated_watts(torch.device("cuda")) == flat_watts("cuda", 1) == (500.0, "estimated: 500 W a GPU")
    assert rated_watts(CPU) == estimated_watts(CPU) == (8.0 * torch.get_num_threads(), "estimated: 8 W a busy core")
