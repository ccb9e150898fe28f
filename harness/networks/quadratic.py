"""The Gaussian family: well specified on Gaussian data, where closed forms apply."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ebmark.api import Network, Rng, added, beside, network
from ebmark.derivatives import Along, Derived
from ebmark.errors import SpecError
from ebmark.layers import linear
from ebmark.modules import GaussianBase


class Quadratic(nn.Module):
    """E(x) = |L'(x - m)|²/2 with a lower triangular L: the Gaussian with mean m and precision L L'."""

    def __init__(self, mean: Tensor, tril: Tensor) -> None:
        super().__init__()
        self.mean = nn.Parameter(mean)
        self.tril = nn.Parameter(tril)

    def forward(self, x: Tensor) -> Tensor:
        """X ``(..., d)`` -> E(x) ``(...)``."""
        return 0.5 * linear(x - beside(self.mean, 1, x), self.tril.tril().mT).square().sum(-1)

    def derive(self, x: Tensor, along: Along | None = None, w: Tensor | None = None) -> Derived:
        """∇E = L L'(x - m), v'∇²E v = |L'v|² and tr ∇²E = |L|²."""
        L = self.tril.tril()
        y = linear(x - beside(self.mean, 1, x), L.mT)
        value, gradient = 0.5 * y.square().sum(-1), linear(y, L)
        if along is None:
            return Derived(value, gradient, None)
        if along.v is None:
            square = L.square().sum((-2, -1))
            return Derived(value, gradient, beside(square, 0, value).expand_as(value))
        curvature = linear(along.v, L.mT).square().sum(-1)
        return Derived(value, gradient, curvature.sum(-1) if along.total else curvature, along.v.shape[-2])

    def log_z(self) -> Tensor:
        """Log Z ``()``: ½ d log 2π - log |det L|."""
        log_det = self.tril.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
        return 0.5 * self.mean.shape[-1] * math.log(2 * math.pi) - log_det


@network("quadratic")
class QuadraticNetwork(Network):
    """A Gaussian with free mean and precision; starts as N(0, (start s)² I), s² the data's mean variance.

    Attributes:
        start: initial standard deviation in units of s; at 1 data of condition 1 are met before any training.
        base: add the Gaussian base term |x - mu|²/(2 s²); the family then has precisions above 1/s².
    """

    base: bool = False
    start: float = added(1.0)

    def __post_init__(self) -> None:
        if not 0 < self.start < math.inf:
            raise SpecError(f"quadratic.start: {self.start} given; allowed: a finite positive number")

    @property
    def known_z(self) -> bool:  # type: ignore[override]  # follows the settings here
        """Whether log Z has a closed form: with the base term it is left to the lattice."""
        return not self.base

    def build(self, data: Tensor, rng: Rng) -> nn.Module:
        """The energy for data like ``data (n, d)``."""
        d = data.shape[-1]
        inverse_sd = (data.var(0).mean().rsqrt() / self.start) * torch.eye(d).to(data)
        f = Quadratic(data.new_zeros(d), inverse_sd)
        return GaussianBase(f, data) if self.base else f
