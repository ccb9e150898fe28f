"""What the classics in the plane share that are a curve with Gaussian noise around it: the exact density.

    p(x) = ∫ N(x; c(t), sd² I) w(t) dt

The integral is a Gauss-Legendre rule whose nodes lie at most 0.7 standard deviations apart: with half that
distance log p changes by less than 1e-7. Samples draw t from w itself, not a node.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from ebmark.api import Dataset, Rng
from ebmark.errors import SpecError

SPACING = 0.7  # of the nodes, in standard deviations
CHUNK = 4096  # points whose distances from all nodes are held at once
MARGIN = 8.0  # of the box around the curve on which the entropy is integrated, in standard deviations
CPU = torch.device("cpu")


@lru_cache(maxsize=16)
def _nodes(target: NoisyCurve, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The nodes ``(K, 2)`` on all arms and the logarithms of their weights ``(K,)``, made in float64."""
    fine = target._curve(torch.linspace(0, 1, 2001, dtype=torch.float64))
    speed = 2000 * fine.diff(dim=1).norm(dim=-1).max().item()
    # In the middle a rule of n nodes has them π/(2 n) apart, at the ends closer.
    n = max(16, math.ceil(math.pi / (2 * SPACING) * speed / target.sd))
    points, shares = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(n))
    t = 0.5 * (1 + points)
    log_weights = (0.5 * shares).log() + math.log(target.power + 1) + target.power * t.log()
    curve = target._curve(t)
    means = curve.flatten(0, 1)
    return means.to(device, dtype), (log_weights.repeat(len(curve)) - math.log(len(curve))).to(device, dtype)


@lru_cache(maxsize=16)
def _entropy(target: NoisyCurve) -> float:
    """-∫ p log p by the trapezoidal rule at a step of half the noise, exact to 1e-7."""
    means, _ = _nodes(target, torch.float64, CPU)
    step, margin = target.sd / 2, MARGIN * target.sd
    ends = zip((means.amin(0) - margin).tolist(), (means.amax(0) + margin).tolist(), strict=True)
    axes = [torch.arange(low, high, step, dtype=torch.float64) for low, high in ends]
    log_p = target.log_prob(torch.cartesian_prod(*axes))
    return -(log_p.exp() @ log_p).item() * step**2


class NoisyCurve(Dataset):
    """Round Gaussian noise around a curve in the plane. Subclasses are registered.

    Class attributes:
        power: the curve's parameter t in [0, 1] has a density proportional to t^power.
    """

    dim = 2
    power: ClassVar[int] = 0
    sd: float

    def __post_init__(self) -> None:
        # Below 0.02 the density takes thousands of nodes.
        if type(self.sd) not in (int, float) or not 0.02 <= self.sd <= 10:
            raise SpecError(f"{self.name}.sd: {self.sd!r} given; allowed: a number from 0.02 to 10")

    def _curve(self, t: Tensor) -> Tensor:
        """The points ``(arms, ..., 2)`` of all arms at ``t (...)``; each arm has the same share."""
        raise NotImplementedError(f"{type(self).__name__} has no curve")

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent samples ``(n, 2)``."""
        arms = self._curve(rng.uniform((n,)) ** (1 / (self.power + 1)))
        arm = rng.integers(len(arms), (n,))
        return arms[arm, torch.arange(n, device=rng.device)] + self.sd * rng.normal((n, 2))

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density ``(...)`` of ``x (..., 2)``."""
        parts = [self._log_joint(part).logsumexp(-1) for part in torch.split(x.reshape(-1, 2), CHUNK)]
        return torch.cat(parts).reshape(x.shape[:-1])

    def score(self, x: Tensor) -> Tensor:
        """(Σ_k r_k c_k - x)/sd² ``(..., 2)``, r the posterior weights of the nodes c."""
        means, _ = _nodes(self, x.dtype, x.device)
        parts = [self._log_joint(part).softmax(-1) @ means for part in torch.split(x.reshape(-1, 2), CHUNK)]
        return (torch.cat(parts).reshape(x.shape) - x) / self.sd**2

    def _log_joint(self, x: Tensor) -> Tensor:
        """Log of weight and Gaussian of each node ``(n, K)`` at ``x (n, 2)``."""
        means, log_weights = _nodes(self, x.dtype, x.device)
        squares = (x[:, None, :] - means).square().sum(-1)
        return log_weights - squares / (2 * self.sd**2) - math.log(2 * math.pi * self.sd**2)

    @property
    def entropy(self) -> float:
        """In nats, by quadrature over the plane."""
        return _entropy(self)
