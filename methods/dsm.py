r"""Denoising score matching (Vincent, 2011).

    J(θ) = ½ E ‖σ s_θ(x + σε) + ε‖²,    ε ~ N(0, I)

Minimised by the density of the noised data, p ∗ N(0, σ²I).

Reference: A connection between score matching and denoising autoencoders, Neural Computation 23(7), 2011,
https://doi.org/10.1162/NECO_a_00142
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from ebmark.api import Energy, Method, Passes, Rng, State, auto, method
from ebmark.errors import SpecError
from ebmark.ops import score


@method("dsm", year=2011)
class DenoisingScoreMatching(Method):
    """Denoising score matching at one noise scale.

    Attributes:
        sigma: standard deviation σ of the noise, in the data's units; by default 0.05 of the data's.
    """

    players: ClassVar = {"energy": {"lr": 1e-3}}
    sigma: float = auto(0.05)

    def __post_init__(self) -> None:
        if isinstance(self.sigma, float) and not self.sigma > 0:
            raise SpecError(f"dsm.sigma: {self.sigma} given; allowed: a positive number or 'auto'")

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        """J(θ) ``(...)``."""
        ε = rng.normal(x.shape)
        s = score(energy, x + self.sigma * ε)
        return 0.5 * (self.sigma * s + ε).square().sum(-1).mean(-1)

    def passes(self, d: int) -> Passes:
        """6 F."""
        return Passes(forward=1, input_gradient=1, backward=4)

    def gaussian_precision(self, v: float) -> float:
        """1 / (v + σ²)."""
        return 1 / (v + self.sigma**2)

    @classmethod
    def examples(cls, v: float) -> tuple[DenoisingScoreMatching, ...]:
        """A noise of 0.3 standard deviations, whose bias is large enough to be seen."""
        return (cls(sigma=0.3 * v**0.5),)
