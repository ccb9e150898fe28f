"""Two unit Gaussians at a given distance: the separation of modes, independent of the dimension."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from ebmark.api import Dataset, Rng, dataset
from ebmark.errors import SpecError


@lru_cache
def _entropy_along(m: float, weight: float) -> float:
    """The entropy of w N(-m, 1) + (1 - w) N(m, 1), by the trapezoidal rule around each mode."""
    z = torch.linspace(-10, 10, 4001, dtype=torch.float64)
    phi = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    total = 0.0
    for w, centre in ((weight, -m), (1 - weight, m)):
        total -= w * torch.trapezoid(phi * _log_prob_along(centre + z, m, weight), z).item()
    return total


def _log_prob_along(t: Tensor, m: float, weight: float) -> Tensor:
    """The log-density of w N(-m, 1) + (1 - w) N(m, 1) at ``t (...)``."""
    left = math.log(weight) - 0.5 * (t + m).square()
    right = math.log1p(-weight) - 0.5 * (t - m).square()
    return torch.logaddexp(left, right) - 0.5 * math.log(2 * math.pi)


@dataset("two_modes")
class TwoModes(Dataset):
    """w N(-m u, I) + (1 - w) N(m u, I) with u = (1, ..., 1)/√d.

    Across u the density is a standard Gaussian, so that nothing but m decides how far the modes are apart.

    Attributes:
        dim: dimension d.
        m: half the distance between the modes, in their standard deviation.
        weight: w, the weight of the mode at -m u.
    """

    dim: int = 2
    m: float = 2.0
    weight: float = 0.5

    def __post_init__(self) -> None:
        if type(self.dim) is not int or self.dim < 1:
            raise SpecError(f"two_modes.dim: {self.dim!r} given; allowed: an integer of at least 1")
        if type(self.m) not in (int, float) or not 0 <= self.m < math.inf:
            raise SpecError(f"two_modes.m: {self.m!r} given; allowed: a finite number of at least 0")
        if type(self.weight) not in (int, float) or not 0 < self.weight < 1:
            raise SpecError(f"two_modes.weight: {self.weight!r} given; allowed: above 0 and below 1")

    def _along(self, x: Tensor) -> Tensor:
        """The coordinate t = u'x ``(...)``."""
        return x.sum(-1) / math.sqrt(self.dim)

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent samples ``(n, d)``."""
        side = 1 - 2 * (rng.uniform((n, 1)) < self.weight).to(rng.dtype)
        return rng.normal((n, self.dim)) + side * (self.m / math.sqrt(self.dim))

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density ``(...)`` of ``x (..., d)``."""
        t = self._along(x)
        across = (x - (t / math.sqrt(self.dim))[..., None]).square().sum(-1)
        log_norm = 0.5 * (self.dim - 1) * math.log(2 * math.pi)
        return _log_prob_along(t, self.m, self.weight) - 0.5 * across - log_norm

    @property
    def weights(self) -> Tensor:
        """The weights ``(2,)`` of the modes at -m u and at m u in float64."""
        return torch.tensor([self.weight, 1 - self.weight], dtype=torch.float64)

    def _log_odds(self, x: Tensor) -> Tensor:
        """The log-odds ``(...)`` that a point is of the mode at m u."""
        return 2 * self.m * self._along(x) + math.log1p(-self.weight) - math.log(self.weight)

    def components(self, x: Tensor) -> Tensor:
        """The posterior probability of each mode ``(..., 2)``."""
        odds = self._log_odds(x)
        return torch.stack([torch.sigmoid(-odds), torch.sigmoid(odds)], -1)

    def score(self, x: Tensor) -> Tensor:
        """-x + m (r₊ - r₋) u ``(..., d)``, r± the posterior probabilities of the modes."""
        return -x + (self.m / math.sqrt(self.dim)) * torch.tanh(0.5 * self._log_odds(x))[..., None]

    @property
    def entropy(self) -> float:
        """In nats: along u by quadrature, across u in closed form."""
        return _entropy_along(self.m, self.weight) + 0.5 * (self.dim - 1) * math.log(2 * math.pi * math.e)
