"""Mean squared error of the centred log-density, on held-out points.

    the variance over x ~ p of log p(x) + E(x)

Centring takes out log Z: it needs neither Z nor samples, and unlike the Fisher divergence it sees the weights
of modes. It sees nothing of where the data are not.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Evaluation, Metric, Value, metric


@metric("log_density_mse")
class LogDensityError(Metric):
    """The unbiased variance of log p + E; None where the truth has no density."""

    unit = "nats²"
    needs = ("density",)

    def measure(self, at: Evaluation) -> Value | None:
        """The value with the standard error of a sample variance."""
        if not at.dataset.exact:
            return None
        with torch.no_grad():
            gap = at.true_log_prob().double() + at.energy(at.test).double()
        return variance(gap)

    def gaussian_value(self, m: float, k: float, d: int) -> float:
        """½ d (k - 1)² + k² m²."""
        return 0.5 * d * (k - 1) ** 2 + k**2 * m**2


def variance(gap: Tensor) -> Value:
    """The variance of ``gap (n,)`` with its error; NaN and not trusted where an entry is not finite."""
    if bad := int((~torch.isfinite(gap)).sum()):
        reason = f"not finite at {bad} of {len(gap)} test points"
        return Value(value=math.nan, trusted=False, reasons=reason)
    squares = (gap - gap.mean()).square()  # the influence of a point on the variance is its square
    return Value(value=gap.var().item(), se=squares.std().item() / math.sqrt(len(gap)))
