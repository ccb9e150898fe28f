"""Pairs of correlated coordinates: a given mutual information, and an ever wider gap to independent ones.

References: Belghazi et al., Mutual information neural estimation, ICML 2018, for correlated Gaussians as a
benchmark; Rhodes, Xu and Gutmann, Telescoping density-ratio estimation, NeurIPS 2020,
https://arxiv.org/abs/2006.12204, for the values of d and of the information.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Dataset, Rng, dataset
from ebmark.errors import SpecError

SQRT2 = math.sqrt(2)


@dataset("gaussian_pairs")
class GaussianPairs(Dataset):
    """N(0, blocks [[1, ρ], [ρ, 1]]) with ρ = √(1 - exp(-4 MI/d)).

    MI nats are the mutual information of the first and the second coordinates of all pairs, and the KL
    divergence from N(0, I). The published (d, MI) are (40, 10), (80, 20), (160, 40) and (320, 80).

    Attributes:
        dim: dimension d, an even number.
        mi: MI in nats; by default d/4, as published.
    """

    dim: int = 40
    mi: float | None = None

    def __post_init__(self) -> None:
        if type(self.dim) is not int or self.dim < 2 or self.dim % 2:
            raise SpecError(f"gaussian_pairs.dim: {self.dim!r} given; allowed: an even number of at least 2")
        # At 2 d a pair's difference has a standard deviation of 0.013: float32 still resolves it.
        if self.mi is not None and (type(self.mi) not in (int, float) or not 0 <= self.mi <= 2 * self.dim):
            raise SpecError(f"gaussian_pairs.mi: {self.mi!r} given; allowed: a number from 0 to 2 dim")

    @property
    def information(self) -> float:
        """The mutual information in nats."""
        return self.dim / 4 if self.mi is None else self.mi

    @property
    def rho(self) -> float:
        """The correlation ρ of a pair."""
        return math.sqrt(-math.expm1(-4 * self.information / self.dim))

    def _variances(self) -> tuple[float, float]:
        """Those of a pair's sum and difference over √2, 1 + ρ and 1 - ρ; the latter without cancellation."""
        return 1 + self.rho, math.exp(-4 * self.information / self.dim) / (1 + self.rho)

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent samples ``(n, d)``."""
        plus, minus = self._variances()
        z = rng.normal((n, self.dim // 2, 2))
        total, difference = math.sqrt(plus) * z[..., 0], math.sqrt(minus) * z[..., 1]
        return torch.stack([total + difference, total - difference], -1).flatten(-2) / SQRT2

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density ``(...)`` of ``x (..., d)``."""
        plus, minus = self._variances()
        a, b = x[..., 0::2], x[..., 1::2]
        squares = (a + b).square() / (2 * plus) + (a - b).square() / (2 * minus)
        return -0.5 * squares.sum(-1) - 0.5 * self.dim * math.log(2 * math.pi) + self.information

    def score(self, x: Tensor) -> Tensor:
        """-Σ⁻¹x ``(..., d)``."""
        plus, minus = self._variances()
        a, b = x[..., 0::2], x[..., 1::2]
        total, difference = (a + b) / (2 * plus), (a - b) / (2 * minus)
        return -torch.stack([total + difference, total - difference], -1).flatten(-2)

    @property
    def entropy(self) -> float:
        """d/2 log 2πe - MI, in nats."""
        return 0.5 * self.dim * math.log(2 * math.pi * math.e) - self.information
