"""The Gaussian family: well specified on Gaussian data, where closed forms apply."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ebmark.api import Network, Rng, beside, network
from ebmark.modules import GaussianBase, linear


class Quadratic(nn.Module):
    """E(x) = |L'(x - m)|²/2 with a lower triangular L: the Gaussian with mean m and precision L L'."""

    def __init__(self, mean: Tensor, tril: Tensor) -> None:
        super().__init__()
        self.mean = nn.Parameter(mean)
        self.tril = nn.Parameter(tril)

    def forward(self, x: Tensor) -> Tensor:
        """X ``(..., d)`` -> E(x) ``(...)``."""
        return 0.5 * linear(x - beside(self.mean, 1, x), self.tril.tril().mT).square().sum(-1)

    def log_z(self) -> Tensor:
        """Log Z ``()``: ½ d log 2π - log |det L|."""
        log_det = self.tril.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1)
        return 0.5 * self.mean.shape[-1] * math.log(2 * math.pi) - log_det


@network("quadratic")
class QuadraticNetwork(Network):
    """A Gaussian with free mean and precision; starts as N(0, s² I) with s² the mean variance of the data.

    Attributes:
        base: add the Gaussian base term |x - mu|²/(2 s²); the family then has precisions above 1/s².
    """

    base: bool = False

    @property
    def known_z(self) -> bool:  # type: ignore[override]  # follows the settings here
        """Whether log Z has a closed form: with the base term it is left to the lattice."""
        return not self.base

    def build(self, data: Tensor, rng: Rng) -> nn.Module:
        """The energy for data like ``data (n, d)``."""
        d = data.shape[-1]
        start = data.var(0).mean().rsqrt() * torch.eye(d, dtype=data.dtype, device=data.device)
        f = Quadratic(data.new_zeros(d), start)
        return GaussianBase(f, data) if self.base else f
