"""The weights of the modes in model samples, where the target's components are known.

    ŵ_k = mean over samples of P(component k | x), by the posterior of the truth

which is unbiased for a perfect model, however much the components overlap. Every sample is shared out among
the components, wherever it lies: what lies near none of them is for precision to see.

Three metrics: ``mode_weights``, the total variation ½ Σ |ŵ_k - w_k|; ``mode_smallest`` and ``mode_largest``,
the smallest and the largest ratio ŵ_k/w_k: 0 for a missing mode, at most 1 and at least 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor

from ebmark.api import Evaluation, Metric, Value, metric
from ebmark.floors import against_truth

# From the estimated weights and the true ones, both (K,): a value and its derivative (K,) in the estimates.
Summary = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@metric("mode_weights")
class ModeWeights(Metric):
    """Total variation of the mode weights, the share of samples that would have to change their mode."""

    needs = ("samples",)

    def measure(self, at: Evaluation) -> Value | None:
        """The value with its error and floor; None where no components are known."""
        return _measured(at, self, total_variation)


@metric("mode_smallest")
class SmallestMode(Metric):
    """The smallest weight of a mode over its true one; 0 where a mode is missing."""

    better = "higher"
    needs = ("samples",)

    def measure(self, at: Evaluation) -> Value | None:
        """The value with its error and floor; None where no components are known."""
        return _measured(at, self, smallest)


@metric("mode_largest")
class LargestMode(Metric):
    """The largest weight of a mode over its true one."""

    needs = ("samples",)

    def measure(self, at: Evaluation) -> Value | None:
        """The value with its error and floor; None where no components are known."""
        return _measured(at, self, largest)


def total_variation(estimate: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """½ Σ |ŵ_k - w_k| and its derivative."""
    gap = estimate - weights
    return 0.5 * gap.abs().sum(), 0.5 * gap.sign()


def smallest(estimate: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest ŵ_k/w_k and its derivative."""
    return _ratio(estimate, weights, int((estimate / weights).argmin()))


def largest(estimate: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The largest ŵ_k/w_k and its derivative."""
    return _ratio(estimate, weights, int((estimate / weights).argmax()))


def _ratio(estimate: Tensor, weights: Tensor, k: int) -> tuple[Tensor, Tensor]:
    slope = weights.new_zeros(len(weights))
    slope[k] = 1 / weights[k]
    return estimate[k] / weights[k], slope


def of_posterior(posterior: Tensor, weights: Tensor, summary: Summary) -> tuple[float, float]:
    """The summary of the mean of ``posterior (n, K)`` and its error by the delta method.

    The samples count as independent. Where the summary has a kink, as at equal weights, the floor's spread is
    the better guide.
    """
    posterior = posterior.double()
    value, slope = summary(posterior.mean(0), weights.to(posterior))
    return value.item(), (posterior @ slope).std().item() / math.sqrt(len(posterior))


def _measured(at: Evaluation, metric: Metric, summary: Summary) -> Value | None:
    weights = at.dataset.weights
    if weights is None:
        return None

    def both(x: Tensor) -> tuple[float, float]:
        return of_posterior(at.dataset.components(x), weights, summary)

    return against_truth(at, metric, lambda a, _: both(a)[0], lambda a, _: both(a)[1])
