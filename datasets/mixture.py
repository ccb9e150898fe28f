"""Mixtures of round Gaussians on a ring, a grid or at random: modes to find and weights to get right."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from ebmark.api import Dataset, Rng, dataset
from ebmark.errors import SpecError

LAYOUTS = ("ring", "grid", "random")
SQRT2 = math.sqrt(2)


@lru_cache(maxsize=16)
def _means(
    layout: str, modes: int, dim: int, radius: float, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """The modes' centres ``(K, d)``, made in float64 and the same for every seed."""
    if layout == "ring":
        angle = 2 * math.pi * torch.arange(modes, dtype=torch.float64) / modes
        means = radius * torch.stack([angle.cos(), angle.sin()], -1)
    elif layout == "grid":
        axis = torch.linspace(-radius, radius, math.isqrt(modes), dtype=torch.float64)
        means = torch.cartesian_prod(axis, axis)
    else:
        rng = Rng.of("mixture", "means", modes, dim, dtype=torch.float64)
        means = radius / math.sqrt(dim) * rng.normal((modes, dim))
    return means.to(device, dtype)


@lru_cache(maxsize=16)
def _log_weights(modes: int, ratio: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The logarithms ``(K,)`` of weights proportional to ratio^i."""
    powers = math.log(ratio) * torch.arange(modes, dtype=torch.float64)
    return powers.log_softmax(0).to(device, dtype)


@lru_cache
def _entropy(target: RoundMixture) -> float:
    """-Σ_k w_k E log p(μ_k + sd z) at d = 1 or 2, by the trapezoidal rule around each mode.

    The rule converges geometrically: at a step of 1/8 its error is below 1e-10 nats, whatever the separation.
    """
    axis = torch.arange(-72, 73, dtype=torch.float64) / 8
    z = torch.cartesian_prod(*[axis] * target.dim).reshape(-1, target.dim)
    phi = torch.exp(-0.5 * z.square().sum(-1)) / (8 * math.sqrt(2 * math.pi)) ** target.dim
    means = [phi @ target.log_prob(mean + target.sd * z) for mean in target.means]
    return -(target.weights @ torch.stack(means)).item()


class RoundMixture(Dataset):
    """Σ_k w_k N(μ_k, sd² I): what the mixtures share. Subclasses are registered."""

    modes: int
    layout: str
    radius: float
    sd: float
    ratio: float

    def _parts(self, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
        means = _means(self.layout, self.modes, self.dim, self.radius, dtype, device)
        return means, _log_weights(self.modes, self.ratio, dtype, device)

    @property
    def means(self) -> Tensor:
        """The modes' centres ``(K, d)`` in float64."""
        return self._parts(torch.float64, torch.device("cpu"))[0]

    @property
    def weights(self) -> Tensor:
        """The modes' weights ``(K,)`` in float64."""
        return self._parts(torch.float64, torch.device("cpu"))[1].exp()

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent samples ``(n, d)``."""
        means, log_weights = self._parts(rng.dtype, rng.device)
        k = torch.searchsorted(log_weights.exp().cumsum(0), rng.uniform((n,)), right=True)
        # Rounding may leave the last cumulative weight just below a draw.
        return means[k.clamp(max=self.modes - 1)] + self.sd * rng.normal((n, self.dim))

    def _log_joint(self, x: Tensor) -> Tensor:
        """Log w_k N(x; μ_k, sd² I) ``(..., K)``."""
        means, log_weights = self._parts(x.dtype, x.device)
        squares = (x[..., None, :] - means).square().sum(-1)
        return (
            log_weights - squares / (2 * self.sd**2) - self.dim * math.log(self.sd * math.sqrt(2 * math.pi))
        )

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density ``(...)`` of ``x (..., d)``."""
        return self._log_joint(x).logsumexp(-1)

    def components(self, x: Tensor) -> Tensor:
        """The posterior probability of each mode ``(..., K)``."""
        return self._log_joint(x).softmax(-1)

    def score(self, x: Tensor) -> Tensor:
        """(Σ_k r_k μ_k - x)/sd² ``(..., d)``, r the posterior probabilities of the modes."""
        means, _ = self._parts(x.dtype, x.device)
        return (self.components(x) @ means - x) / self.sd**2

    @property
    def entropy(self) -> float | None:
        """In nats, by quadrature at d <= 2; None above."""
        return _entropy(self) if self.dim <= 2 else None


@dataset("mixture")
class Mixture(RoundMixture):
    """K round Gaussians Σ_k w_k N(μ_k, sd² I), w_k proportional to ratio^k.

    ``mixture[modes=25,layout=grid,radius=2.8284,sd=0.1414]`` is the 25 Gaussians of the literature.

    Attributes:
        modes: number of modes K; a perfect square of at least 4 on the grid.
        dim: dimension d; 2 on the ring and the grid.
        layout: ring, grid, or random: fixed centres drawn from N(0, radius²/d I).
        radius: of the ring; half the side of the grid; root mean square norm of the random centres.
        sd: standard deviation of each mode.
        ratio: each mode's weight over that of the mode before it.
    """

    modes: int = 8
    dim: int = 2
    layout: str = "ring"
    radius: float = 4 / SQRT2
    sd: float = 0.5 / SQRT2
    ratio: float = 1.0

    def __post_init__(self) -> None:
        for key in ("modes", "dim"):
            value = getattr(self, key)
            if type(value) is not int or value < 1:
                raise SpecError(f"mixture.{key}: {value!r} given; allowed: an integer of at least 1")
        for key in ("radius", "sd", "ratio"):
            value = getattr(self, key)
            if type(value) not in (int, float) or not 0 < value < math.inf:
                raise SpecError(f"mixture.{key}: {value!r} given; allowed: a finite positive number")
        if self.layout not in LAYOUTS:
            raise SpecError(f"mixture.layout: {self.layout!r} given; allowed: {', '.join(LAYOUTS)}")
        if self.layout != "random" and self.dim != 2:
            raise SpecError(f"mixture.dim: {self.dim} given; allowed: 2, or any with the layout random")
        if self.layout == "grid" and (self.modes < 4 or math.isqrt(self.modes) ** 2 != self.modes):
            raise SpecError(f"mixture.modes: {self.modes} given; allowed: 4, 9, 16, ... with the layout grid")


@dataset("eight_gaussians")
class EightGaussians(RoundMixture):
    """The eight Gaussians of the literature: equal weights, radius 4/√2, sd 0.5/√2. It has no settings."""

    modes = 8
    dim = 2
    layout = "ring"
    radius = 4 / SQRT2
    sd = 0.5 / SQRT2
    ratio = 1.0
