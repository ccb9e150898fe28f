"""What the real data sets share: fixed splits, made once per process."""

from __future__ import annotations

import hashlib
import math
import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ebmark.api import RealDataset, Rng, Splits
from ebmark.errors import SpecError

HELD_OUT = 0.15
FEWEST = 20  # rows of a table that can be split


def sha256(paths: tuple[Path, ...]) -> str:
    """The SHA-256 of files laid end to end, in hexadecimal: what ``cat FILES | sha256sum`` prints.

    Raises:
        OSError: one cannot be read.
    """
    return _sha256(tuple((path, os.stat(path).st_mtime_ns, os.stat(path).st_size) for path in paths))


@lru_cache(maxsize=64)
def _sha256(files: tuple[tuple[Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for path, _, _ in files:
        with open(path, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def check_hash(name: str, value: str) -> None:
    """Refuses a setting ``sha256`` of the data set ``name`` that is no hash.

    Raises:
        SpecError: it is none.
    """
    if value and (len(value) != 64 or not set(value) <= set("0123456789abcdef")):
        raise SpecError(f"{name}.sha256: {value!r} given; allowed: 64 hexadecimal digits, or nothing")


@lru_cache(maxsize=4)
def _splits(target: Rows, content: str) -> Splits:
    parts = target._parts()
    train, val, test = (torch.from_numpy(np.ascontiguousarray(part, dtype=np.float32)) for part in parts)
    return Splits(train=train, val=val, test=test)


class Rows(RealDataset):
    """Rows of numbers in three fixed parts, in float32 on the CPU. Subclasses are registered."""

    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Training, validation and test rows ``(n, d)`` as they are learned."""
        raise NotImplementedError(f"{type(self).__name__} has no rows")

    def _content(self) -> str:
        """Changes when the rows do."""
        return ""

    def splits(self) -> Splits:
        """Train, validation and test rows ``(n, d)``."""
        return _splits(self, self._content())

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` training rows ``(n, d)`` drawn with replacement."""
        train = self.splits().train
        return train[rng.integers(len(train), (n,)).cpu()].to(rng.device, rng.dtype)


class Table(Rows):
    """A table that is shuffled once, split 70/15/15 and standardised by its training rows."""

    def _table(self) -> np.ndarray:
        """The rows ``(n, d)`` in float64, in their own units and order."""
        raise NotImplementedError(f"{type(self).__name__} has no table")

    def _shares(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The three parts in the table's own units; their order is the same for every seed."""
        table = self._table()
        table = table[Rng.of(self.name, "order").permutation(len(table)).numpy()]
        held_out = round(HELD_OUT * len(table))
        train, val, test = np.split(table, [len(table) - 2 * held_out, len(table) - held_out])
        if len(flat := np.flatnonzero((train == train[0]).all(0))):
            raise SpecError(f"{self.name}: column {flat[0] + 1}: constant in the training rows; remove it")
        return train, val, test

    def scale(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation ``(d,)`` of the training rows in the table's own units, in float64."""
        train = self._shares()[0]
        return torch.from_numpy(train.mean(0)), torch.from_numpy(train.std(0))

    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        train, val, test = self._shares()
        mean, sd = train.mean(0), train.std(0)
        return (train - mean) / sd, (val - mean) / sd, (test - mean) / sd

    def log_det(self, x: Tensor) -> Tensor:
        """What the scale adds in nats at ``x (..., d)``: log p(y) = log p(x) + log |det dx/dy|.

        y are the table's own units.
        """
        return x.new_full(x.shape[:-1], -math.fsum(self.scale()[1].log().tolist()))
