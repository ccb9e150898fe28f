"""Mean negative log-likelihood of held-out points: the mean of E(x) + log Z, in nats."""

from __future__ import annotations

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
