"""The multivariate t distribution: tails that fall as a power, round in every dimension.

Reference: Kotz and Nadarajah, Multivariate t distributions and their applications, Cambridge University
Press, 2004.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Dataset, Rng, dataset
from ebmark.errors import SpecError


@dataset("student")
class Student(Dataset):
    """The law of z/√(χ²/df) with z ~ N(0, I) and χ² of df degrees of freedom, shared by all coordinates.

    Moments below the order df exist: with 3 the variance is 3 in every coordinate, and there is no kurtosis.

    Attributes:
        dim: dimension d.
        df: degrees of freedom; at 1 and 2 there is no variance.
    """

    dim: int = 2
    df: int = 3

    def __post_init__(self) -> None:
        if type(self.dim) is not int or self.dim < 1:
            raise SpecError(f"student.dim: {self.dim!r} given; allowed: an integer of at least 1")
        if type(self.df) is not int or not 1 <= self.df <= 1000:
            raise SpecError(f"student.df: {self.df!r} given; allowed: an integer from 1 to 1000")

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent samples ``(n, d)``."""
        chi2 = rng.normal((n, self.df)).square().sum(-1, keepdim=True)
        return rng.normal((n, self.dim)) / (chi2 / self.df).sqrt()

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density ``(...)`` of ``x (..., d)``."""
        tail = torch.log1p(x.square().sum(-1) / self.df)
        return -0.5 * (self.df + self.dim) * tail - self._log_norm

    def score(self, x: Tensor) -> Tensor:
        """-(df + d) x/(df + |x|²) ``(..., d)``."""
        return -(self.df + self.dim) * x / (self.df + x.square().sum(-1, keepdim=True))

    @property
    def _log_norm(self) -> float:
        """Log of the integral of (1 + |x|²/df)^(-(df + d)/2)."""
        gammas = math.lgamma(0.5 * self.df) - math.lgamma(0.5 * (self.df + self.dim))
        return 0.5 * self.dim * math.log(self.df * math.pi) + gammas

    @property
    def entropy(self) -> float:
        """(df + d)/2 (ψ((df + d)/2) - ψ(df/2)) and the log-normaliser, in nats."""
        halves = torch.tensor([0.5 * (self.df + self.dim), 0.5 * self.df], dtype=torch.float64)
        fall: float = -torch.digamma(halves).diff().item()
        return 0.5 * (self.df + self.dim) * fall + self._log_norm
