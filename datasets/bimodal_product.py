"""Independent coordinates with two modes each: 2^d modes, of which a Gaussian noise covers ever less."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ebmark.api import Dataset, Rng, dataset
from ebmark.errors import SpecError


@lru_cache
def _mode_information(t: float) -> float:
    """What is known of the mode, log 2 - H(mode | x), at modes ±t of unit variance; by the trapezoidal rule.

    E log(1 + e^(-2 t y)) over y ~ N(t, 1) is the mode's entropy given y.
    """
    z = torch.linspace(-10, 10, 4001, dtype=torch.float64)
    phi = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    return math.log(2) - torch.trapezoid(phi * softplus(-2 * t * (z + t)), z).item()


@dataset("bimodal_product")
class BimodalProduct(Dataset):
    """The product of d copies of ½ N(-m, sd²) + ½ N(m, sd²).

    Attributes:
        dim: dimension d.
        m: half the distance between a coordinate's modes.
        sd: standard deviation of each mode.
    """

    dim: int = 2
    m: float = 2.0
    sd: float = 1.0

    def __post_init__(self) -> None:
        if type(self.dim) is not int or self.dim < 1:
            raise SpecError(f"bimodal_product.dim: {self.dim!r} given; allowed: an integer of at least 1")
        if type(self.m) not in (int, float) or not 0 <= self.m < math.inf:
            raise SpecError(f"bimodal_product.m: {self.m!r} given; allowed: a finite number of at least 0")
        if type(self.sd) not in (int, float) or not 0 < self.sd < math.inf:
            raise SpecError(f"bimodal_product.sd: {self.sd!r} given; allowed: a finite positive number")

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent samples ``(n, d)``."""
        return self.m * rng.sign((n, self.dim)) + self.sd * rng.normal((n, self.dim))

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density ``(...)`` of ``x (..., d)``."""
        z, t = x / self.sd, self.m / self.sd
        each = torch.logaddexp(-0.5 * (z - t).square(), -0.5 * (z + t).square())
        return each.sum(-1) - self.dim * math.log(2 * self.sd * math.sqrt(2 * math.pi))

    def score(self, x: Tensor) -> Tensor:
        """(m tanh(m x/sd²) - x)/sd² ``(..., d)``."""
        return (self.m * torch.tanh(self.m * x / self.sd**2) - x) / self.sd**2

    @property
    def entropy(self) -> float:
        """In nats: d times that of a coordinate, a Gaussian's and by quadrature the mode's share."""
        gaussian = 0.5 * math.log(2 * math.pi * math.e) + math.log(self.sd)
        return self.dim * (gaussian + _mode_information(self.m / self.sd))
