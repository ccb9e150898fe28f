"""Cost to reach a target, with failures charged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ebmark.stats.intervals import ALPHA, MIN_SEEDS, Array, Interval

REACHING_SHARE = 0.6  # a target counts as reachable when at least this share of the runs reaches it
DRAWS = 2000


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


def ert_interval(cost: Array, reached: NDArray[np.bool_], failure: Array | None = None) -> Interval:
    """Expected running time with its interval ``(...)``; cost and reached ``(..., n)`` as of ``ert``.

    It is m + f (1 - p)/p for runs that reach the target with probability p at a mean cost m, and fail at a
    mean cost f. p is drawn from its Jeffreys posterior, and may be 1 where no run failed; m from Cox's
    interval of a log-normal mean with Student's t. Where the target is not reached often enough the upper end
    is infinite, and the lower one charges the fewest failures that agree with the runs.

    Args:
        cost: as of ``ert``.
        reached: as of ``ert``.
        failure: f ``(...)`` where no run failed: the budget of a run; without it the dearest run's cost.

    References: Brown, Cai and DasGupta, Interval estimation for a binomial proportion, Statistical Science
    16(2), 2001; Olsson, Confidence intervals for the mean of a log-normal distribution, J. Statistics
    Education 13(1), 2005.
    """
    there = ~np.isnan(cost)
    hit, missed = reached & there & (cost > 0), there & ~reached
    k, n = hit.sum(-1), (hit | missed).sum(-1)
    log = np.where(hit, np.log(np.where(hit, cost, 1.0)), 0.0)
    mean = log.sum(-1) / np.maximum(k, 1)
    variance = (np.where(hit, log - mean[..., None], 0.0) ** 2).sum(-1) / np.maximum(k - 1, 1)
    spare = np.where(there, cost, 0.0).max(-1, initial=0.0) if failure is None else failure
    fail = np.where(missed, cost, 0.0).sum(-1) / np.maximum(missed.sum(-1), 1)
    fail = np.where(missed.any(-1), fail, spare)
    centre = ert(cost, reached)
    lo, hi = np.full(centre.shape, np.nan), np.full(centre.shape, np.inf)
    for runs, hits in np.unique(np.stack([n, k], -1).reshape(-1, 2), axis=0):
        here = (n == runs) & (k == hits)
        if hits >= MIN_SEEDS and hits >= REACHING_SHARE * runs:
            lo[here], hi[here] = _ends(mean[here], variance[here], fail[here], int(runs), int(hits))
        elif runs:
            highest = special.betaincinv(hits + 0.5, runs - hits + 0.5, 1 - ALPHA / 2)
            lo[here] = fail[here] * (1 - highest) / highest
    return Interval(centre=centre, lo=lo, hi=hi)


def _ends(mean: Array, variance: Array, fail: Array, n: int, k: int) -> tuple[Array, Array]:
    """Interval of m + f (1 - p)/p for cells ``(c,)`` in which k of n runs reach the target."""
    rng = np.random.default_rng(0)  # the same draws for every cell, so that no cell depends on its neighbours
    p = rng.beta(k + 0.5, n - k + 0.5, DRAWS)
    v = variance[:, None]
    m = np.exp(mean[:, None] + v / 2 + rng.standard_t(k - 1, DRAWS) * np.sqrt(v / k + v**2 / (2 * (k + 1))))
    drawn = m + fail[:, None] * (1 - p) / p
    hi = np.quantile(drawn, 1 - ALPHA / 2, axis=-1)
    return np.quantile(m if k == n else drawn, ALPHA / 2, axis=-1), hi


def performance_profile(cost: Array, tau: Array) -> Array:
    """Share ``(m, t)`` of the tasks that each of m methods solves within tau ``(t,)`` times the cheapest.

    Args:
        cost: ``(m, tasks)``; a failure, infinite or NaN, is within no multiple, and a task that no method
            solves counts against all.
        tau: multiples, at least 1.

    Reference: Dolan and More, Benchmarking optimization software with performance profiles, Mathematical
    Programming 91, 2002; Dahl et al., Benchmarking neural network training algorithms, 2023.
    """
    cost = np.where(np.isnan(cost), np.inf, np.asarray(cost, dtype=float))
    best = cost.min(0)
    within = np.isfinite(cost)[..., None] & (cost[..., None] <= best[:, None] * np.asarray(tau, dtype=float))
    return np.asarray(within.mean(1))
