r"""Contrastive divergence (Hinton, 2002): k sampler steps from the data at every update.

    ∇J(θ) = E_d ∇E_θ(x) - E ∇E_θ(x_k),    x_k after k transitions of a Markov chain for p_θ from x

No gradient flows through x_k. With an exact sampler (MALA) the data's density is a fixed point for every k;
an unadjusted one (ULA) has its own stationary law, and on N(mu, v I) the fixed point (1 - √(1 - 2h/v))/h for
every k.

Reference: Training products of experts by minimizing contrastive divergence, Neural Computation 14(8), 2002,
https://doi.org/10.1162/089976602760128018
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Energy, Method, Passes, Rng, State, Step, method
from ebmark.errors import SpecError
from ebmark.samplers import adapt, langevin


@method("cd", year=2002)
class ContrastiveDivergence(Method):
    """CD-k with Langevin chains.

    Attributes:
        k: transitions per update.
        sampler: mala, or ula without the acceptance step.
        h: step size in the data's units squared. Without one it is adapted at every update towards MALA's
            best acceptance (for ula to a fifth of that step, at the price of one more gradient).
    """

    k: int = 1
    sampler: str = "mala"
    h: float | None = None

    def __post_init__(self) -> None:
        if self.k < 1:
            raise SpecError(f"cd.k: {self.k} given; allowed: at least 1")
        if self.sampler not in ("mala", "ula"):
            raise SpecError(f"cd.sampler: {self.sampler!r} given; allowed: mala, ula")
        if self.h is not None and not self.h > 0:
            raise SpecError(f"cd.h: {self.h} given; allowed: a positive number; leave it out to adapt it")

    def init(self, energy: Energy, data: Tensor, rng: Rng) -> State:
        """The starting step size: 0.1 sd² d^(-1/3), a fifth of it for ula."""
        sd2 = data.var(0).mean()
        start = 0.1 * sd2 * data.shape[-1] ** (-1 / 3) / (5 if self.sampler == "ula" else 1)
        h = start if self.h is None else torch.full_like(sd2, self.h)
        return State(buffers={"log_h": h.log(), "sd2": sd2})

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """E_d E(x) - E E(x_k) ``(...)``, whose gradient is that of contrastive divergence."""
        log_h, adapting = state.buffers["log_h"], self.h is None
        chain = langevin(
            energy, x, k=self.k, h=log_h.exp(), rng=rng, adjust=self.sampler == "mala", test=adapting
        )
        E_x, E_k = energy(torch.cat([x, chain.x], -2)).chunk(2, -1)
        logs = {"acceptance": chain.acceptance, "displacement": chain.displacement, "h": log_h.exp()}
        if adapting:
            log_h = adapt(log_h, chain.acceptance, self.sampler, sd2=state.buffers["sd2"])
        return Step(
            losses={"energy": E_x.mean(-1) - E_k.mean(-1)}, state=state.update(log_h=log_h), logs=logs
        )

    def passes(self, d: int) -> Passes:
        """ULA 2k + 6 F, MALA 2k + 8 F; adapting ULA's step costs the same extra gradient as MALA's test."""
        gradients = self.k + (self.sampler == "mala" or self.h is None)
        return Passes(forward=gradients + 2, input_gradient=gradients, backward=4)

    def gaussian_precision(self, v: float) -> float:
        """1/v with MALA, (1 - √(1 - 2h/v))/h with ULA at a given step h."""
        if self.sampler == "mala":
            return 1 / v
        return math.nan if self.h is None else (1 - math.sqrt(1 - 2 * self.h / v)) / self.h

    def at_gaussian(self, mu: Tensor, v: float, k: Tensor) -> State:
        """The step size, one per leading index."""
        return State(
            buffers={"log_h": torch.full_like(k, self.h or 0.1 * v).log(), "sd2": torch.full_like(k, v)}
        )

    @classmethod
    def examples(cls, v: float) -> tuple[ContrastiveDivergence, ...]:
        """Fixed steps, where the minimiser is known: MALA at 0.1 v, ULA at 0.05 v."""
        return (
            cls(h=0.1 * v),
            cls(k=5, h=0.1 * v),
            cls(sampler="ula", h=0.05 * v),
            cls(k=5, sampler="ula", h=0.05 * v),
        )
