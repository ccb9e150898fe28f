"""Unnormalised densities with exact log Z and exact samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ebmark.api import Rng

LOG_2PI = math.log(2 * math.pi)


def stream(*key: object, dtype: torch.dtype = torch.float64) -> Rng:
    """A stream in float64."""
    return Rng.of("test_log_z", *key, dtype=dtype)


class Target(nn.Module):
    """An unnormalised density with exact log Z and exact samples."""

    log_z: float

    def sample(self, n: int, rng: Rng) -> Tensor:
        """Exact samples ``(n, d)``."""
        raise NotImplementedError


class Gaussian(Target):
    """E = x'Px/2 with variances from 1 to ``condition`` along random axes."""

    def __init__(self, d: int, condition: float = 100.0) -> None:
        super().__init__()
        axes = torch.linalg.qr(stream("axes", d).normal((d, d))).Q
        variances = torch.logspace(0, math.log10(condition), d, dtype=torch.float64)
        self.register_buffer("precision", axes @ torch.diag(1 / variances) @ axes.T)
        self.root = axes @ torch.diag(variances.sqrt())
        self.log_z = 0.5 * d * LOG_2PI + 0.5 * variances.log().sum().item()

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * ((x @ self.precision) * x).sum(-1)

    def sample(self, n: int, rng: Rng) -> Tensor:
        return rng.normal((n, len(self.root))) @ self.root.T


class Ring(Target):
    """Eight Gaussians on a circle in the first two coordinates, with weights 1 to 8, scaled by e^3."""

    def __init__(self, d: int, radius: float = 3.0, sd: float = 0.5) -> None:
        super().__init__()
        angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
        means = torch.zeros(8, d, dtype=torch.float64)
        means[:, 0], means[:, 1] = radius * angle.cos(), radius * angle.sin()
        weights = torch.arange(1, 9, dtype=torch.float64) / 36
        self.register_buffer("means", means)
        self.register_buffer("weights", weights)
        self.sd = sd
        self.log_z = 3 + 0.5 * d * math.log(2 * math.pi * sd**2)

    def forward(self, x: Tensor) -> Tensor:
        squares = (x.unsqueeze(-2) - self.means).square().sum(-1)
        return -(self.weights.log() - squares / (2 * self.sd**2)).logsumexp(-1) - 3

    def component(self, x: Tensor) -> Tensor:
        """The nearest mode of each point ``(n,)``."""
        return torch.cdist(x, self.means).argmin(-1)

    def sample(self, n: int, rng: Rng) -> Tensor:
        which = torch.searchsorted(self.weights.cumsum(0), rng.uniform((n,))).clamp(max=7)
        return self.means[which] + self.sd * rng.normal((n, self.means.shape[-1]))


class Mixed(Target):
    """Independent logistic sources s, x = s A with a condition number of (d + 1)/2, scaled by e^2."""

    def __init__(self, d: int) -> None:
        super().__init__()
        left, right = (torch.linalg.qr(stream("mixing", side, d).normal((d, d))).Q for side in range(2))
        singular = ((d + 1) / 2) ** torch.linspace(0, 1, d, dtype=torch.float64)
        self.mixing = left * singular @ right
        self.register_buffer("unmixing", right.T / singular @ left.T)
        self.log_z = 2 + singular.log().sum().item()

    def forward(self, x: Tensor) -> Tensor:
        s = x @ self.unmixing
        return (nn.functional.softplus(s) + nn.functional.softplus(-s)).sum(-1) - 2

    def sample(self, n: int, rng: Rng) -> Tensor:
        return torch.logit(rng.uniform((n, len(self.mixing)))) @ self.mixing


class Formula(nn.Module):
    """An energy without parameters."""

    def __init__(self, formula: object) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, x: Tensor) -> Tensor:
        return self.formula(x)


class Hidden(Target):
    """N(0, I), whose samples are the data, and N(at, sd² I) at distance R in a random direction, not in them.

    The second has ``mass`` times the mass of the first.
    """

    def __init__(self, d: int, R: float, mass: float, sd: float = 1.0) -> None:
        super().__init__()
        direction = stream("direction", d).normal((d,))
        self.register_buffer("at", R * direction / direction.norm())
        self.sd, self.level = sd, math.log(mass) - d * math.log(sd)
        self.log_z = 0.5 * d * LOG_2PI + math.log1p(mass)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.level - (x - self.at).square().sum(-1) / (2 * self.sd**2)
        return -torch.logaddexp(-0.5 * x.square().sum(-1), hidden)

    def component(self, x: Tensor) -> Tensor:
        """1 where a point is nearer to the hidden mode ``(n,)``."""
        return ((x - self.at).norm(dim=-1) < x.norm(dim=-1)).long()

    def sample(self, n: int, rng: Rng) -> Tensor:
        return rng.normal((n, len(self.at)))


class Funnel(Target):
    """Neal's funnel: x_1 ~ N(0, 9), the others N(0, exp x_1), normalised.

    Reference: Neal, Slice sampling, Annals of Statistics 31(3), 2003.
    """

    log_z = 0.0

    def __init__(self, d: int) -> None:
        super().__init__()
        self.d = d

    def forward(self, x: Tensor) -> Tensor:
        v = x[..., 0]
        others = x[..., 1:].square().sum(-1) * (-v).exp() + (self.d - 1) * (v + LOG_2PI)
        return 0.5 * (v.square() / 9 + math.log(9) + LOG_2PI + others)

    def sample(self, n: int, rng: Rng) -> Tensor:
        ξ = rng.normal((n, self.d))
        v = 3 * ξ[:, :1]
        return torch.cat([v, (0.5 * v).exp() * ξ[:, 1:]], -1)


class ManyWell(Target):
    """d/2 pairs of a double well E = x⁴ - 6x² - x/2 and a standard normal: 2^(d/2) modes of unequal mass.

    Reference: Noé et al., Boltzmann generators, Science 365, 2019.
    """

    def __init__(self, d: int) -> None:
        super().__init__()
        self.d = d
        grid = torch.linspace(-4, 4, 8001, dtype=torch.float64)
        p = (-self._well(grid)).exp()
        self.grid, self.cdf = grid, p.cumsum(0) / p.sum()
        self.log_z = d / 2 * ((p.sum() * (grid[1] - grid[0])).log().item() + 0.5 * LOG_2PI)

    @staticmethod
    def _well(x: Tensor) -> Tensor:
        return x**4 - 6 * x**2 - 0.5 * x

    def forward(self, x: Tensor) -> Tensor:
        return (self._well(x[..., ::2]) + 0.5 * x[..., 1::2].square()).sum(-1)

    def sample(self, n: int, rng: Rng) -> Tensor:
        x = rng.normal((n, self.d))
        cell = torch.searchsorted(self.cdf, rng.uniform((n, self.d // 2)).to(self.cdf)).clamp(max=8000)
        x[:, ::2] = self.grid[cell] + 1e-3 * (rng.uniform(cell.shape) - 0.5)
        return x
