r"""Maximum mean discrepancy between model samples and held-out points, the unbiased estimate of its square.

    MMD² = E k(x, x') + E k(y, y') - 2 E k(x, y),    k(x, y) = mean over σ of exp(-‖x - y‖²/(2σ²))

The bandwidths σ are half, once and twice the median distance between true samples: they depend on neither
model nor seed, and a single one would be blind to errors of width.

Reference: Gretton et al., A kernel two-sample test, JMLR 13, 2012.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebmark.api import Evaluation, Metric, Value, metric
from ebmark.floors import against_truth
from ebmark.pairs import MEDIAN_POINTS, Kernel, median_distance, u_statistic, u_statistic_error

SCALES = (0.5, 1.0, 2.0)  # bandwidths in units of the median distance


@metric("mmd")
class MaximumMeanDiscrepancy(Metric):
    """MMD² by a U-statistic: often a little below zero where model and truth agree, skewed to the right."""

    needs = ("samples",)

    def measure(self, at: Evaluation) -> Value:
        """The value with its standard error (see ``u_statistic_error``) and its floor."""
        truth, _ = at.true_pair(0, MEDIAN_POINTS)
        bandwidths = median_distance(truth) * torch.tensor(SCALES, dtype=truth.dtype)
        return against_truth(
            at, self, lambda a, b: mmd2(a, b, bandwidths), lambda a, b: mmd2_error(a, b, bandwidths)
        )


def mmd2(a: Tensor, b: Tensor, bandwidths: Tensor) -> float:
    """The U-statistic of MMD² between ``a (n, d)`` and ``b (m, d)``, averaged over ``bandwidths (s,)``."""
    return u_statistic(a, b, _mixture(bandwidths))


def mmd2_error(a: Tensor, b: Tensor, bandwidths: Tensor) -> float:
    """Standard error of ``mmd2`` (see ``u_statistic_error``)."""
    return u_statistic_error(a, b, _mixture(bandwidths))


def _mixture(bandwidths: Tensor) -> Kernel:
    """The mean of the Gaussian kernels over ``bandwidths (s,)``, of squared distances."""

    def kernel(squares: Tensor) -> Tensor:
        total = torch.zeros_like(squares)
        for σ in bandwidths.tolist():
            total += (squares * (-0.5 / σ**2)).exp_()
        return total / len(bandwidths)

    return kernel
