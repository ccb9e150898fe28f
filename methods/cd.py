r"""Contrastive divergence (Hinton, 2002): k sampler steps from the data at every update.

    ∇J(θ) = E_d ∇E_θ(x) - E ∇E_θ(x_k),    x_k after k transitions of a Markov chain for p_θ from x

No gradient flows through x_k. With an exact sampler (MALA, HMC) the data's density is a fixed point for every
k; an unadjusted one (ULA) has its own stationary law, and on N(mu, v I) the fixed point (1 - √(1 - 2h/v))/h
for every k.

Reference: Training products of experts by minimizing contrastive divergence, Neural Computation 14(8), 2002,
https://doi.org/10.1162/089976602760128018
"""

from __future__ import annotations

from torch import Tensor

from ebmark.api import Energy, Rng, State, Step, method
from ebmark.chains import Contrastive


@method("cd", year=2002)
class ContrastiveDivergence(Contrastive):
    """CD-k: the chains start from the batch.

    Attributes:
        k: transitions per update.
        sampler: mala, ula or hmc.
        h: step size in the data's units squared; adapted without one.
        leapfrogs: L, leapfrog steps per transition of hmc.
    """

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """E_d E(x) - E E(x_k) ``(...)``, whose gradient is that of contrastive divergence."""
        return self.contrast(energy, x, x, state, rng)[0]

    @classmethod
    def examples(cls, v: float) -> tuple[ContrastiveDivergence, ...]:
        """Fixed steps, where the minimiser is known: MALA and HMC at 0.1 v, ULA at 0.05 v."""
        return (
            cls(h=0.1 * v),
            cls(k=5, h=0.1 * v),
            cls(sampler="ula", h=0.05 * v),
            cls(k=5, sampler="ula", h=0.05 * v),
            cls(sampler="hmc", h=0.1 * v),
        )
