"""Two Gaussians at known places with an unknown weight: one parameter, and a normaliser that is known."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from ebmark.api import Network, Rng, beside, network
from ebmark.derivatives import Along, Derived
from ebmark.errors import SpecError


class TwoWeights(nn.Module):
    """E(x) = -log(w N(x; -m u, I) + (1 - w) N(x; m u, I)), u = (1, ..., 1)/√d, w = sigmoid(gain θ)."""

    def __init__(self, theta: Tensor, m: float, gain: float) -> None:
        super().__init__()
        self.theta = nn.Parameter(theta)
        self.m = m
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        """X ``(..., d)`` -> E(x) ``(...)``."""
        d = x.shape[-1]
        along = x.sum(-1) * (self.m / math.sqrt(d))
        logit = self.gain * beside(self.theta, 0, along)
        # torch.logaddexp has no finite second derivative where its arguments are far apart.
        modes = logsigmoid(logit) - along - logsigmoid(logit - 2 * along)
        return 0.5 * (x.square().sum(-1) + self.m**2 + d * math.log(2 * math.pi)) - modes

    def derive(self, x: Tensor, along: Along | None = None, w: Tensor | None = None) -> Derived:
        """∇E = x - κ(2p - 1) 1 with κ = m/√d and p = sigmoid(2κ 1'x - logit), ∇²E = I - 4κ² p(1 - p) 1 1'."""
        κ = self.m / math.sqrt(x.shape[-1])
        along_u = κ * x.sum(-1)
        p = torch.sigmoid(2 * along_u - self.gain * beside(self.theta, 0, along_u))
        gradient = x - κ * (2 * p - 1).unsqueeze(-1)
        if along is None:
            return Derived(self.forward(x), gradient, None)
        v = along.directions(x)
        bend = 4 * κ**2 * (p * (1 - p)).unsqueeze(-1)
        curvature = v.square().sum(-1) - bend * v.sum(-1).square()
        return Derived(self.forward(x), gradient, curvature.sum(-1) if along.total else curvature)

    def log_z(self) -> Tensor:
        """Log Z ``()``: 0 whatever the weight is."""
        return torch.zeros_like(self.theta)


@network("mixture_weights")
class MixtureWeights(Network):
    """The density of ``two_modes`` with its weight alone to be learned: what separation does to a method.

    Attributes:
        m: half the distance between the modes; that of the data for a family which holds the truth.
        start: the initial weight of the mode at -m u; the same for every seed, and not the data's default.
        gain: units of logit of the weight per unit of the parameter. Adam moves a parameter by its rate at
            most, whatever the gradient; at a gain of 1 a few hundred steps could not reach the truth.
    """

    known_z = True
    m: float = 2.0
    start: float = 0.3
    gain: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.m < math.inf:
            raise SpecError(f"mixture_weights.m: {self.m} given; allowed: a finite number of at least 0")
        if not 0 < self.start < 1:
            raise SpecError(f"mixture_weights.start: {self.start} given; allowed: above 0 and below 1")
        if not 0 < self.gain < math.inf:
            raise SpecError(f"mixture_weights.gain: {self.gain} given; allowed: a finite positive number")

    def build(self, data: Tensor, rng: Rng) -> nn.Module:
        """The energy for data like ``data (n, d)``; nothing is drawn."""
        theta = (math.log(self.start) - math.log1p(-self.start)) / self.gain
        return TwoWeights(data.new_tensor(theta), self.m, self.gain)
