"""What the data sets share that are read from a folder, in the form and with the splits of their publication.

The files and their preprocessing are those of the code of a paper, https://github.com/gpapamak/maf, so that
likelihoods compare with the many that are published.

Reference: Papamakarios, Pavlakou and Murray, Masked autoregressive flow for density estimation, NeurIPS 2017,
https://arxiv.org/abs/1705.07057
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from ebmark.datasets.rows import Rows, check_hash, sha256
from ebmark.errors import SpecError

ARCHIVE = "and unpack data.tar.gz from https://zenodo.org/records/1161203"
SHARE = 0.1  # of the rows that is tested on, and of the rest that is held out for validation
SEED = 42  # of the shuffle and the noise, by numpy's legacy generator

Parts = tuple[np.ndarray, np.ndarray, np.ndarray]


class Published(Rows):
    """Files below a folder: the setting ``folder``, or else the environment variable ``EBMARK_DATA``.

    Class attributes:
        files: below the folder.
        source: what to do, after the word download.
    """

    files: ClassVar[tuple[str, ...]]
    source: ClassVar[str] = ARCHIVE
    folder: str
    sha256: str

    def __post_init__(self) -> None:
        check_hash(self.name, self.sha256)

    def _read(self, paths: tuple[Path, ...]) -> Parts:
        """Training, validation and test rows, preprocessed."""
        raise NotImplementedError(f"{type(self).__name__} reads nothing")

    def content(self) -> Mapping[str, str]:
        """The hash of the raw files, laid end to end."""
        return {"sha256": self._content()}

    def _paths(self) -> tuple[Path, ...]:
        folder = self.folder or os.environ.get("EBMARK_DATA", "")
        paths = tuple(Path(folder, file) for file in self.files)
        missing = ", ".join(str(path) for path in paths if not (folder and path.is_file()))
        if missing:
            where = (
                f"EBMARK_DATA or {self.name}.folder to the folder that holds {Path(self.files[0]).parent}/"
            )
            raise SpecError(
                f"{self.name}.folder: {missing}: not found; download {self.source}, then set {where}"
            )
        return paths

    def _content(self) -> str:
        paths = self._paths()
        try:
            found = sha256(paths)
        except OSError as error:
            raise SpecError(f"{self.name}.folder: {paths[0]}: cannot be read: {error.strerror}") from error
        if self.sha256 not in ("", found):
            was = f"{self.sha256[:12]} when planned, here {found[:12]}"
            raise SpecError(f"{self.name}.sha256: {paths[0]} differs: {was}")
        return found

    def _parts(self) -> Parts:
        paths = self._paths()
        try:
            parts = self._read(paths)
        except SpecError:
            raise
        except Exception as error:  # a damaged file can break a reader in any way
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise SpecError(f"{self.name}.folder: {paths[0]}: cannot be read: {text}") from error
        for part in parts:
            if part.ndim != 2 or part.shape[1] != self.dim or not len(part):
                expected = f"the published data have {self.dim} columns"
                raise SpecError(f"{self.name}.folder: {paths[0]}: {part.shape} left; {expected}")
        return parts


def cut(rows: np.ndarray) -> Parts:
    """The last tenth of the rows as the test set, the last tenth of the others for validation."""
    rest, test = _last_tenth(rows)
    train, val = _last_tenth(rest)
    return train, val, test


def _last_tenth(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    at = len(rows) - int(SHARE * len(rows))
    return rows[:at], rows[at:]


def standardised(parts: Parts) -> Parts:
    """In units of the mean and standard deviation of the training and validation rows together."""
    seen = np.vstack(parts[:2])
    mean, sd = seen.mean(0), seen.std(0)
    train, val, test = ((part - mean) / sd for part in parts)
    return train, val, test


def distinct(rows: np.ndarray) -> np.ndarray:
    """Which columns ``(d,)`` the publication keeps: those whose smallest value occurs at most five times."""
    return np.array([np.unique(column, return_counts=True)[1][0] <= 5 for column in rows.T])
