r"""Energy discrepancy (Schröder, Ou, Lim, Li, Vollmer and Duncan, 2023).

    J(θ) = E log( w/M + (1/M) Σ_j exp(E_θ(x) - E_θ(x + √t ξ + √t ξ_j)) ),    ξ, ξ_1, ..., ξ_M ~ N(0, I)

M points around a noised datum against the datum itself. Minimised by p_θ = p_d for every M when w = 1: all
M + 1 points then have the same law given x + √t ξ, and J ranks the datum among them.

Reference: Energy discrepancies: a score-independent loss for energy-based models, NeurIPS 2023,
https://arxiv.org/abs/2307.06431
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Energy, Method, Passes, Rng, State, Step, auto, method
from ebmark.errors import SpecError
from ebmark.ops import effective_share, energy_and_neighbours


@method("energy_discrepancy", year=2023)
class EnergyDiscrepancy(Method):
    """Energy discrepancy with Gaussian perturbations.

    Attributes:
        M: perturbed points per datum.
        w: weight of the datum itself among them; the minimiser is known for 1.
        t: variance of each of the two perturbations, in the data's units squared; by default √t is half the
            data's standard deviation times √(2/d).
    """

    M: int = 4
    w: float = 1.0
    t: float = auto(0.5, scale=2, dim=-1)

    def __post_init__(self) -> None:
        if self.M < 1:
            raise SpecError(f"energy_discrepancy.M: {self.M} given; allowed: at least 1")
        if not self.w >= 0:
            raise SpecError(f"energy_discrepancy.w: {self.w} given; allowed: at least 0")
        if isinstance(self.t, float) and not self.t > 0:
            raise SpecError(f"energy_discrepancy.t: {self.t} given; allowed: a positive number or 'auto'")

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """J(θ) ``(...)``; its ess is the effective share of the M perturbed points, averaged over data."""
        ξ = rng.normal((*x.shape[:-1], self.M + 1, x.shape[-1]))
        y = x[..., None, :] + self.t**0.5 * (ξ[..., :1, :] + ξ[..., 1:, :])
        E_x, E_y = energy_and_neighbours(energy, x, y)
        gap = E_x[..., None] - E_y
        # log w joins as one more term of the sum; at w = 0 it is -inf, which logsumexp leaves out.
        own = torch.full_like(gap[..., :1], self.w).log()
        loss = torch.cat([own, gap], -1).logsumexp(-1).mean(-1) - math.log(self.M)
        return Step(
            losses={"energy": loss}, state=state, logs={"ess": effective_share(-E_y.detach()).mean(-1)}
        )

    def passes(self, d: int) -> Passes:
        """3 (1 + M) F."""
        return Passes(forward=1 + self.M, backward=2 * (1 + self.M))

    def gaussian_precision(self, v: float) -> float:
        """1/v at w = 1; not known otherwise."""
        return 1 / v if self.w == 1 else math.nan

    @classmethod
    def examples(cls, v: float) -> tuple[EnergyDiscrepancy, ...]:
        """Few and many perturbed points."""
        return cls(M=1, t=0.25 * v), cls(M=4, t=0.25 * v), cls(M=8, t=0.25 * v)
