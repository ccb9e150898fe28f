"""Kullback-Leibler divergence of truth from model: the mean over model samples of log p_θ - log p.

    KL(p_θ | p) = -E_{p_θ}[E(x) + log p(x)] - log Z

It sees what the model has where the data are not, which the divergence in the other direction does not; what
the sampler misses it misses too.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch

from ebmark.api import Evaluation, Metric, Value, metric
from ebmark.floors import no_value, normalised_mean, usable_samples


@metric("reverse_kl")
class ReverseKullbackLeibler(Metric):
    """Reverse divergence on the sampler's samples: those of a generator are not of the model's density.

    NaN and not trusted where a sample has no true density: there the divergence is infinite.
    """

    unit = "nats"
    needs = ("density", "log_z", "samples")

    def measure(self, at: Evaluation) -> Value | None:
        """The value with the errors of the mean and of log Z, the samples counted as independent."""
        if not at.dataset.exact or at.source != "smc":
            return None
        samples, reasons = usable_samples(at)
        if samples is None:
            return no_value(at, reasons)
        with torch.no_grad():
            terms = -at.energy(samples).double() - at.dataset.log_prob(samples).double()
        z = at.log_z()
        negated = replace(z, value=-z.value, lo=-z.hi, hi=-z.lo)
        return normalised_mean(terms, negated, points="model samples")

    def gaussian_value(self, m: float, k: float, d: int) -> float:
        """½ d (1/k - 1 + log k) + ½ m²."""
        return 0.5 * d * (1 / k - 1 + math.log(k)) + 0.5 * m**2
