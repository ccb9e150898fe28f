"""Bent Gaussians: curved ridges whose volume, and with it the entropy, is that of the straight ones.

Reference: Haario, Saksman and Tamminen, Adaptive proposal distribution for random walk Metropolis algorithm,
Computational Statistics 14, 1999, https://doi.org/10.1007/s001800050022, for the bend of one pair.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Dataset, Rng, dataset
from ebmark.errors import SpecError


@dataset("banana")
class Banana(Dataset):
    """Pairs (a, b + bend (a² - sd²)) with a ~ N(0, sd²) and b ~ N(0, 1); an odd last coordinate is an a.

    The bend has the determinant 1, and every coordinate has the mean 0.

    Attributes:
        dim: dimension d.
        sd: of the first coordinate of each pair, along the ridge.
        bend: the ridge's curvature.
    """

    dim: int = 2
    sd: float = 2.0
    bend: float = 0.5

    def __post_init__(self) -> None:
        if type(self.dim) is not int or self.dim < 2:
            raise SpecError(f"banana.dim: {self.dim!r} given; allowed: an integer of at least 2")
        if type(self.sd) not in (int, float) or not 0 < self.sd < math.inf:
            raise SpecError(f"banana.sd: {self.sd!r} given; allowed: a finite positive number")
        if type(self.bend) not in (int, float) or not 0 <= self.bend < math.inf:
            raise SpecError(f"banana.bend: {self.bend!r} given; allowed: a finite number of at least 0")

    def _straight(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """A ``(..., ⌈d/2⌉)`` and b ``(..., ⌊d/2⌋)`` of ``x (..., d)``."""
        a = x[..., 0::2]
        return a, x[..., 1::2] - self._shift(a)

    def _shift(self, a: Tensor) -> Tensor:
        return self.bend * (a[..., : self.dim // 2].square() - self.sd**2)

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent samples ``(n, d)``."""
        x = rng.normal((n, self.dim))
        x[:, 0::2] *= self.sd
        x[:, 1::2] += self._shift(x[:, 0::2])
        return x

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density ``(...)`` of ``x (..., d)``."""
        a, b = self._straight(x)
        squares = (a / self.sd).square().sum(-1) + b.square().sum(-1)
        return -0.5 * squares - 0.5 * self.dim * math.log(2 * math.pi) - self._log_scale

    def score(self, x: Tensor) -> Tensor:
        """The gradient of the log-density ``(..., d)``."""
        a, b = self._straight(x)
        s = torch.empty_like(x)
        s[..., 0::2] = -a / self.sd**2
        s[..., 0 : 2 * (self.dim // 2) : 2] += 2 * self.bend * a[..., : self.dim // 2] * b
        s[..., 1::2] = -b
        return s

    @property
    def _log_scale(self) -> float:
        return (self.dim + 1) // 2 * math.log(self.sd)

    @property
    def entropy(self) -> float:
        """That of the straight Gaussian, in nats."""
        return 0.5 * self.dim * math.log(2 * math.pi * math.e) + self._log_scale
