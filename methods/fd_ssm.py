r"""Finite-difference sliced score matching (Pang, Xu, Li, Song, Ermon and Zhu, 2020).

    J(θ) = d/ε² E [ ℓ(x + v) + ℓ(x - v) - 2ℓ(x) + ⅛ (ℓ(x + v) - ℓ(x - v))² ],    ℓ = -E_θ,  |v| = ε

Sliced score matching without a derivative in x, along one direction per point. Minimised by the density of
the data up to O(ε²), and exactly on a Gaussian.

Reference: Efficient learning of generative models via finite-difference score matching, NeurIPS 2020,
https://arxiv.org/abs/2007.03317
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ebmark.api import Dataset, Energy, Method, Network, Passes, Rng, State, auto, method
from ebmark.errors import SpecError
from ebmark.methods.sm import needs_smoothness


@method("fd_ssm", year=2020)
class FiniteDifferenceScoreMatching(Method):
    """Three forwards per point; v has independent signs, the directions of least variance.

    Attributes:
        eps: length ε of v, in the data's units; by default 0.05 of the data's standard deviation. In single
            precision the second difference is known to about 10⁻⁷ |E| d/ε², so that a shorter step drowns in
            rounding, while the bias of a longer one grows as its square.
    """

    eps: float = auto(0.05)

    def __post_init__(self) -> None:
        if isinstance(self.eps, float) and not self.eps > 0:
            raise SpecError(f"fd_ssm.eps: {self.eps} given; allowed: a positive number or 'auto'")

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        """J(θ) ``(...)``; the three points of each difference share one forward."""
        ε, d = self.eps, x.shape[-1]
        v = ε / math.sqrt(d) * rng.sign(x.shape)
        here, right, left = (-energy(torch.cat([x, x + v, x - v], -2))).chunk(3, -1)
        return d / ε**2 * (right + left - 2 * here + (right - left).square() / 8).mean(-1)

    def passes(self, d: int) -> Passes:
        """9 F."""
        return Passes(forward=3, backward=6)

    def skip(self, dataset: Dataset, network: Network) -> str | None:
        """Second derivatives must exist, even where they are not computed; the density must have a score."""
        return needs_smoothness(dataset, network)

    @classmethod
    def examples(cls, v: float) -> tuple[FiniteDifferenceScoreMatching, ...]:
        """The default on data of this variance."""
        return (cls(eps=0.05 * v**0.5),)
