r"""Telescoping density-ratio estimation (Rhodes, Xu and Gutmann, 2020) with m bridges from data to noise.

    J(θ, c) = 1/m Σ_j E_{p_j} softplus(-r_j(x)) + E_{p_{j+1}} softplus(r_j(x)),    r_j = -E_j - c_j
    x_a = m₀ + √(1 - a²) (x₀ - m₀) + a (x₁ - m₀),    x₀ ~ data, x₁ ~ noise,    p_j the law of x_{a_j}

Each head E_j, j < m, learns the ratio of two neighbours on the way a_0 = 0, ..., a_m = 1: minimised by
r_j = log p_j/p_{j+1}, whose sum is log p_d/q.

Reference: Telescoping density-ratio estimation, NeurIPS 2020,
https://arxiv.org/abs/2006.12204
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ebmark.api import (
    Constants,
    Energy,
    Method,
    Passes,
    Rng,
    State,
    Step,
    Value,
    added,
    beside,
    learned,
    method,
)
from ebmark.derivatives import Along, Derived, derive
from ebmark.errors import SpecError
from ebmark.noise import ROUND, uncorrelated
from ebmark.ops import fit_gaussian, gaussian_log_prob, gaussian_sample

# Longer than most methods: what is trained (the heads) and what is evaluated (their telescope) differ.


@method("tre", year=2020)
class TelescopingRatios(Method):
    """Telescoping ratio estimation; by default with Gaussian noise of the data's mean and covariance.

    Attributes:
        m: bridges, each with a head of its own on the shared trunk.
        scale: the noise's standard deviations in units of the data's.
        power: the way points are a_j = (j/m)^power.
        noise: gaussian; or independent, without its correlations: the ratio to independent coordinates.
    """

    m: int = 2
    scale: float = 1.5
    power: float = 1.0
    noise: str = added("gaussian")

    def __post_init__(self) -> None:
        if self.m < 2:
            raise SpecError(f"tre.m: {self.m} given; allowed: at least 2; one bridge is nce")
        for key in ("scale", "power"):
            if not getattr(self, key) > 0:
                raise SpecError(f"tre.{key}: {getattr(self, key)} given; allowed: a positive number")
        if self.noise not in ROUND:
            raise SpecError(f"tre.noise: {self.noise!r} given; allowed: {', '.join(ROUND)}")

    def heads(self, d: int) -> int:
        """One energy per bridge."""
        return self.m

    def init(self, energy: Energy, data: Tensor, rng: Rng) -> State:
        """Fits the noise, and starts each c_j at the estimate E_{p_{j+1}} exp(-E_j) = exp(c_j)."""
        mean, tril = fit_gaussian(data, self.scale)
        buffers = {"mean": mean, "tril": uncorrelated(tril) if self.noise == "independent" else tril}
        x = data[rng.integers(len(data), (1024,))]
        with torch.no_grad():
            _, E = self._bridges(energy, x, State(buffers=buffers), rng)
        return State(params={"energy": Constants(c=(-E).logsumexp(-2) - math.log(1024))}, buffers=buffers)

    def _ways(self) -> list[float]:
        return [(j / self.m) ** self.power for j in range(self.m + 1)]

    def _bridges(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> tuple[Tensor, Tensor]:
        """E_j on p_j and on p_{j+1}, each ``(..., n, m)``; every way point goes through the trunk once."""
        mean, n = beside(state.buffers["mean"], 1, x), x.shape[-2]
        y = gaussian_sample(energy, x.shape[:-1], state.buffers["mean"], state.buffers["tril"], rng) - mean
        ways = torch.cat([mean + math.sqrt(1 - a * a) * (x - mean) + a * y for a in self._ways()], -2)
        E = energy(ways).reshape(*x.shape[:-2], self.m + 1, n, self.m)
        return E[..., :-1, :, :].diagonal(dim1=-3, dim2=-1), E[..., 1:, :, :].diagonal(dim1=-3, dim2=-1)

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """J(θ, c) ``(...)``; accuracy and overlap are the means over the bridges."""
        c = state.params["energy"].get_parameter("c")[..., None, :]
        near, far = self._bridges(energy, x, state, rng)
        r_near, r_far = -near - c, -far - c
        loss = (softplus(-r_near) + softplus(r_far)).mean((-2, -1))
        right = 0.5 * ((r_near > 0).to(loss) + (r_far < 0).to(loss)).mean((-2, -1))
        logs = {"accuracy": right, "overlap": (-r_near.detach()).sigmoid().mean((-2, -1))}
        return Step(losses={"energy": loss}, state=state, logs=logs)

    def passes(self, d: int) -> Passes:
        """3 (m + 1) F."""
        return Passes(forward=self.m + 1, backward=2 * (self.m + 1))

    def graded(self, energy: Energy, state: State) -> Energy:
        """E = -log q - Σ_j (r_j + c_j), for which log Z = Σ c_j."""
        return Energy(Telescope(energy.module, state.buffers["mean"], state.buffers["tril"]), energy.meter)

    def log_z(self, energy: Energy, state: State, rng: Rng) -> Value:
        """Σ c_j."""
        return learned(state, "c")

    def gaussian_precision(self, v: float) -> tuple[float, ...]:
        """1/v_j - 1/v_{j+1} with v_j = (1 - a_j²) v + a_j² scale² v."""
        v_ = [(1 + a * a * (self.scale**2 - 1)) * v for a in self._ways()]
        return tuple(1 / near - 1 / far for near, far in pairwise(v_))

    def at_gaussian(self, mu: Tensor, v: float, k: Tensor) -> State:
        """c_j normalises p_{j+1} exp(-E_j - c_j)."""
        far = torch.tensor([(1 + a * a * (self.scale**2 - 1)) * v for a in self._ways()[1:]], dtype=mu.dtype)
        c = -0.5 * len(mu) * (1 + k * far).log()
        tril = self.scale * math.sqrt(v) * torch.eye(len(mu), dtype=mu.dtype)
        return State(params={"energy": Constants(c=c)}, buffers={"mean": mu, "tril": tril})


class Telescope(nn.Module):
    """-log q(x) + Σ_j E_j(x) ``(...)`` of x ``(..., d)``, on a trunk with heads E_j."""

    mean: Tensor
    tril: Tensor

    def __init__(self, trunk: nn.Module, mean: Tensor, tril: Tensor) -> None:
        super().__init__()
        self.trunk = trunk
        self.register_buffer("mean", mean)
        self.register_buffer("tril", tril)

    def forward(self, x: Tensor) -> Tensor:
        """E(x) ``(...)``."""
        E: Tensor = self.trunk(x)
        return E.sum(-1) - gaussian_log_prob(x, self.mean, self.tril)

    def derive(self, x: Tensor, along: Along | None = None, w: Tensor | None = None) -> Derived:
        """∇E = Σ_j ∇E_j + (L L')⁻¹(x - m)."""
        E = derive(self.trunk, x)
        value = E.value - gaussian_log_prob(x, self.mean, self.tril)
        whitened = torch.cholesky_solve((x - self.mean).mT, self.tril).mT
        return Derived(value, E.gradient + whitened, None)
