"""Divergence of truth from the model as its method normalises it: no log Z is estimated.

    E_p[log p(x) + E(x)] + c,    c the method's own log Z: a learned constant, or a bound

Where a ratio p/q is learned, KL(p | q) minus this is the estimate of KL(p | q) that the ratio gives: its mean
logarithm over data. Below zero where c is too small, since exp(-E - c) has a mass above 1 then.
"""

from __future__ import annotations

import math

import torch

from ebmark.api import Evaluation, Metric, Value, mean_value, metric


@metric("kl_own")
class OwnKullbackLeibler(Metric):
    """The mean over test points; None where the truth has no density or the method holds no log Z."""

    unit = "nats"
    needs = ("density",)

    def measure(self, at: Evaluation) -> Value | None:
        """The value with the errors of the test mean and of the method's log Z; NaN where E is not finite."""
        c = at.own_log_z()
        if c is None or not at.dataset.exact:
            return None
        with torch.no_grad():
            terms = at.true_log_prob().double() + at.energy(at.test).double() + c.value
        if bad := int((~torch.isfinite(terms)).sum()):
            reason = f"not finite at {bad} of {len(terms)} test points"
            return Value(value=math.nan, trusted=False, reasons=reason)
        mean = mean_value(terms)
        return Value(value=mean.value, se=mean.se if math.isnan(c.se) else math.hypot(mean.se, c.se))
