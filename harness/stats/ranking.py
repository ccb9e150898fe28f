"""Methods against each other on paired values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ebmark.stats.comparison import paired
from ebmark.stats.intervals import ALPHA, MIN_PAIRS, MIN_SEEDS, Array, t_interval


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The best row (None: no rank), the rows ``(m,)`` tied with it, and whether it beats all (``star``)."""

    best: int | None
    ties: NDArray[np.bool_]
    star: bool = False
    note: str = ""


def best_and_ties(values: Array, *, log: bool = False) -> Ranking:
    """The best of m methods on ``values (m, n)``, lower is better, columns paired by data set and seed.

    Best is the smallest mean (with ``log`` the geometric mean, and ratios are compared). A row with a value
    that is not finite (with ``log``: not positive), a failed or untrusted run, does not rank. Tied: the
    paired t interval of the difference to the best has 0 in it, at the Bonferroni level of the m - 1
    comparisons, so that the truly best is marked best or tied with 95 % confidence. The star needs 6 pairs
    and signed-rank tests below 0.05 against *every* other, an intersection-union test that needs no
    correction (Berger, Technometrics 24(4), 1982).
    """
    usable = np.isfinite(values) & (values > 0) if log else np.isfinite(values)
    ranked = np.asarray(usable.all(-1))
    if values.shape[-1] < MIN_SEEDS or ranked.sum() < 2:
        note = "too few seeds" if values.shape[-1] < MIN_SEEDS else "fewer than two methods can be ranked"
        return Ranking(best=None, ties=np.zeros(len(values), dtype=bool), note=note)
    y = np.where(ranked[:, None], values, 1.0)
    y = np.log(y) if log else y
    best = int(np.where(ranked, y.mean(-1), np.inf).argmin())
    others = ranked & (np.arange(len(y)) != best)
    gap = t_interval(y - y[best], alpha=ALPHA / others.sum())
    ties = others & (gap.lo <= 0)
    if values.shape[-1] < MIN_PAIRS:
        return Ranking(best=best, ties=ties, note="too few seeds")
    return Ranking(best=best, ties=ties, star=bool((paired(y[others], y[best]).p < ALPHA).all()))
