"""BSDS300: patches of 8 x 8 pixels from natural images.

Reference: Martin, Fowlkes, Tal and Malik, A database of human segmented natural images, ICCV 2001; Zoran and
Weiss, From learning models of natural image patches to whole image restoration, ICCV 2011, for the patches.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ebmark.api import dataset
from ebmark.datasets.published import Parts, Published
from ebmark.errors import SpecError


@dataset("bsds300")
class Bsds300(Published):
    """A patch's 64 grey values with noise of a level, less their mean, without the last, which is redundant.

    The file holds them ready, split into 1,000,000, 50,000 and 250,000 rows (``datasets.published``).

    Attributes:
        folder: that holds ``BSDS300/BSDS300.hdf5``; by default the one that EBMARK_DATA names.
        sha256: of the raw file, filled where the study is planned.
    """

    dim = 63
    files = ("BSDS300/BSDS300.hdf5",)
    folder: str = ""
    sha256: str = ""

    def _read(self, paths: tuple[Path, ...]) -> Parts:
        try:
            import h5py
        except ImportError as error:
            raise SpecError("bsds300: reading .hdf5 needs h5py; pip install ebmark[hdf5]") from error
        with h5py.File(paths[0], "r") as file:
            train, val, test = (np.asarray(file[name]) for name in ("train", "validation", "test"))
        return train, val, test
