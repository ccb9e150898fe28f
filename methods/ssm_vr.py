r"""Sliced score matching with reduced variance (Song, Garg, Shi and Ermon, 2019).

    J(θ) = E [ v'∇s_θ(x) v + ½ |s_θ(x)|² ],    E vv' = I

The trace of score matching by M random projections; Rademacher v have the least variance of the usual
choices.

Reference: Sliced score matching: a scalable approach to density and score estimation, UAI 2019,
https://arxiv.org/abs/1905.07088
"""

from __future__ import annotations

import torch
from torch import Tensor

from ebmark.api import Dataset, Energy, Method, Network, Passes, Rng, State, method
from ebmark.errors import SpecError
from ebmark.methods.sm import needs_smoothness
from ebmark.ops import score_and_curve


@method("ssm_vr", year=2019)
class SlicedScoreMatching(Method):
    """Sliced score matching, the form with |s|² in full.

    Attributes:
        M: projections per point.
    """

    M: int = 1

    def __post_init__(self) -> None:
        if self.M < 1:
            raise SpecError(f"ssm_vr.M: {self.M} given; allowed: at least 1")

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        """J(θ) ``(...)``."""
        v = torch.stack([rng.sign(x.shape) for _ in range(self.M)])
        s, curvature = score_and_curve(energy, x, v)
        return (curvature.mean(0) + 0.5 * s.square().sum(-1)).mean(-1)

    def passes(self, d: int) -> Passes:
        """6 (M + 1) F."""
        return Passes(forward=1, input_gradient=1, second_order=2 * self.M, backward=4 + 4 * self.M)

    def skip(self, dataset: Dataset, network: Network) -> str | None:
        """Second derivatives must exist and the density must have a score."""
        return needs_smoothness(dataset, network)
