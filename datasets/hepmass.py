"""HEPMASS: simulated collisions of particles, those in which a new particle of mass 1000 is made.

Reference: Baldi, Cranmer, Faucett, Sadowski and Whiteson, Parameterized neural networks for high-energy
physics, European Physical Journal C 76, 2016; UCI repository,
https://archive.ics.uci.edu/ml/datasets/HEPMASS
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ebmark.api import dataset
from ebmark.datasets.published import SHARE, Parts, Published, distinct


@dataset("hepmass")
class Hepmass(Published):
    """Twenty-one features of the collisions with label 1.

    As published (``datasets.published``): standardised by all training rows, columns dropped whose smallest
    value repeats, splits of 315,123, 35,013 and 174,987 rows; the test rows are a file of their own.

    Attributes:
        folder: that holds ``hepmass/1000_train.csv``; by default the one that EBMARK_DATA names.
        sha256: of the two raw files end to end, filled where the study is planned.
    """

    dim = 21
    files = ("hepmass/1000_train.csv", "hepmass/1000_test.csv")
    folder: str = ""
    sha256: str = ""

    def _read(self, paths: tuple[Path, ...]) -> Parts:
        train, test = (_signal(path) for path in paths)
        test = test[:, :-1]  # the mass, which the training file does not have
        mean, sd = train.mean(0), train.std(0, ddof=1)
        kept = distinct(train)
        train, test = (((rows - mean) / sd)[:, kept] for rows in (train, test))
        at = len(train) - int(SHARE * len(train))
        return train[:at], train[at:], test


def _signal(path: Path) -> np.ndarray:
    """The rows whose first column, the label, is 1, without it."""
    rows = pd.read_csv(path, index_col=False).to_numpy(dtype=np.float64)
    signal: np.ndarray = rows[rows[:, 0] == 1, 1:]
    return signal
