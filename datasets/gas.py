"""GAS: sixteen chemical sensors in mixtures of ethylene and carbon monoxide.

Reference: Fonollosa et al., Reservoir computing compensates slow response of chemosensor arrays, Sensors and
Actuators B 215, 2015; UCI repository,
https://archive.ics.uci.edu/ml/datasets/Gas+sensor+array+under+dynamic+gas+mixtures
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from ebmark.api import dataset
from ebmark.datasets.published import Parts, Published, cut
from ebmark.errors import SpecError

SAME = 0.98  # correlation above which one of two sensors is dropped


@dataset("gas")
class Gas(Published):
    """Eight sensors: those left when the first of any that correlate above 0.98 is dropped, one by one.

    As published (``datasets.published``): concentrations and time dropped, rows in the order of time,
    standardised by all rows, splits of 852,174, 94,685 and 105,206. The file is a pickle: reading it runs
    what is in it, so take it from the address below only. A study cannot name one: it is read only where
    EBMARK_DATA, which is the user's, leads to it.

    Attributes:
        folder: that holds ``gas/ethylene_CO.pickle``; by default the one that EBMARK_DATA names.
        sha256: of the raw file, filled where the study is planned.
    """

    dim = 8
    files = ("gas/ethylene_CO.pickle",)
    folder: str = ""
    sha256: str = ""

    def _read(self, paths: tuple[Path, ...]) -> Parts:
        ours = os.environ.get("EBMARK_DATA", "")
        if not ours or Path(ours).resolve() not in paths[0].resolve().parents:
            raise SpecError(
                f"gas.folder: {paths[0]}: a pickle, and reading it runs what is in it; allowed: below the "
                f"folder that EBMARK_DATA names; next, if you trust it: "
                f"export EBMARK_DATA={paths[0].parents[1]}"
            )
        frame: pd.DataFrame = pd.read_pickle(paths[0]).drop(columns=["Meth", "Eth", "Time"])
        rows = frame.to_numpy(dtype=np.float64)
        same = np.corrcoef(rows, rowvar=False) > SAME
        kept = np.arange(rows.shape[1])
        while len(doubled := np.flatnonzero(same[np.ix_(kept, kept)].sum(1) > 1)):
            kept = np.delete(kept, doubled[0])
        rows = rows[:, kept]
        return cut((rows - rows.mean(0)) / rows.std(0, ddof=1))
