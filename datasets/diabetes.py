"""Nine measurements of people with diabetes: real data that ship with scikit-learn.

Reference: Efron, Hastie, Johnstone and Tibshirani, Least angle regression, Annals of Statistics 32(2), 2004,
https://doi.org/10.1214/009053604000000067
"""

from __future__ import annotations

import numpy as np

from ebmark.api import dataset
from ebmark.datasets.rows import Table

SEX = 1  # the column with two values only: a binary number has no density


@dataset("diabetes")
class Diabetes(Table):
    """442 people: age, body mass, blood pressure and six serum values, standardised by the training rows.

    The sex and the progression of the disease are left out. Age and three of the serum values are whole
    numbers; no noise is added, so that a model can gain likelihood by seeing the rounding.
    """

    dim = 9

    def _table(self) -> np.ndarray:
        from sklearn.datasets import load_diabetes  # slow to import, and wanted by few data sets

        return np.delete(np.asarray(load_diabetes(scaled=False).data, dtype=np.float64), SEX, axis=1)
