r"""Exact maximum likelihood (Fisher, 1922), an oracle: log Z by a lattice rule at d <= 2, or in closed form.

    J(θ) = E_d E_θ(x) + log Z_θ,    Z_θ = V/M Σ_j exp(-E_θ(y_j)),    y_j = centre + half (2 {j z/M + u} - 1)

z generates a lattice of M points in the unit cube; u, uniform and new at every step, makes Z unbiased
(Cranley and Patterson, 1976). Minimised by p_d.

Reference: On the mathematical foundations of theoretical statistics, Phil. Trans. R. Soc. A 222, 1922,
https://doi.org/10.1098/rsta.1922.0009
"""

from __future__ import annotations

import math
from typing import Any, Literal, cast

import torch
from torch import Tensor

from ebmark.api import Dataset, Energy, Method, Network, Passes, Rng, State, Value, beside, method
from ebmark.errors import SpecError
from ebmark.quadrature import lattice

# Half the box in the data's largest standard deviation. A network's Gaussian base term has 1.5 of them, and
# at d <= 2 less than 1e-4 of a Gaussian lies beyond 4.2 of its own. Mass that is outside is not seen.
HALF = 1.5 * 4.2


@method("mle", year=1922)
class MaximumLikelihood(Method):
    """Maximum likelihood with the normaliser itself: what a method without Z can be measured against.

    Attributes:
        normaliser: lattice (d <= 2), or known, from a network that has log Z in closed form.
        points: lattice points per datum; a batch n has M = points n.
    """

    normaliser: Literal["lattice", "known"] = "lattice"
    points: int = 16

    def __post_init__(self) -> None:
        if self.points < 1:
            raise SpecError(f"mle.points: {self.points} given; allowed: at least 1")

    def init(self, energy: Energy, data: Tensor, rng: Rng) -> State:
        """The box, frozen: a cube, since the base term is as wide in every direction."""
        return State(buffers={"centre": data.mean(0), "half": HALF * data.std(0).max()})

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        """The negative log-likelihood J(θ) ``(...)``, in nats."""
        n, d = x.shape[-2:]
        if self.normaliser == "known":
            return energy(x).mean(-1) + cast(Tensor, cast(Any, energy.module).log_z())
        M, half = self.points * n, state.buffers["half"]
        u = (lattice(M, d).to(x) + rng.uniform((*x.shape[:-2], 1, d))) % 1
        y = beside(state.buffers["centre"], 1, u) + half[..., None, None] * (2 * u - 1)
        E = energy(torch.cat([x, y], -2))
        log_Z = (-E[..., n:]).logsumexp(-1) + d * (2 * half).log() - math.log(M)
        return E[..., :n].mean(-1) + log_Z

    def log_z(self, energy: Energy, state: State, rng: Rng) -> Value | None:
        """The closed form, where the network has one."""
        known = self.normaliser == "known"
        return Value(value=cast(Any, energy.module).log_z().item()) if known else None

    def passes(self, d: int) -> Passes:
        """3 (1 + points) F; 3 F where Z is known."""
        evaluations = 1 if self.normaliser == "known" else 1 + self.points
        return Passes(forward=evaluations, backward=2 * evaluations)

    def skip(self, dataset: Dataset, network: Network) -> str | None:
        """A lattice ends at d = 2, a closed form needs a network that has it."""
        if self.normaliser == "known":
            return None if network.known_z else f"the network {network.name} has no log Z in closed form"
        return f"mle[normaliser=lattice] needs d <= 2, not {dataset.dim}" if dataset.dim > 2 else None

    def at_gaussian(self, mu: Tensor, v: float, k: Tensor) -> State:
        """The box of data N(mu, v I)."""
        return State(buffers={"centre": mu, "half": torch.tensor(HALF * math.sqrt(v), dtype=mu.dtype)})

    @classmethod
    def examples(cls, v: float) -> tuple[MaximumLikelihood, ...]:
        """A lattice coarse enough for 400 replicates of it."""
        return (cls(points=2),)
