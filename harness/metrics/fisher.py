r"""Fisher divergence of the model from the truth, on held-out points.

    F = ½ E_p ‖s_θ(x) - s(x)‖²

It needs neither Z nor samples. It sees the shape of the model where the data are and hardly the weights of
modes: never read it alone.

Reference: Hyvärinen, Estimation of non-normalized statistical models by score matching, JMLR 6, 2005.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Evaluation, Metric, Value, metric
from ebmark.ops import value_and_gradient


@metric("fisher")
class FisherDivergence(Metric):
    """Half the mean squared distance of the scores; None where the truth has no density or no score."""

    needs = ("density",)

    def measure(self, at: Evaluation) -> Value | None:
        """The value with the standard error of the test mean."""
        if not (at.dataset.exact and at.dataset.smooth):
            return None
        E, gradient = value_and_gradient(at.energy, at.test)
        # An energy that is NaN on a region may still have a finite gradient there.
        s = -gradient.where(E.isfinite()[..., None], torch.nan)
        return fisher_divergence(s, at.true_score())

    def gaussian_value(self, m: float, k: float, d: int) -> float:
        """½ ((k - 1)² d + k² m²)."""
        return 0.5 * ((k - 1) ** 2 * d + k**2 * m**2)


def fisher_divergence(model: Tensor, true: Tensor) -> Value:
    """½ mean ‖model - true‖² of scores ``(n, d)``; NaN and not trusted where one is not finite."""
    terms = 0.5 * (model.double() - true.double()).square().sum(-1)
    mean = terms.mean().item()
    # It is finite only where every term is.
    if not math.isfinite(mean) and (bad := int((~torch.isfinite(terms)).sum())):
        reason = f"the score is not finite at {bad} of {len(terms)} test points"
        return Value(value=math.nan, trusted=False, reasons=reason)
    return Value(value=mean, se=terms.std().item() / math.sqrt(len(terms)))
