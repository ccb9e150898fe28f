r"""Minimum probability flow (Sohl-Dickstein, Battaglino and DeWeese, 2011), with Gaussian neighbours.

    J(θ) = E exp( (E_θ(x) - E_θ(x'))/2 ),    x' = x + εξ,    ξ ~ N(0, I)

The rate at which probability leaves the data for their neighbours. Minimised by p_θ = p_d, without Z.

Reference: Minimum probability flow learning, ICML 2011,
https://arxiv.org/abs/0906.4779
"""

from __future__ import annotations

import math

from torch import Tensor

from ebmark.api import Energy, Method, Passes, Rng, State, auto, method
from ebmark.errors import SpecError
from ebmark.ops import energy_and_neighbours


@method("mpf", year=2011)
class MinimumProbabilityFlow(Method):
    """Minimum probability flow to M random neighbours of every datum.

    Attributes:
        M: neighbours per datum.
        eps: standard deviation ε of the step to a neighbour, in the data's units; by default half the data's
            times √(2/d).
    """

    M: int = 4
    eps: float = auto(0.5 * math.sqrt(2), dim=-0.5)

    def __post_init__(self) -> None:
        if self.M < 1:
            raise SpecError(f"mpf.M: {self.M} given; allowed: at least 1")
        if isinstance(self.eps, float) and not self.eps > 0:
            raise SpecError(f"mpf.eps: {self.eps} given; allowed: a positive number or 'auto'")

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        """J(θ) ``(...)``."""
        ξ = rng.normal((*x.shape[:-1], self.M, x.shape[-1]))
        E_x, E_y = energy_and_neighbours(energy, x, x[..., None, :] + self.eps * ξ)
        return (0.5 * (E_x[..., None] - E_y)).exp().mean((-2, -1))

    def passes(self, d: int) -> Passes:
        """3 (1 + M) F."""
        return Passes(forward=1 + self.M, backward=2 * (1 + self.M))

    @classmethod
    def examples(cls, v: float) -> tuple[MinimumProbabilityFlow, ...]:
        """One neighbour and four, at half a standard deviation."""
        return cls(M=1, eps=0.5 * v**0.5), cls(M=4, eps=0.5 * v**0.5)
