"""POWER: the electricity that a household drew, minute by minute over four years.

Reference: Hebrail and Berard, Individual household electric power consumption, UCI repository, 2012,
https://archive.ics.uci.edu/ml/datasets/Individual+household+electric+power+consumption
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ebmark.api import dataset
from ebmark.datasets.published import SEED, Parts, Published, cut, standardised


@dataset("power")
class Power(Published):
    """Power, voltage, three meters and the time of day, with the published noise of a unit of measurement.

    As published (``datasets.published``): rows shuffled, reactive power and current dropped, uniform noise
    of 0.001 on power, 0.01 on voltage and 1 on the meters, splits of 1,659,917, 184,435 and 204,928 rows,
    standardised by the first two.

    Attributes:
        folder: that holds ``power/data.npy``; by default the one that EBMARK_DATA names.
        sha256: of the raw file, filled where the study is planned.
    """

    dim = 6
    files = ("power/data.npy",)
    folder: str = ""
    sha256: str = ""

    def _read(self, paths: tuple[Path, ...]) -> Parts:
        rng = np.random.RandomState(SEED)
        rows = np.load(paths[0], allow_pickle=False)
        rng.shuffle(rows)
        rows = np.delete(rows, (1, 3), axis=1)
        n = len(rows)
        voltage = 0.01 * rng.rand(n, 1)
        power = 0.001 * rng.rand(n, 1)
        meters = rng.rand(n, 3)
        return standardised(cut(rows + np.hstack([power, voltage, meters, np.zeros((n, 1))])))
