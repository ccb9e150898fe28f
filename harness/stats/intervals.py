"""Centres over a few seeds with their intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

ALPHA = 0.05
MIN_SEEDS = 3  # below: no interval, no ranking
MIN_PAIRS = 6  # below: the smallest two-sided p of a signed-rank test exceeds 0.05 (0.0625 at 5)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A centre and the ends of its interval ``(...)``; NaN ends where there are too few values."""

    centre: Array
    lo: Array
    hi: Array


def half_width(sd: Array, n: Array, alpha: float = ALPHA) -> Array:
    """Half the length ``(...)`` of Student's t interval from standard deviations and counts ``(...)``."""
    n = np.asarray(n, dtype=float)
    with np.errstate(invalid="ignore", divide="ignore"):
        quantile = stats.t.ppf(1 - alpha / 2, np.where(n > 1, n - 1, np.nan))
        return np.asarray(quantile * sd / np.sqrt(n), dtype=float)


def t_interval(x: Array, *, log: bool = False, alpha: float = ALPHA) -> Interval:
    """Mean of x ``(..., n)`` with Student's t interval ``(...)``, NaN left out.

    Meant for the 3 to 10 seeds of a study, where a bootstrap interval covers far less than it says.

    Args:
        x: the values.
        log: work on the logarithm (times, passes, Fisher divergences); the centre is the geometric mean.
        alpha: one minus the coverage on normal (with ``log``: log-normal) data.

    Raises:
        ValueError: ``log`` and a value is not positive.
    """
    x = np.asarray(x, dtype=float)
    if log and (x <= 0).any():
        raise ValueError(f"t_interval: a value of {np.nanmin(x)} on the log scale; allowed: above 0")
    y = np.log(x) if log else x
    n = (~np.isnan(y)).sum(-1).astype(float)
    back = np.exp if log else np.asarray
    # an end beyond the largest number is infinite, one of an infinite mean unknown
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean = np.nansum(y, -1) / n
        sd = np.sqrt(np.nansum((y - mean[..., None]) ** 2, -1) / (n - 1))
        half = half_width(sd, n, alpha)
        return Interval(centre=back(mean), lo=back(mean - half), hi=back(mean + half))


def iqm(x: Array) -> Array:
    """Interquartile mean ``(...)`` of x ``(..., n)``: the mean of the middle half.

    A failed run enters as +inf: the result is infinite once more than a quarter of the runs failed.

    Reference: Agarwal et al., Deep RL at the edge of the statistical precipice, NeurIPS 2021.
    """
    return np.asarray(stats.trim_mean(np.asarray(x, dtype=float), 0.25, axis=-1))
