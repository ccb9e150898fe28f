"""What the methods share that draw their negative samples from Markov chains."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ebmark.api import Energy, Method, Passes, Rng, State, Step, added
from ebmark.errors import SpecError
from ebmark.samplers import TARGET_ACCEPTANCE, Chain, adapt, hmc, langevin


@dataclass(frozen=True, kw_only=True)
class Contrastive(Method):
    """What contrastive divergence and its persistent form share: a chain's settings and its one call.

    Attributes:
        k: transitions per update.
        sampler: mala, ula (mala without the acceptance step), or hmc.
        h: step size in the data's units squared. Without one it is adapted at every update towards the best
            acceptance of mala or hmc (for ula to a fifth of mala's step, at the price of one more gradient).
        leapfrogs: L, leapfrog steps per transition of hmc.
    """

    k: int = 1
    sampler: str = "mala"
    h: float | None = None
    leapfrogs: int = added(5)

    def __post_init__(self) -> None:
        for key in ("k", "leapfrogs"):
            if getattr(self, key) < 1:
                raise SpecError(f"{self.name}.{key}: {getattr(self, key)} given; allowed: at least 1")
        if self.sampler not in TARGET_ACCEPTANCE:
            allowed = ", ".join(TARGET_ACCEPTANCE)
            raise SpecError(f"{self.name}.sampler: {self.sampler!r} given; allowed: {allowed}")
        if self.h is not None and not self.h > 0:
            raise SpecError(
                f"{self.name}.h: {self.h} given; allowed: a positive number; leave it out to adapt it"
            )

    def init(self, energy: Energy, data: Tensor, rng: Rng) -> State:
        """The starting step size: 0.1 sd² d^(-1/3), a fifth of it for ula."""
        sd2 = data.var(0).mean()
        start = 0.1 * sd2 * data.shape[-1] ** (-1 / 3) / (5 if self.sampler == "ula" else 1)
        h = start if self.h is None else torch.full_like(sd2, self.h)
        return State(buffers={"log_h": h.log(), "sd2": sd2})

    def contrast(self, energy: Energy, x: Tensor, y: Tensor, state: State, rng: Rng) -> tuple[Step, Tensor]:
        """The step with loss E(x) - E(y_k) ``(...)``, and y_k, k transitions from y; both ``(..., n, d)``.

        No gradient flows through y_k. The step size of the next update is adapted here.
        """
        log_h = state.buffers["log_h"]
        chain = self._chain(energy, y, log_h.exp(), rng)
        E_x, E_y = energy(torch.cat([x, chain.x], -2)).chunk(2, -1)
        logs = {"acceptance": chain.acceptance, "displacement": chain.displacement, "h": log_h.exp()}
        if self.h is None:
            log_h = adapt(log_h, chain.acceptance, self.sampler, sd2=state.buffers["sd2"])
        losses = {"energy": E_x.mean(-1) - E_y.mean(-1)}
        return Step(losses=losses, state=state.update(log_h=log_h), logs=logs), chain.x

    def _chain(self, energy: Energy, y: Tensor, h: Tensor, rng: Rng) -> Chain:
        if self.sampler == "hmc":
            return hmc(energy, y, k=self.k, leapfrogs=self.leapfrogs, h=h, rng=rng)
        adjust = self.sampler == "mala"
        return langevin(energy, y, k=self.k, h=h, rng=rng, adjust=adjust, test=self.h is None)

    def passes(self, d: int) -> Passes:
        """ULA 2k + 6 F (2k + 8 with an adapted h), MALA 2k + 8 F, HMC 2kL + 8 F."""
        gradients = self.k * (self.leapfrogs if self.sampler == "hmc" else 1)
        gradients += self.sampler != "ula" or self.h is None
        return Passes(forward=gradients + 2, input_gradient=gradients, backward=4)

    def gaussian_precision(self, v: float) -> float:
        """1/v with an exact sampler, (1 - √(1 - 2h/v))/h with ULA at a given step h."""
        if self.sampler != "ula":
            return 1 / v
        known = self.h is not None and 2 * self.h <= v  # beyond that no chain has so small a variance
        return (1 - math.sqrt(1 - 2 * self.h / v)) / self.h if known and self.h else math.nan

    def at_gaussian(self, mu: Tensor, v: float, k: Tensor) -> State:
        """The step size, one per leading index."""
        h = torch.full_like(k, self.h or 0.1 * v)
        return State(buffers={"log_h": h.log(), "sd2": torch.full_like(k, v)})


def first_root(f: Callable[[float], float], step: float) -> float:
    """The smallest k > 0 at which ``f`` falls through 0: on a grid of width ``step``, then by bisection.

    NaN where ``f`` is not positive at the first point of the grid, or does not fall within 10,000 of them.
    """
    lo = next((i * step for i in range(1, 10_001) if not f((i + 1) * step) > 0), math.nan)
    if math.isnan(lo) or not f(step) > 0:
        return math.nan
    hi = lo + step
    while hi - lo > 1e-12 * hi:
        middle = (lo + hi) / 2
        lo, hi = (middle, hi) if f(middle) > 0 else (lo, middle)
    return hi
