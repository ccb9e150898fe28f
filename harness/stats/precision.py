"""How many seeds an interval of a wanted width needs, and the looks at the data until it has it."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from ebmark.stats.intervals import ALPHA, MIN_SEEDS, Array, half_width, t_interval

MOST = 10_000  # seeds; what needs more is infinite
GROWTH = 2  # a round at most doubles the seeds: a spread known from few of them asks for far too many


def looks(start: int, most: int) -> int:
    """At most how many looks a run takes that begins with ``start`` seeds and doubles them up to ``most``.

    Each gets an equal share of the 5 %, alpha / looks: the chance that any of them misses is then below 5 %,
    so that the interval at which the run stops still holds 95 %.

    Reference: Pocock, Group sequential methods in the design and analysis of clinical trials, Biometrika
    64(2), 1977, whose equal levels are larger because they also use how the looks depend on each other.
    """
    return 1 + max(math.ceil(math.log(most / start) / math.log(GROWTH) - 1e-9), 0)


def relative_precision(x: Array, *, log: bool = False, alpha: float = ALPHA) -> Array:
    """Half the length ``(...)`` of the t interval of x ``(..., n)`` over the mean; NaN is left out.

    With ``log`` the factor from the geometric mean to the upper end, minus 1. For a comparison of A with B
    give the ratios a / b with ``log``, or the differences.
    """
    found = t_interval(x, log=log, alpha=alpha)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(
            found.hi / found.centre - 1 if log else (found.hi - found.centre) / np.abs(found.centre)
        )


def seeds_needed(x: Array, precision: float, *, log: bool = False, alpha: float = ALPHA) -> Array:
    """Seeds in all ``(...)`` for which x ``(..., n)`` would have the relative precision, its spread as it is.

    At least 3, and at least those there are; infinite above 10,000; NaN where fewer than two values give no
    spread. The spread is itself known from n values only: a run asks again after each round.

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
    counts, widths = _widths(alpha)
    index = np.searchsorted(-widths, -np.nan_to_num(wanted, nan=np.inf))
    needed = np.where(index < len(counts), counts[np.minimum(index, len(counts) - 1)], np.inf)
    return np.where(n >= 2, np.maximum(np.maximum(needed, n), MIN_SEEDS), np.nan)


@lru_cache
def _widths(alpha: float) -> tuple[Array, Array]:
    """Counts of seeds, and half the interval of each over the standard deviation, which falls with them."""
    counts = np.arange(2.0, MOST + 1)
    return counts, half_width(np.ones(len(counts)), counts, alpha)


def next_seeds(
    x: Array, precision: float, *, seeds: int, most: int, alpha: float, left: int, log: bool = False
) -> int:
    """How many seeds a run shall have that adds them until every interval is narrow; ``seeds`` where it ends.

    It ends once the interval of every row of x ``(..., n)`` is within the precision, or at ``most`` seeds. A
    row without two values asks for nothing: more seeds say little of what seldom has a value. A round that
    needs few seeds may get more: the looks that are left must reach ``most`` by doubling, or there would be
    more of them than ``looks`` has given a share of alpha.

    Args:
        x: what the intervals are of, as of ``seeds_needed``.
        precision: wanted of each.
        seeds: those there are.
        most: allowed.
        alpha: of each look.
        left: looks after this one, of those that ``looks`` counts.
        log: as of ``seeds_needed``.
    """
    x = np.asarray(x, dtype=float)
    counted = (~np.isnan(x)).sum(-1)
    narrow = (relative_precision(x, log=log, alpha=alpha) <= precision) & (counted >= MIN_SEEDS)
    asking = (counted >= 2) & ~narrow
    if not asking.any() or seeds >= most:
        return seeds
    needed = float(seeds_needed(x[asking], precision, log=log, alpha=alpha).max())
    behind = math.ceil(most / GROWTH ** max(left - 1, 0))
    return int(min(max(needed, behind, seeds + 1), max(GROWTH * seeds, behind), most))
