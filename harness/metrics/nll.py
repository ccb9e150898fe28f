"""Mean negative log-likelihood of held-out points: the mean of E(x) + log Z, in nats."""

from __future__ import annotations

import math

import torch

from ebmark.api import Evaluation, Metric, Value, metric
from ebmark.floors import normalised_mean


@metric("nll")
class NegativeLogLikelihood(Metric):
    """Negative log-likelihood; only as trustworthy as log Z, whose doubts it carries."""

    unit = "nats"
    needs = ("log_z",)

    def measure(self, at: Evaluation) -> Value:
        """The value; its standard error joins the test mean's and log Z's (root of the sum of squares)."""
        with torch.no_grad():
            E = at.energy(at.test).double()
        return normalised_mean(E, at.log_z())

    def gaussian_value(self, m: float, k: float, d: int) -> float:
        """½ d log(2π/k) + ½ k (d + m²)."""
        return 0.5 * d * math.log(2 * math.pi / k) + 0.5 * k * (d + m**2)
