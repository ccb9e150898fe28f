"""Kullback-Leibler divergence of model from truth: the mean over held-out points of log p - log p_θ."""

from __future__ import annotations

import math

import torch

from ebmark.api import Evaluation, Metric, Value, metric
from ebmark.floors import normalised_mean


@metric("kl")
class KullbackLeibler(Metric):
    """KL(p | p_θ) = E_p[log p(x) + E(x)] + log Z; the difference is taken point by point, so errors cancel.

    An estimate: near the truth it may be a little below zero, within its standard error.
    """

    unit = "nats"
    needs = ("density", "log_z")

    def measure(self, at: Evaluation) -> Value | None:
        """The value with the errors of the test mean and of log Z; None where the truth has no density."""
        if not at.dataset.exact:
            return None
        with torch.no_grad():
            terms = at.true_log_prob().double() + at.energy(at.test).double()
        return normalised_mean(terms, at.log_z())

    def gaussian_value(self, m: float, k: float, d: int) -> float:
        """½ d (k - 1 - log k) + ½ k m²."""
        return 0.5 * d * (k - 1 - math.log(k)) + 0.5 * k * m**2
