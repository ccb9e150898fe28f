"""A thin shell: mass around a sphere and none inside, a support that is not convex."""

from __future__ import annotations

import math

from torch import Tensor

from ebmark.api import Rng, dataset
from ebmark.datasets.tabulated import Tabulated
from ebmark.errors import SpecError


@dataset("shell")
class Shell(Tabulated):
    """p(x) ∝ exp(-(|x| - radius)²/(2 sd²)).

    Above d = 1 + (radius/sd)² the volume outside pulls the radius's mode away from ``radius``.

    Attributes:
        dim: dimension d.
        radius: of the sphere on which the density is highest.
        sd: width of the shell.
    """

    dim: int = 2
    radius: float = 4.0
    sd: float = 0.3

    def __post_init__(self) -> None:
        if type(self.dim) is not int or self.dim < 1:
            raise SpecError(f"shell.dim: {self.dim!r} given; allowed: an integer of at least 1")
        for key in ("radius", "sd"):
            value = getattr(self, key)
            if type(value) not in (int, float) or not 0 < value < math.inf:
                raise SpecError(f"shell.{key}: {value!r} given; allowed: a finite positive number")

    def _fall(self, r: Tensor) -> Tensor:
        """The energy at distance ``r`` from the origin."""
        return 0.5 * ((r - self.radius) / self.sd).square()

    def _log_weight(self, t: Tensor) -> Tensor:
        """Of the radius: (d - 1) log r - energy."""
        return (self.dim - 1) * t.log() - self._fall(t) if self.dim > 1 else -self._fall(t)

    def _interval(self) -> tuple[float, float]:
        """Ten widths around the mode; the curvature of the log-density is everywhere above 1/sd²."""
        mode = 0.5 * (self.radius + math.sqrt(self.radius**2 + 4 * (self.dim - 1) * self.sd**2))
        return max(0.0, mode - 10 * self.sd), mode + 10 * self.sd

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent samples ``(n, d)``: a radius, and a direction uniform on the sphere."""
        r = self._law(rng.device).sample((n, 1), rng).to(rng.dtype)
        z = rng.normal((n, self.dim))
        x: Tensor = r * z / z.norm(dim=-1, keepdim=True)
        return x

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density ``(...)`` of ``x (..., d)``."""
        return -self._fall(x.norm(dim=-1)) - self.log_z

    def score(self, x: Tensor) -> Tensor:
        """(radius/|x| - 1) x/sd² ``(..., d)``; 0 at the origin, where the density has a kink."""
        r = x.norm(dim=-1, keepdim=True)
        pull: Tensor = (self.radius - r) / self.sd**2 / r.clamp(min=1e-30)
        return pull * x

    @property
    def log_z(self) -> float:
        """The log-normaliser of exp(-energy): that of the radius, and the area of the unit sphere."""
        d = self.dim
        return self._law().log_z + math.log(2) + 0.5 * d * math.log(math.pi) - math.lgamma(0.5 * d)

    @property
    def entropy(self) -> float:
        """E[energy] + log Z, in nats."""
        return self._law().mean(self._fall) + self.log_z
