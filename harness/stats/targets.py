"""Cost to reach a target, with failures charged."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ebmark.stats.intervals import MIN_SEEDS, Array

REACHING_SHARE = 0.6  # a target counts as reachable when at least this share of the runs reaches it


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
