"""Bootstrap intervals, where there are enough values for one."""

from __future__ import annotations

import numpy as np
from scipy import stats

from ebmark.stats.intervals import ALPHA, Array, Interval, t_interval

MIN_BOOTSTRAP = 20  # values; below, a bootstrap interval covers less than it says
DRAWS = 2000
SEED = 0  # the same table gives the same interval


def seed_interval(x: Array, *, log: bool = False) -> Interval:
    """Mean of x ``(..., n)`` over seeds with its interval ``(...)``: Student's t, from 20 values on BCa.

    NaN is left out, and values are counted cell by cell. With ``log`` the centre is the geometric mean on
    both sides of 20, so that one more seed never changes what is estimated.

    Raises:
        ValueError: ``log`` and a value is not positive.

    Reference: Efron, Better bootstrap confidence intervals, JASA 82(397), 1987.
    """
    x = np.asarray(x, dtype=float)
    t = t_interval(x, log=log)
    lo, hi = np.array(t.lo, dtype=float), np.array(t.hi, dtype=float)
    for cell in np.argwhere((~np.isnan(x)).sum(-1) >= MIN_BOOTSTRAP):
        at = tuple(cell)
        y = x[at][~np.isnan(x[at])]
        if np.ptp(y) > 0:
            lo[at], hi[at] = _bca(np.log(y) if log else y)
            if log:
                lo[at], hi[at] = np.exp(lo[at]), np.exp(hi[at])
    return Interval(centre=t.centre, lo=lo, hi=hi)


def _bca(y: Array) -> tuple[float, float]:
    """The bias-corrected and accelerated bootstrap interval of the mean of y ``(n,)``."""
    found = stats.bootstrap(
        (y,),
        np.mean,
        n_resamples=DRAWS,
        confidence_level=1 - ALPHA,
        method="BCa",
        rng=np.random.default_rng(SEED),
    ).confidence_interval
    return float(found.low), float(found.high)


def iqm_interval(x: Array) -> Interval:
    """Interquartile mean of x ``(tasks, n)``, all values pooled, with a stratified bootstrap interval.

    Runs are drawn again within their task; the tasks stay as they are, so that it says nothing of others. The
    percentile interval is widened by sqrt(n/(n - 1)): drawn from n values a spread is that much too small. A
    failed run enters as +inf.

    Reference: Agarwal et al., Deep RL at the edge of the statistical precipice, NeurIPS 2021.
    """
    x = np.asarray(x, dtype=float)
    tasks, n = x.shape
    centre = stats.trim_mean(x, 0.25, axis=None)
    if n < 2:
        return Interval(centre=np.asarray(centre), lo=np.asarray(np.nan), hi=np.asarray(np.nan))
    drawn = np.random.default_rng(SEED).integers(n, size=(DRAWS, tasks, n))
    again = stats.trim_mean(x[np.arange(tasks)[:, None], drawn].reshape(DRAWS, -1), 0.25, axis=-1)
    ends = np.quantile(again, [ALPHA / 2, 1 - ALPHA / 2], method="inverted_cdf")  # no mean of finite and inf
    if np.isfinite(centre):
        ends = centre + (ends - centre) * np.sqrt(n / (n - 1))
    return Interval(centre=np.asarray(centre), lo=np.asarray(ends[0]), hi=np.asarray(ends[1]))
