r"""Maximum mean discrepancy between model samples and held-out points, the unbiased estimate of its square.

    MMD² = E k(x, x') + E k(y, y') - 2 E k(x, y),    k(x, y) = mean over σ of exp(-‖x - y‖²/(2σ²))

The bandwidths σ are half, once and twice the median distance between true samples: they depend on neither
model nor seed, and a single one would be blind to errors of width.

Reference: Gretton et al., A kernel two-sample test, JMLR 13, 2012.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Evaluation, Metric, Value, metric
from ebmark.floors import against_truth

MEDIAN_POINTS = 1000  # the median of half a million distances
CHUNK = 128  # rows of the kernel at a time: what stays in the cache
SCALES = (0.5, 1.0, 2.0)  # bandwidths in units of the median distance


@metric("mmd")
class MaximumMeanDiscrepancy(Metric):
    """MMD² by a U-statistic: often a little below zero where model and truth agree, skewed to the right."""

    needs = ("samples",)

    def measure(self, at: Evaluation) -> Value:
        """The value with its standard error (see ``mmd2_error``) and its floor."""
        truth, _ = at.true_pair(0, MEDIAN_POINTS)
        bandwidths = median_distance(truth) * torch.tensor(SCALES, dtype=truth.dtype)
        return against_truth(
            at, self, lambda a, b: mmd2(a, b, bandwidths), lambda a, b: mmd2_error(a, b, bandwidths)
        )


def median_distance(x: Tensor) -> float:
    """The lower median of the distances among the first 1000 rows of ``x (n, d)``."""
    return torch.pdist(x[:MEDIAN_POINTS]).median().item()


def mmd2(a: Tensor, b: Tensor, bandwidths: Tensor) -> float:
    """The U-statistic of MMD² between ``a (n, d)`` and ``b (m, d)``, averaged over ``bandwidths (s,)``."""
    aa, bb, ab, _ = _means(a, b, bandwidths)
    return (aa.mean() + bb.mean() - 2 * ab.mean()).item()


def mmd2_error(a: Tensor, b: Tensor, bandwidths: Tensor) -> float:
    """Standard error of ``mmd2`` from its first-order (Hoeffding) projections.

    Both samples count as independent points. Between equal laws the first order vanishes, and what is left in
    the projections makes the error √2 times too large: there the floor's spread is the better guide.

    Reference: Serfling, Approximation theorems of mathematical statistics, 1980, section 5.
    """
    aa, bb, ab, ba = _means(a, b, bandwidths)
    return 2 * math.sqrt((aa - ab).var().item() / len(a) + (bb - ba).var().item() / len(b))


def _means(a: Tensor, b: Tensor, bandwidths: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each point's mean kernel with the rest of its own sample (aa, bb) and with the other one (ab, ba)."""
    n, m = len(a), len(b)
    centre = b.mean(0)  # distances by matrix products lose digits far from the origin
    a, b = a - centre, b - centre
    aa, _ = _kernel_sums(a, a, bandwidths)
    bb, _ = _kernel_sums(b, b, bandwidths)
    ab, ba = _kernel_sums(a, b, bandwidths)
    return (aa - 1) / (n - 1), (bb - 1) / (m - 1), ab / m, ba / n  # a point's kernel with itself is 1


def _kernel_sums(a: Tensor, b: Tensor, bandwidths: Tensor) -> tuple[Tensor, Tensor]:
    """Row sums ``(n,)`` and column sums ``(m,)`` of the kernel between ``a (n, d)`` and ``b (m, d)``."""
    rows, columns = [], torch.zeros(len(b), dtype=torch.float64, device=b.device)
    lengths = b.square().sum(-1)
    for x in torch.split(a, CHUNK):
        squares = (x.square().sum(-1)[:, None] + lengths - 2 * x @ b.mT).clamp_(min=0)
        kernel = torch.zeros_like(squares)
        for σ in bandwidths.tolist():
            kernel += (squares * (-0.5 / σ**2)).exp_()
        kernel /= len(bandwidths)
        rows.append(kernel.sum(1, dtype=torch.float64))
        columns += kernel.sum(0, dtype=torch.float64)
    return torch.cat(rows), columns
