"""Runs side by side: R trainings in one program, each with its own parameters and settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor


def beside(t: Tensor, own: int, x: Tensor) -> Tensor:
    """``t (*lead, *own)`` as it broadcasts with ``x (*lead, ..., *own)``; ``own``: t's dimensions per run.

    Parameters and buffers of R runs side by side have one leading dimension R, those of a single run none.
    """
    lead = t.dim() - own
    return t.reshape(*t.shape[:lead], *[1] * (x.dim() - t.dim()), *t.shape[lead:]) if lead else t


@dataclass(frozen=True)
class Each:
    """A setting that differs between R runs side by side: it stands in arithmetic where a number would.

    With a number it gives an ``Each``; with a tensor ``(R, ...)`` a tensor, where every run meets its own
    number.
    """

    values: tuple[float, ...]

    def _with(self, other: Any, operation: Callable[[Any, Any], Any]) -> Any:
        if isinstance(other, Tensor):
            return operation(beside(other.new_tensor(self.values), 0, other), other)
        others = other.values if isinstance(other, Each) else len(self.values) * (other,)
        return Each(tuple(map(operation, self.values, others)))

    def __add__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a + b)

    def __sub__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a * b)

    def __truediv__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a / b)

    def __rtruediv__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: b / a)

    def __pow__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a**b)

    __radd__ = __add__
    __rmul__ = __mul__


def pick(settings: Sequence[float], index: Tensor, like: Tensor) -> Tensor:
    """Of several settings, an Each by run, those numbered ``index (..., n)``, in the dtype of ``like``."""
    runs = next((len(s.values) for s in settings if isinstance(s, Each)), None)
    rows = [s.values if isinstance(s, Each) else (s,) * (runs or 1) for s in settings]
    table = like.new_tensor(rows).T  # (R, settings), R = 1 where the runs share them
    return table.expand(*index.shape[:-1], -1).gather(-1, index) if index.dim() > 1 else table[0][index]
