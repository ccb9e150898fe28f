r"""Sliced score matching (Song, Garg, Shi and Ermon, 2019).

    J(θ) = E [ v'∇s_θ(x) v + ½ (v's_θ(x))² ],    E vv' = I

Score matching along M random projections; Rademacher v have the least variance of the usual choices.
Minimised by the density of the data, without Z.

Reference: Sliced score matching: a scalable approach to density and score estimation, UAI 2019,
https://arxiv.org/abs/1905.07088
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebmark.api import Dataset, Energy, Method, Network, Passes, Rng, State, Step, method
from ebmark.errors import SpecError
from ebmark.methods.sm import needs_smoothness
from ebmark.ops import score_and_curve


@method("ssm", year=2019)
class SlicedScoreMatching(Method):
    """Sliced score matching, the form with both terms projected.

    Attributes:
        M: projections per point.
    """

    M: int = 1

    def __post_init__(self) -> None:
        if self.M < 1:
            raise SpecError(f"{self.name}.M: {self.M} given; allowed: at least 1")

    def square(self, s: Tensor, v: Tensor) -> Tensor:
        """(v's)² ``(M, ..., n)`` of the score ``s (..., n, d)`` along ``v (M, ..., n, d)``."""
        return (v * s).sum(-1).square()

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """J(θ) ``(...)``.

        Its ``projected_variance`` is that of v'∇s v over the draws of v, averaged over points. With M = 1 it
        is the variance over the batch, an upper bound: it contains the variance of tr ∇s between points.
        """
        v = torch.stack([rng.sign(x.shape) for _ in range(self.M)])
        s, curvature = score_and_curve(energy, x, v)
        loss = (curvature + 0.5 * self.square(s, v)).mean((0, -1))
        seen = curvature.detach()
        variance = seen.var(0).mean(-1) if self.M > 1 else seen[0].var(-1)
        return Step(losses={"energy": loss}, state=state, logs={"projected_variance": variance})

    def passes(self, d: int) -> Passes:
        """6 (M + 1) F."""
        return Passes(forward=1, input_gradient=1, second_order=2 * self.M, backward=4 + 4 * self.M)

    def skip(self, dataset: Dataset, network: Network) -> str | None:
        """Second derivatives must exist and the density must have a score."""
        return needs_smoothness(dataset, network)
