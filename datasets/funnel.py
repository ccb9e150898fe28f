"""Neal's funnel: the scale of all coordinates depends on one, so that no single step size fits.

Reference: Neal, Slice sampling, Annals of Statistics 31(3), 2003, https://doi.org/10.1214/aos/1056562461
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Dataset, Rng, dataset
from ebmark.errors import SpecError


@dataset("funnel")
class Funnel(Dataset):
    """The first coordinate is v ~ N(0, sd²); given it the others are independent N(0, e^v).

    Attributes:
        dim: dimension d, v included.
        sd: of v; at the published 3 the others' scale spans a factor of 400 between v = -6 and v = 6.
    """

    dim: int = 10
    sd: float = 3.0

    def __post_init__(self) -> None:
        if type(self.dim) is not int or self.dim < 2:
            raise SpecError(f"funnel.dim: {self.dim!r} given; allowed: an integer of at least 2")
        # Beyond 5 the squares of float32 overflow within the samples.
        if type(self.sd) not in (int, float) or not 0 < self.sd <= 5:
            raise SpecError(f"funnel.sd: {self.sd!r} given; allowed: a positive number up to 5")

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent samples ``(n, d)``."""
        z = rng.normal((n, self.dim))
        v = self.sd * z[:, :1]
        return torch.cat([v, (0.5 * v).exp() * z[:, 1:]], -1)

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density ``(...)`` of ``x (..., d)``."""
        v, rest = x[..., 0], x[..., 1:]
        log_norm = 0.5 * self.dim * math.log(2 * math.pi) + math.log(self.sd)
        squares = ((-0.5 * v).exp()[..., None] * rest).square().sum(-1)
        return -0.5 * ((v / self.sd).square() + squares + (self.dim - 1) * v) - log_norm

    def score(self, x: Tensor) -> Tensor:
        """The gradient of the log-density ``(..., d)``."""
        v, rest = x[..., :1], x[..., 1:]
        narrow = (-0.5 * v).exp()
        z = narrow * rest
        along = -v / self.sd**2 + 0.5 * (z.square().sum(-1, keepdim=True) - (self.dim - 1))
        return torch.cat([along, -narrow * z], -1)

    @property
    def entropy(self) -> float:
        """d/2 log 2πe + log sd, in nats."""
        return 0.5 * self.dim * math.log(2 * math.pi * math.e) + math.log(self.sd)
