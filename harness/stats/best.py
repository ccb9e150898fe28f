"""The best of several methods by signed-rank tests: what a table may print in bold."""

from __future__ import annotations

import math

import numpy as np

from ebmark.stats.comparison import holm, paired
from ebmark.stats.intervals import ALPHA, MIN_PAIRS, Array
from ebmark.stats.ranking import Ranking


def pairs_needed(methods: int) -> int:
    """The fewest pairs with which one of so many methods can be told from all others at 5 %, by Holm.

    The smallest two-sided p of n pairs is 2^(1 - n), and Holm's first step multiplies it by methods - 1.
    """
    return max(MIN_PAIRS, math.floor(1 + math.log2(max(methods - 1, 1) / ALPHA)) + 1)


def best_by_test(values: Array, *, log: bool = False, centre: Array | None = None) -> Ranking:
    """The best of m methods on ``values (m, n)``, lower is better, and those that no test tells from it.

    Columns are paired by data set and seed. A row with a NaN, a failed or untrusted run, does not rank; +inf
    (a target not reached) is worse than every number. Tied: the signed-rank test against the best does not
    fall below 5 % after Holm's adjustment over all others. Nothing is best with fewer pairs than could tell.

    Args:
        values: see above.
        log: compare ratios, and geometric means.
        centre: ``(m,)`` by which the best is chosen; without it the mean.

    Reference: Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006, section
    3.2.2.
    """
    values = np.asarray(values, dtype=float)
    nothing = np.zeros(len(values), dtype=bool)
    ranked = ~np.isnan(values).any(-1)
    if ranked.sum() < 2:
        return Ranking(best=None, ties=nothing, note="fewer than two methods can be ranked")
    n, needed = values.shape[-1], pairs_needed(int(ranked.sum()))
    if n < needed:
        return Ranking(best=None, ties=nothing, note=f"too few seeds: {n}, {needed} needed")
    if centre is None:
        centre = np.log(values).mean(-1) if log else values.mean(-1)
    if not np.isfinite(np.where(ranked, centre, np.inf)).any():
        return Ranking(best=None, ties=nothing, note="no method ended")
    best = int(np.where(ranked, centre, np.inf).argmin())
    others = np.flatnonzero(ranked & (np.arange(len(values)) != best))
    p = holm(paired(values[others], values[best], log=log).p)
    ties = nothing.copy()
    ties[others[~(p < ALPHA)]] = True
    return Ranking(best=best, ties=ties, star=bool((p < ALPHA).all()))
