"""One's own numbers, without code: a table in a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from ebmark.api import dataset
from ebmark.datasets.rows import FEWEST, Table, check_hash, sha256
from ebmark.errors import SpecError

SUFFIXES = (".npy", ".npz", ".csv", ".parquet")


@dataset("file")
class File(Table):
    """The numeric columns of a .npy, .npz, .csv or .parquet, shuffled once and split 70/15/15.

    Every column is standardised by the training rows: ``scale`` has the numbers, and ``log_det`` what they
    add to a log-density in the file's own units. Nothing is dequantised: where values repeat, a model can
    gain likelihood by seeing the rounding. A trial's id covers the content's hash and not the path.

    Attributes:
        path: of the file. A .npz holds one array; the first line of a .csv is its header, unless all numbers.
        sha256: of the file, filled where the study is planned; a file that has changed since is refused.
    """

    path: str
    sha256: str = ""

    def __post_init__(self) -> None:
        if not self.path.lower().endswith(SUFFIXES):
            raise SpecError(f"file.path: {self.path!r} given; allowed: a path to a {', '.join(SUFFIXES)}")
        check_hash("file", self.sha256)

    @property
    def dim(self) -> int:  # type: ignore[override]  # the file decides
        """The number of columns."""
        return int(self._table().shape[1])

    def content(self) -> Mapping[str, str]:
        """The file's hash; reads and checks the table."""
        self._shares()
        return {"sha256": self._content()}

    def _content(self) -> str:
        try:
            found = sha256((Path(self.path),))
        except OSError as error:
            raise SpecError(f"file.path: {self.path}: cannot be read: {error.strerror}") from error
        if self.sha256 not in ("", found):
            was = f"{self.sha256[:12]} when planned, now {found[:12]}"
            raise SpecError(f"file.sha256: {self.path} has changed: {was}")
        return found

    def _table(self) -> np.ndarray:
        return _table(self.path, self._content())


@lru_cache(maxsize=4)
def _table(path: str, content: str) -> np.ndarray:
    """The rows ``(n, d)`` of a file with that content, checked."""
    try:
        frame = _read(path)
    except SpecError:
        raise
    except (OSError, ValueError, EOFError, BadZipFile, pd.errors.ParserError) as error:
        raise SpecError(f"file.path: {path}: cannot be read: {' '.join(str(error).split())}") from error
    if len(frame) < FEWEST or not frame.shape[1]:
        size = f"{len(frame)} rows, {frame.shape[1]} columns"
        raise SpecError(f"file.path: {path}: {size}; allowed: {FEWEST} rows or more, 1 column or more")
    for name, column in frame.items():
        if fault := _fault(column):
            raise SpecError(f"file.path: {path}: column {name!r}: {fault}")
    return frame.to_numpy(dtype=np.float64)


def _read(path: str) -> pd.DataFrame:
    suffix = Path(path).suffix.lower()
    if suffix == ".parquet":
        return pd.read_parquet(path)
    if suffix == ".csv":
        first = pd.read_csv(path, header=None, nrows=1, skipinitialspace=True)
        named = not all(pd.api.types.is_numeric_dtype(first[i]) for i in first)
        return pd.read_csv(path, header=0 if named else None, skipinitialspace=True, low_memory=False)
    loaded = _one_array(path) if suffix == ".npz" else np.load(path, allow_pickle=False)
    if loaded.ndim not in (1, 2):
        raise SpecError(f"file.path: {path}: an array {loaded.shape}; allowed: (rows, columns)")
    return pd.DataFrame(loaded if loaded.ndim == 2 or loaded.dtype.names else loaded[:, None])


def _one_array(path: str) -> np.ndarray:
    with np.load(path, allow_pickle=False) as archive:
        if len(archive.files) != 1:
            names = ", ".join(archive.files) or "none"
            raise SpecError(f"file.path: {path}: arrays {names}; allowed: one array")
        array: np.ndarray = archive[archive.files[0]]
    return array


def _fault(column: pd.Series) -> str:
    """Why a column cannot be learned, and what to do; "" where it can."""
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_complex_dtype(column):
        return f"not numeric, {str(column.iloc[0])!r:.40} in row 1; remove it or encode it as numbers"
    values = column.to_numpy(dtype=np.float64, na_value=math.nan)
    if len(bad := np.flatnonzero(~np.isfinite(values))):
        return f"{values[bad[0]]} in row {bad[0] + 1}, {len(bad)} in all; allowed: finite numbers"
    if (values == values[0]).all():
        return f"constant, {values[0]:g} in every row; remove it"
    return ""
