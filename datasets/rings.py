"""Concentric rings with noise.

Reference: Grathwohl et al., FFJORD, ICLR 2019, https://arxiv.org/abs/1810.01367, for the four rings.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Rng, dataset
from ebmark.datasets.tabulated import Tabulated
from ebmark.errors import SpecError

RADII = (0.75, 1.5, 2.25, 3.0)
MARGIN = 10.0  # beyond the largest radius, in standard deviations


@dataset("rings")
class Rings(Tabulated):
    """A point uniform on one of four circles of radii ¾, 1½, 2¼ and 3, each equally likely, plus N(0, sd² I).

    A circle of radius R smoothed so has the density I₀(rR/sd²) exp(-(r² + R²)/(2 sd²))/(2π sd²).

    Attributes:
        sd: standard deviation of the noise.
    """

    dim = 2
    sd: float = 0.08

    def __post_init__(self) -> None:
        if type(self.sd) not in (int, float) or not 0.01 <= self.sd <= 10:
            raise SpecError(f"rings.sd: {self.sd!r} given; allowed: a number from 0.01 to 10")

    def _log_weight(self, t: Tensor) -> Tensor:
        """Of the distance from the origin, up to 2π."""
        return t.log() + self._radial(t)

    def _interval(self) -> tuple[float, float]:
        return 0.0, RADII[-1] + MARGIN * self.sd

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent samples ``(n, 2)``."""
        radii = torch.tensor(RADII, dtype=rng.dtype, device=rng.device)
        r = radii[rng.integers(len(RADII), (n,))]
        angle = 2 * math.pi * rng.uniform((n,))
        ring: Tensor = r[:, None] * torch.stack([angle.cos(), angle.sin()], -1)
        return ring + self.sd * rng.normal((n, 2))

    def _rings(self, r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The radii ``(4,)``, R r/sd² ``(..., 4)`` and the log-density of each ring there."""
        R = torch.tensor(RADII, dtype=r.dtype, device=r.device)
        reach = r[..., None] * R / self.sd**2
        # log I₀(z) is log i0e(z) + z, and z completes the square.
        log_p = torch.special.i0e(reach).log() - 0.5 * ((r[..., None] - R) / self.sd).square()
        return R, reach, log_p

    def _radial(self, r: Tensor) -> Tensor:
        """The log-density at distance ``r`` from the origin."""
        log_p: Tensor = self._rings(r)[2].logsumexp(-1)
        return log_p - math.log(2 * math.pi * self.sd**2 * len(RADII))

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density ``(...)`` of ``x (..., 2)``."""
        return self._radial(x.norm(dim=-1))

    def score(self, x: Tensor) -> Tensor:
        """(Σ w R I₁/I₀ - r)/sd² along x/r ``(..., 2)``, w the posterior weights of the rings."""
        r = x.norm(dim=-1)
        R, reach, log_p = self._rings(r)
        ratio = torch.special.i1e(reach) / torch.special.i0e(reach)
        pull = (log_p.softmax(-1) * ratio * R).sum(-1)
        push: Tensor = (pull - r) / self.sd**2 / r.clamp(min=1e-30)
        return push[..., None] * x

    @property
    def entropy(self) -> float:
        """In nats, by quadrature over the radius."""
        return -self._law().mean(self._radial)
