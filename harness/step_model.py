"""The seconds of an optimiser step from its passes: an overhead and seconds per pass, fitted robustly.

    seconds = (a + batch c_d sum_k g_k passes_k x executed share) x r_m

a and the c_d belong to a network, c_d to each dimension seen (interpolated in log d); g_k weighs the kinds of
pass (forward 1); r_m is a method's own factor, which keeps one measured at one size from bending c_d.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from threadpoolctl import threadpool_limits

from ebmark.costs import KINDS

NOISE = 0.1  # relative, of a cell's median
# Widths of the priors, in logs: overhead around START seconds, kinds around each other, methods around 1, and
# c_d changing by this much per doubling of d.
OVERHEAD, START, KIND, METHOD, SLOPE = 10.0, 5e-4, 0.3, 0.5, 1.0


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What a step costs on one network.

    Attributes:
        overhead: seconds of a step without passes.
        dims: sizes seen, increasing.
        rates: seconds per forward and point at each of them.
        kinds: weight of each kind of pass.
    """

    overhead: float
    dims: np.ndarray
    rates: np.ndarray
    kinds: np.ndarray

    def seconds(self, dim: int, batch: int, passes: Sequence[float], executed: float) -> float:
        """Seconds of a step with these passes per point by kind, ``executed`` F of which are run."""
        rate = math.exp(np.interp(math.log(dim), np.log(self.dims), np.log(self.rates)))
        share = executed / max(sum(passes), 1e-300)
        return float(self.overhead + batch * rate * share * np.dot(self.kinds, passes))


class StepModel:
    """A fit per network, made when it is first asked for.

    Args:
        steps: measured cells, the columns of ``Measured.steps``.
    """

    def __init__(self, steps: pd.DataFrame) -> None:
        self._steps = steps
        self._fits: dict[str, Fit] = {}

    def knows(self, network: str) -> bool:
        """Whether any cell has that network, whatever its settings."""
        return bool((self._steps["network"] == network).any())

    def seconds(
        self, net: str, network: str, dim: int, batch: int, passes: Sequence[float], executed: float
    ) -> float:
        """Seconds of a step; of the network with other settings, or of any, where this one is unknown."""
        if net not in self._fits:
            steps = self._steps
            alike = next((c for c in (steps["net"] == net, steps["network"] == network) if c.any()), None)
            self._fits[net] = fitted(steps if alike is None else steps[alike])
        return self._fits[net].seconds(dim, batch, passes, executed)


def fitted(rows: pd.DataFrame) -> Fit:
    """The robust least-squares fit to measured cells, in logs; ``rows`` as in ``Measured.steps``."""
    passes = rows[[*KINDS]].to_numpy(float)
    share = rows["executed"].to_numpy() / passes.sum(1)
    batch, seconds = rows["batch"].to_numpy(float), rows["step"].to_numpy()
    dims, at = np.unique(rows["dim"].to_numpy(), return_inverse=True)
    methods, who = np.unique(rows["method_label"].to_numpy(str), return_inverse=True)
    n = len(dims)

    def split(p: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        kinds = np.concatenate([[1.0], np.exp(p[1 + n : 4 + n])])
        return math.exp(p[0]), np.exp(p[1 : 1 + n]), kinds, p[4 + n :]

    def residuals(p: np.ndarray) -> np.ndarray:
        a, rates, kinds, factors = split(p)
        model = np.log(a + batch * rates[at] * share * (passes @ kinds)) + factors[who]
        return np.concatenate([(model - np.log(seconds)) / NOISE, prior @ p - centre])

    def jacobian(p: np.ndarray) -> np.ndarray:
        a, rates, kinds, _ = split(p)
        by_kind = (batch * rates[at] * share)[:, None] * passes * kinds
        whole = a + by_kind.sum(1)
        by_dim = np.eye(n)[at] * (by_kind.sum(1) / whole)[:, None]
        parts = [(a / whole)[:, None], by_dim, by_kind[:, 1:] / whole[:, None], np.eye(len(methods))[who]]
        return np.concatenate([np.concatenate(parts, axis=1) / NOISE, prior])

    start = np.zeros(4 + n + len(methods))
    start[0] = math.log(START)
    start[1 : 1 + n] = math.log(np.median(seconds / (batch * rows["executed"].to_numpy())))
    prior = _prior(np.diff(np.log2(dims)), len(methods))
    centre = prior[:, 0] * start[0]
    with threadpool_limits(1):  # beside other work several threads took 1000 times longer, for nothing
        found: Any = least_squares(residuals, start, jacobian, loss="soft_l1")
    a, rates, kinds, _ = split(found.x)
    return Fit(overhead=a, dims=dims, rates=rates, kinds=kinds)


def _prior(doublings: np.ndarray, methods: int) -> np.ndarray:
    """Rows: overhead, kinds, methods, and the slope of the rates over each gap between sizes."""
    n = len(doublings) + 1
    widths = np.concatenate([[OVERHEAD], np.full(n, np.inf), np.full(3, KIND), np.full(methods, METHOD)])
    single = np.diag(1 / widths)[np.isfinite(widths)]
    slopes = np.zeros((n - 1, len(widths)))
    slopes[:, 1 : 1 + n] = (np.eye(n)[1:] - np.eye(n)[:-1]) / doublings[:, None] / SLOPE
    return np.concatenate([single, slopes])
