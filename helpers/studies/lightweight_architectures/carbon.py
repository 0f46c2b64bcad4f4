"""From energy to carbon, for a region or a given intensity; and the paper's own sums, redone beside the total that it states."""

import functools
import math

import pandas as pd

from helpers import studies
from helpers.core.errors import UserError, unknown

DIRTIEST = 2.0  # kg a kWh; no grid comes near, so a larger figure is in grams


def published() -> dict:
    """What the paper on light architectures says of its carbon; see published.toml."""
    return studies.published("lightweight_architectures")["co2"]


def carbon(watt_hours: float, *, region: str | None = None, intensity: float | None = None) -> dict:
    """kg of CO2 equivalents of that energy, with the intensity (kg a kWh) and its source.

    region: a country by its ISO code of three letters, by codecarbon's packaged yearly averages; nothing is asked of the network.
    Neither region nor intensity: the paper's own figure, so that ours stands beside its.
    """
    if region is not None and intensity is not None:
        raise UserError(f"Give either region = {region!r} or intensity = {intensity!r}: a region is looked up for its intensity.")
    if intensity is not None:
        source = "given"
        if not math.isfinite(intensity) or not 0 <= intensity <= DIRTIEST:
            hint = f" In grams? Then give {intensity / 1000:g}." if DIRTIEST < intensity < math.inf else ""
            raise UserError(f"intensity = {intensity!r} must be kg of CO2 equivalents a kWh, from 0 to {DIRTIEST:g}.{hint}")
    elif region is not None:
        intensity, source = _of_region(region)
    else:
        paper = published()
        intensity, source = paper["kg_per_kwh"], f"the paper's, {paper['region']}"
    return {"kg": watt_hours / 1000 * intensity, "intensity_kg_per_kwh": intensity, "source": source}


@functools.cache
def _of_region(region: str) -> tuple[float, str]:
    try:
        from codecarbon import __version__  # half a second and many libraries, for this question alone
        from codecarbon.input import DataSource
    except ImportError as error:
        raise UserError("Intensities of regions come with codecarbon: pip install codecarbon, or give intensity in kg a kWh.") from error
    mixes = DataSource().get_global_energy_mix_data()
    if region not in mixes:
        by_name = {mix["country_name"].lower(): code for code, mix in mixes.items()}
        if code := by_name.get(str(region).lower(), str(region).upper() if str(region).upper() in mixes else None):
            raise UserError(f"Unknown region {region!r}. Give the country's ISO code: {code!r}.")
        raise unknown("region (ISO code of a country)", region, mixes)
    mix = mixes[region]
    return mix["carbon_intensity"] / 1000, f"codecarbon {__version__}: {mix['country_name']}, {mix['year']}"


def tdp_accounting(hours: float, watts: float, intensity: float) -> float:
    """kg by the paper's way: as if the chip drew its rated power all the time, and nothing else drew any."""
    return hours * watts / 1000 * intensity


def papers_accounting() -> pd.DataFrame:
    """The paper's total by each of its own figures, the sum spelt out, and how far that is from the total it states."""
    paper = published()
    hours, watts, intensity, row = paper["hours"], paper["tdp_watts"], paper["kg_per_kwh"], paper["per_architecture"]
    techniques = len(paper["techniques"])
    readings = {
        "hours x rated power x intensity": (
            f"{hours:g} h x {watts:g} W / 1000 x {intensity:g} kg/kWh",
            tdp_accounting(hours, watts, intensity),
        ),
        "table's average a net x techniques": (
            f"({' + '.join(f'{kg:g}' for kg in row.values())}) kg x {techniques}",
            sum(row.values()) * techniques,
        ),
    }
    stated = paper["stated_kg"]
    rows = [
        {
            "reading": reading,
            "arithmetic": arithmetic,
            "kg": kg,
            "stated kg": stated,
            "difference kg": kg - stated,
            "difference %": 100 * (kg - stated) / stated,
        }
        for reading, (arithmetic, kg) in readings.items()
    ]
    return pd.DataFrame(rows).round({"kg": 4, "difference kg": 4, "difference %": 2})
