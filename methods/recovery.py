r"""Diffusion recovery likelihood (Gao, Song, Poole, Wu and Kingma, 2021), its noise added without shrinking.

    J(θ) = -E log p_l(x | x̃),    p_l(x | x̃) ∝ exp(-E_l(x) - |x̃ - x|²/(2s²)),    x̃ = x + s ξ

Level l adds noise σ_l to the data, σ_0 = 0 and then a geometric ladder; s² = σ²_{l+1} - σ_l². A level is
drawn per datum, each has a head, and head 0 is the model. ∇J = E ∇E_l(x) - E ∇E_l(x_K) with K Langevin steps
of size 0.1 s² from x̃ to x_K. Minimised by p_d * N(0, σ_l² I) up to the bias of those steps.

Reference: Learning energy-based models by diffusion recovery likelihood, ICLR 2021,
https://arxiv.org/abs/2012.08125
"""

# Longer than most: it brings the conditional energy that the chain runs on, and the recursion of its bias.

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ebmark.api import Energy, Method, Passes, Rng, State, Step, auto, method, pick
from ebmark.chains import first_root
from ebmark.derivatives import Along, Derived, derive
from ebmark.errors import SpecError
from ebmark.samplers import langevin

H = 0.1  # Langevin's step in units of s²


class _Head(nn.Module):
    """E_l(x) ``(...)`` of x ``(..., d)`` and a level l ``(...)``."""

    def __init__(self, energy: nn.Module, level: Tensor, levels: int) -> None:
        super().__init__()
        self.energy, self.level = energy, level
        self.w = one_hot(level, levels)

    def forward(self, x: Tensor) -> Tensor:
        E: Tensor = self.energy(x)
        return E.gather(-1, self.level.expand(E.shape[:-1])[..., None]).squeeze(-1)

    def derive(self, x: Tensor, along: Along | None = None, w: Tensor | None = None) -> Derived:
        return derive(self.energy, x, along, self.w.to(x))._replace(weight=1)


class _Conditional(nn.Module):
    """-log p_l(s u | s ũ) of u = x/s ``(..., n, d)``, up to a constant; s ``(..., n, 1)``."""

    def __init__(self, energy: nn.Module, s: Tensor, ũ: Tensor) -> None:
        super().__init__()
        self.energy, self.s, self.ũ = energy, s, ũ

    def forward(self, u: Tensor) -> Tensor:
        E: Tensor = self.energy(self.s * u)
        return E + 0.5 * (u - self.ũ).square().sum(-1)

    def derive(self, u: Tensor, along: Along | None = None, w: Tensor | None = None) -> Derived:
        E, gap = derive(self.energy, self.s * u), u - self.ũ
        value = E.value + 0.5 * gap.square().sum(-1)
        return Derived(value, torch.addcmul(gap, self.s, E.gradient), None)


@method("recovery", year=2021)
class RecoveryLikelihood(Method):
    """Recovery likelihood on a ladder of noise levels.

    Attributes:
        K: Langevin steps.
        levels: noise levels, one head each.
        smallest: σ_1, by default 0.2 of the data's standard deviation.
        largest: the last σ, by default the data's standard deviation.
    """

    K: int = 30
    levels: int = 6
    smallest: float = auto(0.2)
    largest: float = auto(1.0)

    def __post_init__(self) -> None:
        for key, least in (("K", 1), ("levels", 2)):
            if getattr(self, key) < least:
                raise SpecError(f"recovery.{key}: {getattr(self, key)} given; allowed: at least {least}")
        for key in ("smallest", "largest"):
            if isinstance(value := getattr(self, key), int | float) and not value > 0:
                raise SpecError(f"recovery.{key}: {value} given; allowed: a positive number or 'auto'")

    def heads(self, d: int) -> int:
        """One per level."""
        return self.levels

    def ladder(self) -> list[tuple[float, float]]:
        """σ_l and s of each level."""
        ratio = (self.largest / self.smallest) ** (1 / (self.levels - 1))
        σ = [0.0, *(self.smallest * ratio**i for i in range(self.levels))]
        return [(σ_l, (σ_next**2 - σ_l**2) ** 0.5) for σ_l, σ_next in pairwise(σ)]

    def loss(self, energy: Energy, x: Tensor, state: State, rng: Rng) -> Step:
        """E E_l(x) - E E_l(x_K) ``(...)``, whose gradient is that of J; no gradient flows through x_K."""
        level = rng.integers(self.levels, x.shape[:-1])
        σ, s = (pick(each, level, x)[..., None] for each in zip(*self.ladder(), strict=True))
        x = x + σ * rng.normal(x.shape)
        ũ = x / s + rng.normal(x.shape)
        p = Energy(_Conditional(_Head(energy.module, level, self.levels), s, ũ), energy.meter)
        h = torch.full_like(x[..., 0, 0], H)
        chain = langevin(p, ũ, k=self.K, h=h, rng=rng, adjust=False, test=False)
        head = Energy(_Head(energy.module, torch.cat([level, level], -1), self.levels), energy.meter)
        E_x, E_K = head(torch.cat([x, s * chain.x], -2)).chunk(2, -1)
        moved = (s * (chain.x - ũ)).square().sum(-1).sqrt().mean(-1)
        logs = {"acceptance": chain.acceptance, "displacement": moved}
        return Step(losses={"energy": E_x.mean(-1) - E_K.mean(-1)}, state=state, logs=logs)

    def graded(self, energy: Energy, state: State) -> Energy:
        """Head 0: the data without noise."""
        device = next(energy.module.parameters()).device
        first = torch.zeros((), dtype=torch.long, device=device)
        return Energy(_Head(energy.module, first, self.levels), energy.meter)

    def passes(self, d: int) -> Passes:
        """2K + 6 F."""
        return Passes(forward=self.K + 2, input_gradient=self.K, backward=4)

    def gaussian_precision(self, v: float) -> tuple[float, ...]:
        """The root of A_K² (v_l + s²) + N_K = v_l at each level, v_l = v + σ_l².

        A_0 = 1, N_0 = 0, A' = aA + h/s², N' = a²N + 2h with a = 1 - h(k + 1/s²), h = 0.1 s².
        """

        def precision(v: float, s2: float) -> float:
            def excess(k: float) -> float:
                A, N, h = 1.0, 0.0, H * s2
                a = 1 - h * (k + 1 / s2)
                for _ in range(self.K):
                    A, N = a * A + h / s2, a * a * N + 2 * h
                return A * A * (v + s2) + N - v

            return first_root(excess, 0.01 / v)

        return tuple(precision(v + σ**2, s**2) for σ, s in self.ladder())

    @classmethod
    def examples(cls, v: float) -> tuple[RecoveryLikelihood, ...]:
        """Three levels, wide enough for the bias of the steps to be seen."""
        return (cls(levels=3, smallest=0.4 * v**0.5, largest=v**0.5),)
