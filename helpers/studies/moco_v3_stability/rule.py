"""How far the rule for dips can see, tried on curves that are known."""

import numpy as np
import pandas as pd

from helpers.judging.dips import dips, noise
from helpers.studies.moco_v3_stability.settings import Settings

PLANTED = (0, 3, 5, 7, 10, 15)  # noises
CURVES = 200  # of each


def dip_rule_table(s: Settings) -> pd.DataFrame:
    """How deep a dip must be for the rule to see it: rising curves of as many readings as the study's, each with one dip planted, of one
    reading or of three. A noise is what chance makes of the images that a reading is taken on. It rests on no runs, so it is the table
    alone."""
    readings, images = s.vit.epochs, s.vit.read or s.test_images or 10_000
    rng, rows = np.random.default_rng(0), []
    rise = 60 - 30 * np.exp(-4 * np.arange(readings) / readings)  # percent
    size = noise(np.full(readings, np.median(rise)), images)
    for depth in PLANTED:
        row = {"depth (noises)": depth, "depth (points)": depth * size, "readings": readings, "curves": CURVES}
        for words, length in (("one reading", 1), ("three readings", 3)):
            curves = rise + size * rng.standard_normal((CURVES, readings))
            for curve, first in zip(curves, rng.integers(readings // 3, readings - length, CURVES), strict=True):
                curve[first : first + length] -= depth * size
            row[f"flagged, {words} (%)"] = 100 * float(np.mean([bool(dips(curve, images)) for curve in curves]))
        rows.append(row)
    return pd.DataFrame(rows)
