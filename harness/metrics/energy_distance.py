r"""Energy distance between model samples and held-out points, by an unbiased estimate.

    D = 2 E‖x - y‖ - E‖x - x'‖ - E‖y - y'‖

It has no bandwidth to choose. Some libraries give the square root of D, or a biased estimate that is never
below zero.

Reference: Székely and Rizzo, Energy statistics: a class of statistics based on distances, J. Statist. Plann.
Inference 143(8), 2013.
"""

from __future__ import annotations

from torch import Tensor

from ebmark.api import Evaluation, Metric, Value, metric
from ebmark.floors import against_truth
from ebmark.pairs import u_statistic, u_statistic_error


@metric("energy_distance")
class EnergyDistance(Metric):
    """D, in the data's units, by a U-statistic: often a little below zero where model and truth agree."""

    needs = ("samples",)

    def measure(self, at: Evaluation) -> Value:
        """The value with its standard error (see ``u_statistic_error``) and its floor."""
        return against_truth(at, self, energy_distance, energy_distance_error)


def energy_distance(a: Tensor, b: Tensor) -> float:
    """The U-statistic of D between ``a (n, d)`` and ``b (m, d)``."""
    return u_statistic(a, b, _closeness)


def energy_distance_error(a: Tensor, b: Tensor) -> float:
    """Standard error of ``energy_distance``."""
    return u_statistic_error(a, b, _closeness)


def _closeness(squares: Tensor) -> Tensor:
    return squares.sqrt_().neg_()
