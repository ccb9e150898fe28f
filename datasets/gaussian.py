"""A Gaussian with a given condition number and a fixed rotation: conditioning, and no other difficulty."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from ebmark.api import Dataset, Rng, dataset
from ebmark.errors import SpecError


@lru_cache(maxsize=16)
def _factors(dim: int, condition: float, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The rotation Q ``(d, d)``, the same for every seed, and the eigenvalues ``(d,)``, made in float64."""
    square = Rng.of("gaussian", "rotation", dim, dtype=torch.float64).normal((dim, dim))
    Q, R = torch.linalg.qr(square)
    Q = Q * R.diagonal().sign()  # QR leaves the columns' signs open; this choice makes Q uniform on O(d)
    eigenvalues = condition ** torch.linspace(0, 1, dim, dtype=torch.float64)
    return Q.to(device, dtype), eigenvalues.to(device, dtype)


@dataset("gaussian")
class Gaussian(Dataset):
    """N(0, Q diag(geomspace(1, condition, d)) Q').

    Attributes:
        dim: dimension d.
        condition: the covariance's largest eigenvalue; its smallest is 1, and so is the variance at d = 1.
    """

    dim: int = 2
    condition: float = 1.0

    def __post_init__(self) -> None:
        if type(self.dim) is not int or self.dim < 1:
            raise SpecError(f"gaussian.dim: {self.dim!r} given; allowed: an integer of at least 1")
        if type(self.condition) not in (int, float) or not 1 <= self.condition < math.inf:
            raise SpecError(
                f"gaussian.condition: {self.condition!r} given; allowed: a finite number of at least 1"
            )

    def _factors(self, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
        return _factors(self.dim, self.condition, dtype, device)

    @property
    def covariance(self) -> Tensor:
        """The covariance ``(d, d)`` in float64."""
        Q, eigenvalues = self._factors(torch.float64, torch.device("cpu"))
        return (Q * eigenvalues) @ Q.mT

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent samples ``(n, d)``."""
        Q, eigenvalues = self._factors(rng.dtype, rng.device)
        return (rng.normal((n, self.dim)) * eigenvalues.sqrt()) @ Q.mT

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density ``(...)`` of ``x (..., d)``."""
        Q, eigenvalues = self._factors(x.dtype, x.device)
        log_norm = 0.5 * (self.dim * math.log(2 * math.pi) + eigenvalues.log().sum())
        return -0.5 * ((x @ Q).square() / eigenvalues).sum(-1) - log_norm

    def score(self, x: Tensor) -> Tensor:
        """-Σ⁻¹x ``(..., d)``."""
        Q, eigenvalues = self._factors(x.dtype, x.device)
        return -((x @ Q) / eigenvalues) @ Q.mT

    @property
    def entropy(self) -> float:
        """½ log det(2πe Σ), in nats."""
        _, eigenvalues = self._factors(torch.float64, torch.device("cpu"))
        return 0.5 * (self.dim * math.log(2 * math.pi * math.e) + eigenvalues.log().sum().item())
