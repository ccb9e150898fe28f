"""Five arms that are twisted around the origin.

Reference: Johnson, Duvenaud, Wiltschko, Adams and Datta, Composing graphical models with neural networks,
NeurIPS 2016, https://arxiv.org/abs/1603.06277. There the twist depends on a point's place along its arm; here
on its distance from the origin, which is nearly the same, preserves volume, and leaves the density known.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from ebmark.api import Dataset, Rng, dataset

ARMS = 5
FAR = 20.0  # beyond this distance the twist stays: log p is below -2000 there, and e^r would overflow
LENGTH, WIDTH = 0.3, 0.1  # standard deviations along and across an arm, whose centre is at distance 1
RATE = 0.25
SCALE = 2.0


def _turned(x: Tensor, angle: Tensor) -> Tensor:
    """``x (..., 2)`` turned by ``angle (...)``, counter-clockwise."""
    cos, sin = angle.cos(), angle.sin()
    a, b = x[..., 0], x[..., 1]
    return torch.stack([cos * a - sin * b, sin * a + cos * b], -1)


def _twist(x: Tensor) -> Tensor:
    """The angle ``(...)`` by which a point at the distance of ``x (..., 2)`` is turned."""
    twist: Tensor = RATE * x.norm(dim=-1).clamp(max=FAR).exp()
    return twist


@lru_cache
def _entropy() -> float:
    """That of the arms before the twist, by the trapezoidal rule around the first: the others are alike."""
    axis = torch.arange(-72, 73, dtype=torch.float64) / 8
    z = torch.cartesian_prod(axis, axis)
    phi = torch.exp(-0.5 * z.square().sum(-1)) / (128 * math.pi)
    arm = z * torch.tensor([LENGTH, WIDTH], dtype=torch.float64) + torch.eye(2, dtype=torch.float64)[0]
    return -(phi @ Pinwheel()._straight(arm)).item() + 2 * math.log(SCALE)


@dataset("pinwheel")
class Pinwheel(Dataset):
    """Points 2 R(θ_k + e^|z|/4) z: z ~ N((1, 0), diag(0.3², 0.1²)), R a rotation, θ_k = 2πk/5, k from 0 to 4.

    It has no settings.
    """

    dim = 2

    def sample(self, n: int, rng: Rng) -> Tensor:
        """``n`` independent samples ``(n, 2)``."""
        z = rng.normal((n, 2))
        z = torch.stack([1 + LENGTH * z[:, 0], WIDTH * z[:, 1]], -1)
        arm = 2 * math.pi / ARMS * rng.integers(ARMS, (n,)).to(rng.dtype)
        return SCALE * _turned(z, arm + _twist(z))

    @staticmethod
    def _straight(y: Tensor) -> Tensor:
        """The log-density ``(...)`` of the arms before the twist, at ``y (..., 2)``."""
        arm = -2 * math.pi / ARMS * torch.arange(ARMS, dtype=y.dtype, device=y.device)
        z = _turned(y[..., None, :], arm)
        along, across = (z[..., 0] - 1) / LENGTH, z[..., 1] / WIDTH
        squares = along.square() + across.square()
        return (-0.5 * squares).logsumexp(-1) - math.log(2 * math.pi * LENGTH * WIDTH * ARMS)

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density ``(...)`` of ``x (..., 2)``."""
        y = x / SCALE
        return self._straight(_turned(y, -_twist(y))) - 2 * math.log(SCALE)

    @property
    def entropy(self) -> float:
        """In nats, by quadrature."""
        return _entropy()
