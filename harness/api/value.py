"""One measured number with its error."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Value:
    """One measured number. An interval ``lo, hi`` where the standard error is not the whole story."""

    value: float
    se: float = math.nan
    lo: float = math.nan
    hi: float = math.nan
    source: str = ""
    trusted: bool = True
    reasons: str = ""
    floor_mean: float = math.nan
    floor_sd: float = math.nan


def mean_value(x: Tensor) -> Value:
    """The mean of independent numbers ``(n,)`` with its standard error."""
    return Value(value=x.mean().item(), se=x.std().item() / math.sqrt(len(x)))
