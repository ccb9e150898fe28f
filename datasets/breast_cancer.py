"""Thirty measurements of the cell nuclei in breast masses: real data that ship with scikit-learn.

Reference: Wolberg, Mangasarian, Street and Street, Breast cancer Wisconsin (diagnostic), UCI repository,
1995, https://doi.org/10.24432/C5DW2B
"""

from __future__ import annotations

import numpy as np

from ebmark.api import dataset
from ebmark.datasets.rows import Table


@dataset("breast_cancer")
class BreastCancer(Table):
    """569 images of 30 measurements, standardised by the training rows; the diagnosis is left out.

    Radius, perimeter and area are nearly functions of each other: the correlation matrix of the training rows
    has a condition number above 10⁵.
    """

    dim = 30

    def _table(self) -> np.ndarray:
        from sklearn.datasets import load_breast_cancer  # slow to import, and wanted by few data sets

        return np.asarray(load_breast_cancer().data, dtype=np.float64)
