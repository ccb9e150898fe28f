"""Statistics of a benchmark with few seeds: pure functions on arrays, without any drawing.

Arrays are ``(..., n)`` with the n runs last unless said otherwise; NaN marks what is missing. A failure never
becomes a number: it is left out where means are taken, and charged where costs are added up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

ALPHA = 0.05
MIN_SEEDS = 3  # below: no interval, no ranking
MIN_PAIRS = 6  # below: the smallest two-sided p of a signed-rank test exceeds 0.05 (0.0625 at 5)
MIN_SIZES = 6  # below: a fitted exponent is stated as local
REACHING_SHARE = 0.6  # a target counts as reachable when at least this share of the runs reaches it


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
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nansum(y, -1) / n
        sd = np.sqrt(np.nansum((y - mean[..., None]) ** 2, -1) / (n - 1))
    half = half_width(sd, n, alpha)
    back = np.exp if log else np.asarray
    return Interval(centre=back(mean), lo=back(mean - half), hi=back(mean + half))


def iqm(x: Array) -> Array:
    """Interquartile mean ``(...)`` of x ``(..., n)``: the mean of the middle half.

    A failed run enters as +inf: the result is infinite once more than a quarter of the runs failed.

    Reference: Agarwal et al., Deep RL at the edge of the statistical precipice, NeurIPS 2021.
    """
    return np.asarray(stats.trim_mean(np.asarray(x, dtype=float), 0.25, axis=-1))


@dataclass(frozen=True, kw_only=True)
class Exponent:
    """Slope of log cost in log d with its interval, NaN below 3 sizes; no more than local below 6."""

    value: float
    lo: float
    hi: float
    sizes: int
    local: bool


def scaling_exponent(d: Array, cost: Array) -> Exponent:
    """Exponent of cost ``(n,)`` in the dimension d ``(n,)``: least squares on the per-d means of log cost.

    The runs at one d share its deviation from the line, so the sizes are the units, and the slope has
    Student's t interval with sizes - 2 degrees of freedom. Which law holds is not identified by it.
    """
    d, cost = np.asarray(d, dtype=float), np.asarray(cost, dtype=float)
    use = np.isfinite(cost) & (cost > 0)
    sizes, index = np.unique(d[use], return_inverse=True)
    n, nan = len(sizes), float("nan")
    if n < 3:
        return Exponent(value=nan, lo=nan, hi=nan, sizes=n, local=True)
    mean = np.bincount(index, np.log(cost[use])) / np.bincount(index)
    _, b, _, se = _line(np.log(sizes), mean)
    half = float(stats.t.ppf(1 - ALPHA / 2, n - 2)) * se
    return Exponent(value=b, lo=b - half, hi=b + half, sizes=n, local=n < MIN_SIZES)


def _line(x: Array, y: Array) -> tuple[float, float, float, float]:
    """Least squares y = a + b (x - mean x): a, b and their standard errors."""
    u, n = x - x.mean(), len(x)
    a, b = y.mean(), (u * y).sum() / (u**2).sum()
    s2 = ((y - a - b * u) ** 2).sum() / (n - 2)
    return float(a), float(b), float(np.sqrt(s2 / n)), float(np.sqrt(s2 / (u**2).sum()))


@dataclass(frozen=True, kw_only=True)
class Crossover:
    """Where two cost lines meet, with the interval ``lo, hi``, and whether that is in the measured range."""

    dim: float
    lo: float
    hi: float
    measured: bool


def crossover(d: Array, cost_a: Array, cost_b: Array) -> Crossover | None:
    """Where the fitted log-log lines of two costs meet; all arguments ``(n,)``, one value per dimension.

    The difference of two least-squares lines on the same sizes is the line of the differences; its root gets
    Fieller's interval, (0, inf) where the slopes cannot be told apart. None below 3 common sizes, and beyond
    twice the largest or half the smallest d, where nothing supports the lines.

    Reference: Fieller, Some problems in interval estimation, JRSS B 16(2), 1954.
    """
    use = np.isfinite(cost_a) & np.isfinite(cost_b) & (cost_a > 0) & (cost_b > 0)
    x, y = np.log(d[use]), np.log(cost_a[use] / cost_b[use])
    if len(x) < 3 or np.ptp(y) == 0:
        return None
    level, slope, se_level, se_slope = _line(x, y)
    root = float(x.mean() - level / slope) if slope else float("inf")
    if not x.min() - np.log(2) <= root <= x.max() + np.log(2):
        return None
    # |level + slope u| <= t se(u) in u = log d - mean: a u^2 + 2 b u + c <= 0
    t2 = stats.t.ppf(1 - ALPHA / 2, len(x) - 2) ** 2
    a, b, c = slope**2 - t2 * se_slope**2, slope * level, level**2 - t2 * se_level**2
    lo, hi = 0.0, float("inf")
    if a > 0:
        lo, hi = np.exp(x.mean() + (np.array([-1, 1]) * np.sqrt(max(b**2 - a * c, 0.0)) - b) / a).tolist()
    measured = bool(x.min() <= root <= x.max())
    return Crossover(dim=float(np.exp(root)), lo=lo, hi=hi, measured=measured)


def ert(cost: Array, reached: NDArray[np.bool_]) -> Array:
    """Expected running time ``(...)`` to a target: the cost of all runs over the number that reach it.

    Failures are charged. Infinite unless at least 60 % of the runs, and at least 3, reach the target.

    Args:
        cost: ``(..., n)``, up to the target for a run that reaches it, else all that it cost; NaN: no run.
        reached: ``(..., n)``.

    Reference: Hansen et al., COCO: performance assessment, 2016, https://arxiv.org/abs/1605.03560
    """
    there = ~np.isnan(cost)
    runs, hits = there.sum(-1), (reached & there).sum(-1)
    expected = np.nansum(cost, -1) / np.maximum(hits, 1)
    return np.where((hits >= MIN_SEEDS) & (hits >= REACHING_SHARE * runs), expected, np.inf)


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The best row (None: no rank), the rows ``(m,)`` tied with it, and whether it beats all (``star``)."""

    best: int | None
    ties: NDArray[np.bool_]
    star: bool = False
    note: str = ""


def best_and_ties(values: Array, *, log: bool = False) -> Ranking:
    """The best of m methods on ``values (m, n)``, lower is better, columns paired by data set and seed.

    Best is the smallest mean (with ``log`` the geometric mean, and ratios are compared). A row with a NaN, a
    failed or untrusted run, does not rank. Tied: the paired t interval of the difference to the best has 0 in
    it, at the Bonferroni level of the m - 1 comparisons, so that the truly best is marked best or tied with
    95 % confidence. The star needs 6 pairs and signed-rank tests below 0.05 against *every* other, an
    intersection-union test that needs no correction (Berger, Technometrics 24(4), 1982).
    """
    ranked = ~np.isnan(values).any(-1)
    if values.shape[-1] < MIN_SEEDS or ranked.sum() < 2:
        note = "too few seeds" if values.shape[-1] < MIN_SEEDS else "fewer than two methods can be ranked"
        return Ranking(best=None, ties=np.zeros(len(values), dtype=bool), note=note)
    y = np.log(values) if log else values
    best = int(np.where(ranked, y.mean(-1), np.inf).argmin())
    others = ranked & (np.arange(len(y)) != best)
    gap = t_interval(y - y[best], alpha=ALPHA / others.sum())
    ties = others & (gap.lo <= 0)
    if values.shape[-1] < MIN_PAIRS:
        return Ranking(best=best, ties=ties, note="too few seeds")
    tests = [stats.wilcoxon(y[i] - y[best], zero_method="zsplit") for i in np.flatnonzero(others)]
    return Ranking(best=best, ties=ties, star=bool(max(test.pvalue for test in tests) < ALPHA))
