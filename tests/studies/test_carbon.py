"""Carbon: the sums by hand, regions by codecarbon's own class, and the paper's total beside what its figures make."""

import math
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.core.errors import UserError
from helpers.studies.lightweight_architectures import carbon as module
from helpers.studies.lightweight_architectures.carbon import carbon, papers_accounting, published, tdp_accounting

ROOT = Path(__file__).resolve().parents[2]


def test_a_given_intensity_by_hand():
    assert carbon(1500.0, intensity=0.2) == {"kg": pytest.approx(0.3), "intensity_kg_per_kwh": 0.2, "source": "given"}


def test_the_default_is_the_papers_and_says_so():
    found = carbon(1000.0)
    assert found["kg"] == pytest.approx(0.42) and "paper" in found["source"] and "asia-southeast1" in found["source"]


@pytest.mark.parametrize("region", ["SGP", "FRA", "SWE"])
def test_a_regions_intensity_is_codecarbons(region):
    pytest.importorskip("codecarbon")
    from codecarbon.core.emissions import Emissions
    from codecarbon.core.units import Energy
    from codecarbon.external.geography import GeoMetadata
    from codecarbon.input import DataSource

    theirs = Emissions(DataSource()).get_country_emissions(Energy.from_energy(2.0), GeoMetadata(country_iso_code=region))
    ours = carbon(2000.0, region=region)
    assert ours["kg"] == pytest.approx(theirs) and ours["source"].startswith("codecarbon 3")


@pytest.mark.parametrize(("region", "says"), [("SGPP", "'SGP'"), ("sgp", "'SGP'"), ("Singapore", "'SGP'"), ("france", "'FRA'")])
def test_an_unknown_region_names_what_was_meant(region, says):
    pytest.importorskip("codecarbon")
    with pytest.raises(UserError, match=says) as error:
        carbon(1.0, region=region)
    assert repr(region) in str(error.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"intensity": 420.0}, "Then give 0.42"),
        ({"intensity": -0.1}, "from 0 to 2"),
        ({"intensity": math.nan}, "from 0 to 2"),
        ({"intensity": 0.4, "region": "FRA"}, "either"),
    ],
)
def test_an_intensity_that_cannot_be_is_refused(given, says):
    with pytest.raises(UserError, match=says):
        carbon(1.0, **given)


def test_without_codecarbon_a_region_is_an_error_and_an_intensity_is_not(monkeypatch):
    module._of_region.cache_clear()
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    with pytest.raises(UserError, match="pip install codecarbon"):
        carbon(1.0, region="FRA")
    assert carbon(1000.0, intensity=0.5)["kg"] == 0.5


def test_rated_power_by_hand():
    assert tdp_accounting(250, 250, 0.42) == pytest.approx(26.25)
    assert tdp_accounting(2, 700, 0.1) == pytest.approx(0.14)


def test_the_papers_figures_do_not_make_its_total_and_the_table_says_by_how_much():
    table = papers_accounting().set_index("reading")
    rated, averages = table.iloc[0], table.iloc[1]
    assert (rated["kg"], rated["difference kg"], rated["difference %"]) == (26.25, -8.75, -25.0)
    assert (averages["kg"], averages["difference kg"], averages["difference %"]) == (53.75, 18.75, 53.57)
    assert rated["arithmetic"] == "250 h x 250 W / 1000 x 0.42 kg/kWh"
    assert averages["arithmetic"] == "(1.9 + 1.8 + 3.22 + 1.84 + 1.99) kg x 5"
    assert set(table["stated kg"]) == {published()["stated_kg"]} == {35.0}


def test_neither_runs_nor_tables_import_codecarbon_unasked():
    probe = "import helpers.runs.run, helpers.runs.cost, helpers.studies.lightweight_architectures.carbon as c, sys; c.carbon(1.0); print('codecarbon' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True).stdout == "False\n"
