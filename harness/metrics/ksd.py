"""Kernel Stein discrepancy of model samples from the model's own density: did the sampler arrive?

    KSD² = mean over i ≠ j of  s_i's_j κ + s_i'∇_y κ + s_j'∇_x κ + tr ∇_x∇_y κ,    s = -∇E_θ

at samples (x_i, x_j), with the inverse multiquadric κ(x, y) = (1 + ‖x - y‖²/ℓ²)^(-½).

A diagnostic of the sampler and no measure of the model: the truth does not enter. It is blind to missing
modes and to the weights of modes that lie apart, for every mode by itself has the right score: zero is
necessary and not enough.

Reference: Gorham and Mackey, Measuring sample quality with kernels, ICML 2017.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Evaluation, Metric, Value, metric
from ebmark.floors import floor, joined, no_value, sampled, usable_samples
from ebmark.ops import score
from ebmark.pairs import MEDIAN_POINTS, median_distance, square_distances


@metric("ksd")
class SamplerDiagnostic(Metric):
    """KSD² of the samples by a U-statistic, ℓ the median distance of true samples; near zero for good ones.

    Its floor is that of true samples with the true score; there is none where that is not known.
    """

    needs = ("samples",)
    ranks = False

    def measure(self, at: Evaluation) -> Value:
        """The value with its standard error; NaN where the score is not finite."""
        x, reasons = usable_samples(at)
        if x is None:
            return no_value(at, reasons)
        with torch.no_grad():
            s = score(at.energy, x)
        if bad := int((~s.isfinite().all(-1)).sum()):
            return no_value(at, joined(reasons, f"the score is not finite at {bad} of {len(x)} samples"))
        length = median_distance(at.true_pair(0, MEDIAN_POINTS)[0])
        of_truth = math.nan, math.nan
        if at.dataset.exact and at.dataset.smooth:
            of_truth = floor(at, self, len(x), lambda a, _: ksd2(a, at.dataset.score(a), length)[0])
        return sampled(at, *ksd2(x, s, length), of_truth, reasons)


def ksd2(x: Tensor, s: Tensor, length: float) -> tuple[float, float]:
    """KSD² of ``x (n, d)`` with scores ``s (n, d)`` and its standard error, from first-order projections.

    The points count as independent. The first order vanishes for good samples, where the error is √2 times
    too large.
    """
    n, d = x.shape
    x, s = (x - x.mean(0)).double(), s.double()
    squares, xs = square_distances(x, x), x @ s.mT
    mixed = xs.diagonal()[:, None] + xs.diagonal() - xs - xs.mT  # (s_i - s_j)'(x_i - x_j)
    κ = (1 + squares / length**2).rsqrt()
    stein = κ * (s @ s.mT) + κ**3 / length**2 * (mixed + d - 3 * κ**2 * squares / length**2)
    means = stein.fill_diagonal_(0).sum(1) / (n - 1)
    return means.mean().item(), 2 * means.std().item() / math.sqrt(n)
