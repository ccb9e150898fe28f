r"""Denoising score matching (Vincent, 2011).

    J(θ) = ½ E ‖σ s_θ(x + σε) + ε‖²,    ε ~ N(0, I)

Minimised by the density of the noised data, p ∗ N(0, σ²I). With several levels one energy serves all σ of a
geometric ladder, and J is their mean with equal weights; each datum draws one of them.

Reference: A connection between score matching and denoising autoencoders, Neural Computation 23(7), 2011,
https://doi.org/10.1162/NECO_a_00142
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from ebmark.api import Energy, Method, Passes, Rng, State, added, auto, method, pick
from ebmark.errors import SpecError
from ebmark.ops import score


@method("dsm", year=2011)
class DenoisingScoreMatching(Method):
    """Denoising score matching at one noise scale, or at several with one energy.

    Attributes:
        sigma: standard deviation σ of the noise, in the data's units; by default 0.05 of the data's.
        levels: number of noise scales, geometric from ``sigma`` to ``top``.
        top: the last of them; by default half the data's standard deviation.
    """

    players: ClassVar = {"energy": {"lr": 1e-3}}
    sigma: float = auto(0.05)
    levels: int = added(1)
    top: float = added(auto(0.5))

    def __post_init__(self) -> None:
        for key in ("sigma", "top"):
            value = getattr(self, key)
            if isinstance(value, float) and not value > 0:
                raise SpecError(f"dsm.{key}: {value} given; allowed: a positive number or 'auto'")
        if self.levels < 1:
            raise SpecError(f"dsm.levels: {self.levels} given; allowed: at least 1")

    @property
    def ladder(self) -> tuple[float, ...]:
        """The noise scales, ascending from σ."""
        ratio = self.top / self.sigma if self.levels > 1 else 1
        return tuple(self.sigma * ratio ** (i / max(self.levels - 1, 1)) for i in range(self.levels))

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Tensor:
        """J(θ) ``(...)``."""
        ε = rng.normal(x.shape)
        σ: float | Tensor = self.sigma
        if self.levels > 1:
            σ = pick(self.ladder, rng.integers(self.levels, x.shape[:-1]), x)[..., None]
        s = score(energy, x + σ * ε)
        return 0.5 * (σ * s + ε).square().sum(-1).mean(-1)

    def passes(self, d: int) -> Passes:
        """6 F."""
        return Passes(forward=1, input_gradient=1, backward=4)

    def gaussian_precision(self, v: float) -> float:
        """1 / (v + σ²); with several levels Σσ² / Σσ²(v + σ²)."""
        squares = [σ**2 for σ in self.ladder]
        return sum(squares) / sum(σ2 * (v + σ2) for σ2 in squares)

    @classmethod
    def examples(cls, v: float) -> tuple[DenoisingScoreMatching, ...]:
        """A noise of 0.3 standard deviations, whose bias is large enough to be seen, and a ladder."""
        sd = v**0.5
        return cls(sigma=0.3 * sd), cls(sigma=0.1 * sd, levels=4, top=0.8 * sd)
