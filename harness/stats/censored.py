"""The exponent of a cost in the dimension where some runs never ended: a Tobit likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from ebmark.stats.intervals import ALPHA, Array
from ebmark.stats.scaling import MIN_SIZES, Exponent, line, scaling_exponent

NODES = np.linspace(-4.5, 4.5, 31)  # of the shared deviation at a size, in its standard deviations
LOG_WEIGHTS = stats.norm.logpdf(NODES) - special.logsumexp(stats.norm.logpdf(NODES))
MAX_SHARED = 0.95  # share of the variance that runs at one size have in common; above, NODES are too coarse
MIN_SD = 1e-4  # of log cost: costs that agree to more digits still have a likelihood
FARTHEST = 100.0  # from the best exponent: an end beyond is infinite


@dataclass(frozen=True, kw_only=True)
class _Runs:
    """The runs by size: centred log d ``(m,)``, and of the log costs what the likelihood needs.

    Attributes:
        u: log d minus its mean over the sizes.
        count, mean, squares: of the runs that ended at a size: how many, their mean and the sum of squares
            about it, ``(m,)`` each.
        cut: the sizes with censored runs ``(k,)``, as indices.
        limits: log of what those had spent ``(k, c)``, padded with -inf, which says nothing.
        several: some size has more than one run, so that shared and own deviations can be told apart.
    """

    u: Array
    count: Array
    mean: Array
    squares: Array
    cut: NDArray[np.intp]
    limits: Array
    several: bool


def tobit_exponent(d: Array, cost: Array, censored: NDArray[np.bool_]) -> Exponent:
    """Exponent of cost ``(n,)`` in d ``(n,)`` where ``censored (n,)`` runs would have cost more than stated.

    log cost = a + b log d + a normal deviation that the runs at one size share + a normal one of each run. A
    censored run (a timeout, a target not reached, out of memory) adds the probability of exceeding what it
    had spent. The interval is that of the profile likelihood; its bound n log(1 + t^2/(n - 2)) is exact for n
    sizes without censoring, and n counts the sizes at which some run ended. Without censored runs this is
    ``scaling_exponent``. NaN where fewer than 3 sizes have a run that ended.

    Reference: Tobin, Estimation of relationships for limited dependent variables, Econometrica 26(1), 1958.
    """
    d, cost = np.asarray(d, dtype=float), np.asarray(cost, dtype=float)
    use = np.isfinite(cost) & (cost > 0)
    d, cost, censored = d[use], cost[use], np.asarray(censored, dtype=bool)[use]
    if not censored.any():
        return scaling_exponent(d, cost)
    n, nan = len(np.unique(d[~censored])), float("nan")
    if n < 3:
        return Exponent(value=nan, lo=nan, hi=nan, sizes=n, local=True)
    bound = n * np.log1p(stats.t.ppf(1 - ALPHA / 2, n - 2) ** 2 / (n - 2)) / 2
    value, lo, hi = _profile_interval(_runs(d, np.log(cost), censored), float(bound))
    return Exponent(value=value, lo=lo, hi=hi, sizes=n, local=n < MIN_SIZES)


def _runs(d: Array, y: Array, censored: NDArray[np.bool_]) -> _Runs:
    sizes, index = np.unique(d, return_inverse=True)
    m, ended = len(sizes), ~censored
    count = np.bincount(index[ended], minlength=m).astype(float)
    mean = np.bincount(index[ended], y[ended], minlength=m) / np.maximum(count, 1)
    squares = np.bincount(index[ended], (y[ended] - mean[index[ended]]) ** 2, minlength=m).astype(float)
    missing = np.bincount(index[censored], minlength=m)
    cut = np.flatnonzero(missing)
    limits = np.full((len(cut), missing.max()), -np.inf)
    for row, i in enumerate(cut):
        limits[row, : missing[i]] = y[censored & (index == i)]
    u = np.log(sizes) - np.log(sizes).mean()
    several = bool((count + missing).max() > 1)
    return _Runs(u=u, count=count, mean=mean, squares=squares, cut=cut, limits=limits, several=several)


def _log_likelihood(theta: Array, runs: _Runs) -> Array:
    """At ``theta (..., 4)``: level, exponent, log sd, and the share of its variance that is shared."""
    level, b, log_s, share = (theta[..., i, None] for i in range(4))
    s2, share = np.exp(2 * log_s), np.maximum(share, 0.0)  # a bound is met but for rounding
    tau2, sigma2 = share * s2, (1 - share) * s2
    mu = level + b * runs.u
    total = sigma2 + runs.count * tau2
    gap = runs.mean - mu
    ended = (
        (runs.count - 1) * np.log(sigma2)
        + np.log(total)
        + runs.squares / sigma2
        + runs.count * gap**2 / total
    )
    # given the runs that ended, the shared deviation is normal about `shift`
    shift, spread = tau2 * runs.count * gap / total, np.sqrt(sigma2 * tau2 / total)
    nodes, log_weights = (NODES, LOG_WEIGHTS) if runs.several else (np.zeros(1), np.zeros(1))
    mean = (mu + shift)[..., runs.cut, None, None] + spread[..., runs.cut, None, None] * nodes[:, None]
    beyond = special.log_ndtr((mean - runs.limits[:, None]) / np.sqrt(sigma2)[..., None, None]).sum(-1)
    return np.asarray(special.logsumexp(beyond + log_weights, axis=-1).sum(-1) - ended.sum(-1) / 2)


def _maximum(runs: _Runs, start: Array, b: float | None = None) -> tuple[float, Array]:
    """The largest log-likelihood from a start ``(4,)``, and where; ``b`` holds the exponent."""
    free = np.flatnonzero([True, b is None, True, runs.several])
    full = start if b is None else np.where(np.arange(4) == 1, b, start)
    s, m = np.exp(start[2]), len(runs.u)
    unit = np.array(
        [s / np.sqrt(m), s / np.sqrt((runs.u**2).sum()), 1 / np.sqrt(m), 0.3]
    )  # about standard errors
    steps = np.zeros((len(free) + 1, 4))
    steps[np.arange(len(free)) + 1, free] = 1e-6 * unit[free]

    def value_and_slope(x: Array) -> tuple[float, Array]:
        theta = full.copy()
        theta[free] += x * unit[free]
        found = -_log_likelihood(theta + steps, runs)
        return float(found[0]), (found[1:] - found[0]) / 1e-6

    lowest = np.array([-np.inf, -np.inf, np.log(MIN_SD), 0.0])
    highest = np.array([np.inf, np.inf, np.inf, MAX_SHARED])
    bounds = np.stack([(lowest - full) / unit, (highest - full) / unit], -1)[free]
    best = optimize.minimize(
        value_and_slope, np.zeros(len(free)), jac=True, method="L-BFGS-B", bounds=bounds.tolist()
    )
    full = full.copy()
    full[free] += best.x * unit[free]
    return -float(best.fun), full


def _profile_interval(runs: _Runs, bound: float) -> tuple[float, float, float]:
    """The most likely exponent, and where its profile falls ``bound`` below the top."""
    some = runs.count > 0
    u, y = runs.u[some], runs.mean[some]
    level, b, _, _ = line(u, y)
    sd = (y - level - b * (u - u.mean())).std()
    share = 0.5 if runs.several else 0.0
    top, best = _maximum(runs, np.array([level - b * u.mean(), b, np.log(max(sd, 0.01)), share]))
    near = best.copy()

    def drop(at: float) -> float:
        found, near[:] = _maximum(runs, near, at)
        return top - found - bound

    step = float(np.exp(best[2]) / np.sqrt((u**2).sum()))
    lo = _end(drop, float(best[1]), -step)
    near[:] = best
    return float(best[1]), lo, _end(drop, float(best[1]), step)


def _end(drop: Callable[[float], float], inside: float, step: float) -> float:
    """Where ``drop`` changes sign, in growing steps from inside."""
    way, at = step, inside
    while abs(at - inside) <= FARTHEST:
        at, last = inside + way, at
        if drop(at) > 0:
            return float(optimize.brentq(drop, last, at, xtol=1e-3 * abs(step)))
        way *= 2
    return float(np.copysign(np.inf, step))
