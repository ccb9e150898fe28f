r"""Conditional noise-contrastive estimation (Ceylan and Gutmann, 2018).

    J(θ) = E softplus( E_θ(x) - E_θ(y) ),    y = x + εξ,    ξ ~ N(0, I)

Which of two neighbours is the datum? The noise is symmetric, so that its density and Z cancel. Minimised by
p_θ = p_d.

Reference: Conditional noise-contrastive estimation of unnormalised models, ICML 2018,
https://arxiv.org/abs/1806.03664
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import softplus

from ebmark.api import Energy, Method, Passes, Rng, State, Step, auto, method
from ebmark.errors import SpecError
from ebmark.ops import energy_and_neighbours


@method("cnce", year=2018)
class ConditionalNoiseContrastiveEstimation(Method):
    """Every datum against Gaussian neighbours of its own.

    Attributes:
        kappa: neighbours per datum.
        eps: standard deviation ε of the step to a neighbour, in the data's units; by default half the data's
            times √(2/d). The estimate's variance grows as 4/ε² for a short step, and a long one leaves the
            data in high dimension.
    """

    kappa: int = 4
    eps: float = auto(0.5 * math.sqrt(2), dim=-0.5)

    def __post_init__(self) -> None:
        if self.kappa < 1:
            raise SpecError(f"cnce.kappa: {self.kappa} given; allowed: at least 1")
        if isinstance(self.eps, float) and not self.eps > 0:
            raise SpecError(f"cnce.eps: {self.eps} given; allowed: a positive number or 'auto'")

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """J(θ) ``(...)``; its accuracy is the share of neighbours with a higher energy than their datum."""
        ξ = rng.normal((*x.shape[:-1], self.kappa, x.shape[-1]))
        E_x, E_y = energy_and_neighbours(energy, x, x[..., None, :] + self.eps * ξ)
        gap = E_x[..., None] - E_y
        accuracy = (gap < 0).to(x.dtype).mean((-2, -1))
        return Step(losses={"energy": softplus(gap).mean((-2, -1))}, state=state, logs={"accuracy": accuracy})

    def passes(self, d: int) -> Passes:
        """3 (1 + κ) F."""
        return Passes(forward=1 + self.kappa, backward=2 * (1 + self.kappa))

    @classmethod
    def examples(cls, v: float) -> tuple[ConditionalNoiseContrastiveEstimation, ...]:
        """One neighbour at half a standard deviation, and four at the default for two dimensions."""
        return cls(kappa=1, eps=0.5 * v**0.5), cls(kappa=4, eps=0.5 * v**0.5)
