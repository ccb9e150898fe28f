"""Thirteen measurements of wines from three cultivars: real data that ship with scikit-learn.

Reference: Aeberhard and Forina, Wine, UCI repository, 1991, https://doi.org/10.24432/C5PC7J
"""

from __future__ import annotations

import numpy as np

from ebmark.api import dataset
from ebmark.datasets.rows import Table


@dataset("wine")
class Wine(Table):
    """178 wines of 13 measurements, standardised by the training rows; the cultivar is left out.

    Proline and magnesium are whole numbers, the others have two or three digits; no noise is added.
    """

    dim = 13

    def _table(self) -> np.ndarray:
        from sklearn.datasets import load_wine  # slow to import, and wanted by few data sets

        return np.asarray(load_wine().data, dtype=np.float64)
