"""How costs grow with the dimension: local exponents, and where two costs cross."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from ebmark.stats.intervals import ALPHA, Array

MIN_SIZES = 6  # below: a fitted exponent is stated as local


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
    sizes, mean = per_size(d, cost)
    n, nan = len(sizes), float("nan")
    if n < 3:
        return Exponent(value=nan, lo=nan, hi=nan, sizes=n, local=True)
    _, b, _, se = line(np.log(sizes), mean)
    half = float(stats.t.ppf(1 - ALPHA / 2, n - 2)) * se
    return Exponent(value=b, lo=b - half, hi=b + half, sizes=n, local=n < MIN_SIZES)


def per_size(d: Array, cost: Array) -> tuple[Array, Array]:
    """Sizes in order and the mean log cost at each, ``(m,)``, of the costs ``(n,)`` above 0 and finite."""
    d, cost = np.asarray(d, dtype=float), np.asarray(cost, dtype=float)
    use = np.isfinite(cost) & (cost > 0)
    sizes, index = np.unique(d[use], return_inverse=True)
    return sizes, np.bincount(index, np.log(cost[use])) / np.bincount(index)


def line(x: Array, y: Array) -> tuple[float, float, float, float]:
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
    level, slope, se_level, se_slope = line(x, y)
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
