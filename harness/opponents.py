"""Opponents of an energy without a density: a latent generator, a Stein critic, and their Gaussian stand-ins.

A method counts their passes on the energy's meter under the opponent's name, in forwards of its network.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ebmark.api import Energy, Rng, points
from ebmark.modules import perceptron
from ebmark.ops import fit_gaussian


class Generator(nn.Module):
    """x = g(z) + σε, z ~ N(0, I) and ε ~ N(0, I): samples without a density in closed form.

    Attributes:
        dim: d, of x and of z.
    """

    dim: int

    @property
    def sigma(self) -> Tensor:
        """σ ``(...)``, in the data's units."""
        raise NotImplementedError(f"{type(self).__name__} has no sigma")


class ResidualGenerator(Generator):
    """g(z) = m + L (z + f(z)) with a perceptron f; it starts near the Gaussian with the data's moments.

    σ is learned within [0.01, 0.3] of the data's root mean variance.
    """

    mean: Tensor
    tril: Tensor
    sd: Tensor

    def __init__(self, data: Tensor, rng: Rng, *, width: int = 128, depth: int = 2) -> None:
        super().__init__()
        self.dim = d = data.shape[-1]
        self.f = perceptron(
            d, width=width, depth=depth, activation="silu", gain=1.5, like=data, rng=rng, outputs=d
        )
        with torch.no_grad():
            for p in self.f[-1].parameters():
                p.mul_(0.01)
        self.rho = nn.Parameter(torch.zeros((), dtype=data.dtype, device=data.device))
        mean, tril = fit_gaussian(data)
        self.register_buffer("mean", mean)
        self.register_buffer("tril", tril)
        self.register_buffer("sd", data.var(0).mean().sqrt())

    @property
    def sigma(self) -> Tensor:
        """σ, a smooth function of its parameter that never leaves its bounds."""
        return self.sd * 0.01 * (math.log(30) * self.rho.sigmoid()).exp()

    def forward(self, z: Tensor) -> Tensor:
        """g(z) ``(..., d)`` of ``z (..., d)``."""
        f: Tensor = self.f(z)
        return self.mean + (z + f) @ self.tril.mT


class GaussianGenerator(Generator):
    """g(z) = mu + z √(1/k0 - σ²), so that x ~ N(mu, I/k0), with the one parameter k0 ``(...)``."""

    mu: Tensor
    fixed: Tensor

    def __init__(self, mu: Tensor, k0: Tensor, sigma: Tensor) -> None:
        super().__init__()
        self.dim = len(mu)
        self.register_buffer("mu", mu)
        self.register_buffer("fixed", sigma)
        self.k0 = nn.Parameter(k0.clone())

    @property
    def sigma(self) -> Tensor:
        """The given σ ``(...)``."""
        return self.fixed

    def forward(self, z: Tensor) -> Tensor:
        """g(z) for ``z (..., d)`` whose leading dimensions start with those of k0."""
        a = (1 / self.k0 - self.fixed.square()).sqrt()
        return self.mu + a.reshape(*a.shape, *[1] * (z.dim() - a.dim())) * z


class Critic(nn.Module):
    """A perceptron f: x ``(..., d)`` -> ``(..., d)`` on standardised coordinates."""

    mean: Tensor
    sd: Tensor

    def __init__(self, data: Tensor, rng: Rng, *, width: int = 128, depth: int = 3) -> None:
        super().__init__()
        d = data.shape[-1]
        self.f = perceptron(
            d, width=width, depth=depth, activation="silu", gain=1.5, like=data, rng=rng, outputs=d
        )
        self.register_buffer("mean", data.mean(0))
        self.register_buffer("sd", data.var(0).mean().sqrt())

    def forward(self, x: Tensor) -> Tensor:
        """f(x) ``(..., d)``."""
        f: Tensor = self.f((x - self.mean) / self.sd)
        return f / self.sd  # a score's units are those of 1/x


class GaussianCritic(nn.Module):
    """f(x) = (1/v - k0)(x - mu)/(2λ), the exact critic of N(mu, I/k0) on data N(mu, v I)."""

    mu: Tensor

    def __init__(self, mu: Tensor, v: float, k0: Tensor, lam: float) -> None:
        super().__init__()
        self.register_buffer("mu", mu)
        self.v, self.lam = v, lam
        self.k0 = nn.Parameter(k0.clone())

    def forward(self, x: Tensor) -> Tensor:
        """f(x) ``(..., n, d)``."""
        return (1 / self.v - self.k0)[..., None, None] * (x - self.mu) / (2 * self.lam)


def critic_value_and_trace(
    energy: Energy, critic: nn.Module, x: Tensor, v: Tensor, player: str = "critic"
) -> tuple[Tensor, Tensor]:
    """f(x) ``(..., n, d)`` and Hutchinson's estimate v'∇f(x)v ``(..., n)`` of tr ∇f(x).

    Counted for ``player``: the product costs one input gradient of the critic, the backward through both 4.
    """
    x = x.detach().requires_grad_()
    energy.meter.count(points(x), player=player, forward=1, input_gradient=1, graph=4)
    f: Tensor = critic(x)
    (product,) = torch.autograd.grad((f * v).sum(), x, create_graph=True)
    return f, (product * v).sum(-1)
