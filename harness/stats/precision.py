"""How many seeds an interval of a wanted width needs."""

from __future__ import annotations

import numpy as np

from ebmark.stats.intervals import ALPHA, MIN_SEEDS, Array, half_width, t_interval

ROUNDS = 4  # looks at the data in a run that adds seeds until it is precise
MOST = 10_000  # seeds; what needs more is infinite


def relative_precision(x: Array, *, log: bool = False, rounds: int = 1) -> Array:
    """Half the length ``(...)`` of the t interval of x ``(..., n)`` over the mean; NaN is left out.

    With ``log`` the factor from the geometric mean to the upper end, minus 1. For a comparison of A with B
    give the ratios a / b with ``log``, or the differences.

    Args:
        x: the values.
        log: see above.
        rounds: how many looks share the 5 %: after stopping at any of them the interval still holds 95 %.
    """
    found = t_interval(x, log=log, alpha=ALPHA / rounds)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(
            found.hi / found.centre - 1 if log else (found.hi - found.centre) / np.abs(found.centre)
        )


def seeds_needed(x: Array, precision: float, *, log: bool = False, rounds: int = 1) -> Array:
    """Seeds in all ``(...)`` for which x ``(..., n)`` would have the relative precision, its spread as it is.

    At least 3, and at least those there are; infinite above 10,000; NaN where fewer than two values give no
    spread. The spread is itself known from n values only: a run asks again after each round (``rounds``).

    Raises:
        ValueError: precision is not positive, or ``log`` and a value is not.
    """
    if precision <= 0:
        raise ValueError(f"seeds_needed: precision {precision:g} given; allowed: above 0")
    x = np.asarray(x, dtype=float)
    now = t_interval(x, log=log)
    n = (~np.isnan(x)).sum(-1)
    y = np.log(x) if log else x
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(y, -1) / n
        sd = np.sqrt(np.nansum((y - mean[..., None]) ** 2, -1) / (n - 1))
        wanted = np.log1p(precision) / sd if log else precision * np.abs(now.centre) / sd
    counts = np.arange(2.0, MOST + 1)
    widths = half_width(np.ones(len(counts)), counts, ALPHA / rounds)  # falls with the count
    index = np.searchsorted(-widths, -np.nan_to_num(wanted, nan=np.inf))
    needed = np.where(index < len(counts), counts[np.minimum(index, len(counts) - 1)], np.inf)
    return np.where(n >= 2, np.maximum(np.maximum(needed, n), MIN_SEEDS), np.nan)
