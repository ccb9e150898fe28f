"""A against B on the same data sets and seeds, and several methods over tasks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from ebmark.stats.intervals import ALPHA, MIN_PAIRS, Array, Interval, t_interval

MAX_EXACT = 13  # pairs of which some are equal: 8192 signs; above, the normal approximation
MAX_ROWS = 1000  # cells at a time, so that their sums over all signs take 64 MB
MIN_CD_TASKS = 20  # below, a critical difference is so wide that a diagram of it shows nothing


@dataclass(frozen=True, kw_only=True)
class Paired:
    """A against B in cells ``(...)``; lower is better.

    Attributes:
        pairs: how many pairs there are.
        difference: mean of a - b with its t interval over the pairs in which both ended; with ``log`` the
            ratio of geometric means a / b.
        p: of the signed-rank test, two-sided; NaN below 6 pairs, where it cannot fall below 0.05.
        effect: matched-pairs rank-biserial correlation: 1 where a is always larger, -1 where always smaller.
        below: share of the pairs with a < b, a tie as half, with Clopper and Pearson's interval, which covers
            at least what it says.
        few: below 6 pairs: too few seeds for a claim.
    """

    pairs: NDArray[np.intp]
    difference: Interval
    p: Array
    effect: Array
    below: Interval
    few: NDArray[np.bool_]


def paired(a: Array, b: Array, *, log: bool = False) -> Paired:
    """Compares a with b, both ``(..., n)`` with n pairs of one data set and seed; NaN: no such pair.

    A failed run is +inf: larger than every run that ended, and in no mean.

    Raises:
        ValueError: ``log`` and a value is not positive.

    References: Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1(6), 1945; Kerby,
    The simple difference formula, Comprehensive Psychology 3, 2014.
    """
    a, b = np.broadcast_arrays(np.asarray(a, dtype=float), np.asarray(b, dtype=float))
    if log and ((a <= 0).any() or (b <= 0).any()):
        raise ValueError("paired: a value of 0 or below on the log scale; allowed: above 0")
    with np.errstate(invalid="ignore"):
        gap = np.log(a) - np.log(b) if log else a - b
    gap = np.where(np.isposinf(a) & np.isposinf(b), 0.0, gap)
    ended = t_interval(np.where(np.isfinite(a) & np.isfinite(b), gap, np.nan))
    with np.errstate(over="ignore"):  # a ratio beyond the largest number is infinite
        centre, lo, hi = (np.exp(end) if log else end for end in (ended.centre, ended.lo, ended.hi))
    there = ~np.isnan(gap)
    pairs = there.sum(-1)
    p, effect = _signed_ranks(gap, pairs)
    return Paired(
        pairs=pairs,
        difference=Interval(centre=centre, lo=lo, hi=hi),
        p=p,
        effect=effect,
        below=_share((gap < 0).sum(-1) + ((gap == 0) & there).sum(-1) / 2, pairs),
        few=pairs < MIN_PAIRS,
    )


def _signed_ranks(gap: Array, pairs: NDArray[np.intp]) -> tuple[Array, Array]:
    """The p of the signed-rank test and the rank-biserial correlation ``(...)`` of gaps ``(..., n)``."""
    rows = np.sort(gap.reshape(pairs.size, gap.shape[-1]), -1)  # NaN last
    size = np.sort(np.abs(rows), -1)
    count, equal = pairs.reshape(-1), (rows == 0).any(-1) | (size[:, 1:] == size[:, :-1]).any(-1)
    p, effect = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    # one call for all cells alike: exact tables serve rows without zeros and equal gaps only
    for n, alike in np.unique(np.stack([count, equal], -1), axis=0):
        here = (count == n) & (equal == alike)
        if n == 0:
            continue
        d = rows[here, :n]
        rank = stats.rankdata(np.abs(d), axis=-1)
        effect[here] = (np.sign(d) * rank).sum(-1) / (n * (n + 1) / 2)
        if n >= MIN_PAIRS:
            exact = alike and n <= MAX_EXACT
            p[here] = _exact(d, rank) if exact else stats.wilcoxon(d, zero_method="zsplit", axis=-1).pvalue
    return p.reshape(pairs.shape), effect.reshape(pairs.shape)


def _exact(d: Array, rank: Array) -> Array:
    """Two-sided p ``(c,)`` of gaps ``(c, n)`` of which some are equal or 0; scipy loops over the signs.

    A zero's rank counts half, whatever the sign (zsplit).
    """
    if len(d) > MAX_ROWS:
        pieces = [slice(i, i + MAX_ROWS) for i in range(0, len(d), MAX_ROWS)]
        return np.concatenate([_exact(d[piece], rank[piece]) for piece in pieces])
    n = d.shape[-1]
    signs = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    moved = np.where(d != 0, rank, 0.0)
    sums, seen = moved @ signs.T, (moved * (d > 0)).sum(-1)[:, None]
    tails = [(sums >= seen - 1e-9).mean(-1), (sums <= seen + 1e-9).mean(-1)]
    return np.asarray(np.minimum(2 * np.min(tails, axis=0), 1.0))


def _share(hits: Array, n: NDArray[np.intp]) -> Interval:
    """Clopper and Pearson's interval ``(...)`` of a share."""
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = hits / n
    lo = np.where(hits > 0, special.betaincinv(np.maximum(hits, 0.5), n - hits + 1, ALPHA / 2), 0.0)
    hi = np.where(hits < n, special.betaincinv(hits + 1, np.maximum(n - hits, 0.5), 1 - ALPHA / 2), 1.0)
    return Interval(centre=centre, lo=np.where(n > 0, lo, np.nan), hi=np.where(n > 0, hi, np.nan))


def holm(p: Array) -> Array:
    """p-values ``(k,)`` adjusted so that the chance of any false claim among them stays below the level.

    NaN, a comparison that was not made, is not counted.

    Reference: Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statistics 6(2), 1979.
    """
    p = np.asarray(p, dtype=float)
    order = np.argsort(p)  # NaN last
    factor = (~np.isnan(p)).sum() - np.arange(len(p))
    adjusted = np.full(p.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factor), 1.0)
    return adjusted


@dataclass(frozen=True, kw_only=True)
class Friedman:
    """m methods over tasks; lower is better.

    Attributes:
        tasks: how many tasks every method has a value on.
        ranks: mean rank of each method ``(m,)``, 1 the best.
        p: of Friedman's test that all are alike; NaN where it cannot be made.
        pairwise: p of the signed-rank test of each pair, by Holm ``(m, m)``.
        different: the pairs ``(m, m)`` told apart: Friedman's test and the pair's own below 0.05.
        critical: Nemenyi's critical difference of mean ranks; None below 20 tasks.
        note: why there is less than asked.
    """

    tasks: int
    ranks: Array
    p: float
    pairwise: Array
    different: NDArray[np.bool_]
    critical: float | None = None
    note: str = ""


def friedman(values: Array) -> Friedman:
    """Compares m methods on ``values (m, tasks)``; tasks with a NaN are left out, +inf is a failure.

    Reference: Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 7, 2006.
    """
    values = np.asarray(values, dtype=float)
    values = values[:, ~np.isnan(values).any(0)]
    m, tasks = values.shape
    rank = stats.rankdata(values, axis=0)
    ranks = rank.mean(-1) if tasks else np.full(m, np.nan)
    pairwise, different = np.full((m, m), np.nan), np.zeros((m, m), dtype=bool)
    if m < 3 or tasks < MIN_PAIRS:
        note = "fewer than three methods" if m < 3 else f"too few tasks: {tasks}, {MIN_PAIRS} needed"
        return Friedman(
            tasks=tasks, ranks=ranks, p=float("nan"), pairwise=pairwise, different=different, note=note
        )
    p = 1.0 if (rank == rank[0]).all() else float(stats.friedmanchisquare(*rank).pvalue)
    i, j = np.triu_indices(m, 1)
    pairwise[i, j] = pairwise[j, i] = holm(paired(values[i], values[j]).p)
    different = (p < ALPHA) & (np.nan_to_num(pairwise, nan=1.0) < ALPHA)
    critical = None
    if tasks >= MIN_CD_TASKS:
        critical = float(
            stats.studentized_range.ppf(1 - ALPHA, m, np.inf)
            / np.sqrt(2)
            * np.sqrt(m * (m + 1) / (6 * tasks))
        )
    note = "" if critical else f"critical difference from {MIN_CD_TASKS} tasks on"
    return Friedman(
        tasks=tasks, ranks=ranks, p=p, pairwise=pairwise, different=different, critical=critical, note=note
    )
