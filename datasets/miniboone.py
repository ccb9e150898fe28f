"""MINIBOONE: the light of neutrinos and of their background in a detector.

Reference: Roe et al., Boosted decision trees as an alternative to artificial neural networks for particle
identification, Nuclear Instruments and Methods A 543, 2005; UCI repository,
https://archive.ics.uci.edu/ml/datasets/MiniBooNE+particle+identification
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ebmark.api import dataset
from ebmark.datasets.published import Parts, Published, cut, standardised


@dataset("miniboone")
class Miniboone(Published):
    """Forty-three features of an event; outliers and columns of repeated values were removed by the authors.

    As published (``datasets.published``): splits of 29,556, 3284 and 3648 rows in the file's order,
    standardised by the first two.

    Attributes:
        folder: that holds ``miniboone/data.npy``; by default the one that EBMARK_DATA names.
        sha256: of the raw file, filled where the study is planned.
    """

    dim = 43
    files = ("miniboone/data.npy",)
    folder: str = ""
    sha256: str = ""

    def _read(self, paths: tuple[Path, ...]) -> Parts:
        return standardised(cut(np.load(paths[0], allow_pickle=False).astype(np.float64)))
