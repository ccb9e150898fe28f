"""Markov chains on an energy: unadjusted and Metropolis-adjusted Langevin, and Hamiltonian Monte Carlo.

Methods and evaluation use the same chains. A chain counts its passes and transitions on the energy's meter
and times itself there as ``sampling``. No gradient flows through it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ebmark.api import Energy, Method, Passes, Rng, State, Step, added, points
from ebmark.errors import SpecError
from ebmark.ops import value_and_gradient

# Roberts and Rosenthal (1998), Optimal scaling of discrete approximations to Langevin diffusions, JRSS B
# 60(1): MALA mixes best in high dimension when it accepts 0.574. At a fifth of that step it would accept
# 0.96, the acceptance 2 Phi(-l^3 J/2) with l^3 smaller by 5^1.5: that is where an unadjusted chain is kept.
TARGET_ACCEPTANCE = {"mala": 0.574, "ula": 0.96, "hmc": 0.65}


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Where k transitions led.

    Attributes:
        x: the last states ``(..., n, d)``.
        acceptance: mean probability of acceptance ``(...)``; for ula what a Metropolis test would have
            accepted, NaN where no move was tested.
        displacement: mean distance from start to end ``(...)``.
    """

    x: Tensor
    acceptance: Tensor
    displacement: Tensor


def langevin(
    energy: Energy, x: Tensor, *, k: int, h: Tensor, rng: Rng, adjust: bool, test: bool = True
) -> Chain:
    r"""K steps of x' = x - h ∇E(x) + √(2h) ξ from ``x (..., n, d)`` with step sizes h ``(...)``.

    Args:
        energy: the energy; k gradients, one more with ``test``.
        x: the starting points.
        k: number of transitions.
        h: step size, one per leading index.
        rng: the stream of the chain.
        adjust: accept or reject each move by Metropolis' rule (MALA); otherwise every move is taken (ULA).
        test: compute the acceptance probability of every move; without it an unadjusted chain saves the
            gradient at its end, and the probability is that of the moves before the last.

    Reference: Roberts and Tweedie, Exponential convergence of Langevin distributions, Bernoulli 2(4), 1996.
    """
    with energy.meter.phase("sampling"), torch.no_grad():
        h = h[..., None, None]
        start = x
        E, g = value_and_gradient(energy, x)
        accepted = torch.zeros_like(E)
        tested = k if adjust or test else k - 1
        for step in range(k):
            y = x - h * g + (2 * h).sqrt() * rng.normal(x.shape)
            energy.meter.transitions += points(x)
            if step == tested:
                x = y
                break
            E_y, g_y = value_and_gradient(energy, y)
            forward = (y - x + h * g).square().sum(-1)
            backward = (x - y + h * g_y).square().sum(-1)
            log_ratio = E - E_y + (forward - backward) / (4 * h[..., 0])
            # Where the energy is not finite the ratio is NaN: such a move is never accepted.
            probability = log_ratio.clamp(max=0).exp().nan_to_num(nan=0.0)
            accepted += probability
            if adjust:
                take = rng.uniform(E.shape) < probability
                x = torch.where(take[..., None], y, x)
                E = torch.where(take, E_y, E)
                g = torch.where(take[..., None], g_y, g)
            else:
                x, E, g = y, E_y, g_y
        acceptance = accepted.mean(-1) / tested if tested else torch.full_like(E[..., 0], torch.nan)
        displacement = (x - start).square().sum(-1).sqrt().mean(-1)
    return Chain(x=x, acceptance=acceptance, displacement=displacement)


def adapt(log_h: Tensor, acceptance: Tensor, sampler: str, *, sd2: Tensor, rate: float = 0.1) -> Tensor:
    """Robbins and Monro's update of log h ``(...)`` towards the sampler's target acceptance.

    The step stays within [1e-5, 1] times the data's mean variance ``sd2``.

    Reference: Robbins and Monro, A stochastic approximation method, Ann. Math. Statist. 22(3), 1951.
    """
    log_h = log_h + rate * (acceptance - TARGET_ACCEPTANCE[sampler])
    return torch.minimum(torch.maximum(log_h, (1e-5 * sd2).log()), sd2.log())


def hmc(energy: Energy, x: Tensor, *, k: int, leapfrogs: int, h: Tensor, rng: Rng) -> Chain:
    r"""Hamiltonian Monte Carlo: k transitions of L leapfrog steps of length ε = √(2h) from ``x (..., n, d)``.

        p ← p - ½ε ∇E(x),    x ← x + ε p,    p ← p - ½ε ∇E(x),    p ~ N(0, I) at the start of a transition

    With this h, one leapfrog is MALA, and ``adapt`` bounds the steps of all three samplers alike.

    Args:
        energy: the energy; 1 + kL values and gradients, since the gradient at the current state is kept.
        x: the starting points.
        k: number of transitions.
        leapfrogs: L, leapfrog steps per transition.
        h: step size, half the square of the leapfrog step; one per leading index.
        rng: the stream of the chain.

    References: Duane et al., Hybrid Monte Carlo, Physics Letters B 195(2), 1987; Neal, MCMC using Hamiltonian
    dynamics, Handbook of Markov Chain Monte Carlo, 2011.
    """
    with energy.meter.phase("sampling"), torch.no_grad():
        ε = (2 * h).sqrt()[..., None, None]
        start = x
        E, g = value_and_gradient(energy, x)
        accepted = torch.zeros_like(E)
        for _ in range(k):
            momentum = rng.normal(x.shape)
            y, E_y, g_y, p = x, E, g, momentum
            for _ in range(leapfrogs):
                p = p - 0.5 * ε * g_y
                y = y + ε * p
                E_y, g_y = value_and_gradient(energy, y)
                p = p - 0.5 * ε * g_y
            energy.meter.transitions += points(x)
            log_ratio = E - E_y + 0.5 * (momentum.square() - p.square()).sum(-1)
            # A trajectory that has left the finite numbers is rejected.
            probability = log_ratio.clamp(max=0).exp().nan_to_num(nan=0.0)
            accepted += probability
            take = rng.uniform(E.shape) < probability
            x = torch.where(take[..., None], y, x)
            E = torch.where(take, E_y, E)
            g = torch.where(take[..., None], g_y, g)
        displacement = (x - start).square().sum(-1).sqrt().mean(-1)
    return Chain(x=x, acceptance=accepted.mean(-1) / k, displacement=displacement)


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
        """ULA 2k + 6 F, MALA 2k + 8 F, HMC 2kL + 8 F; adapting ULA's step costs as much as MALA's test."""
        gradients = self.k * (self.leapfrogs if self.sampler == "hmc" else 1)
        gradients += self.sampler != "ula" or self.h is None
        return Passes(forward=gradients + 2, input_gradient=gradients, backward=4)

    def gaussian_precision(self, v: float) -> float:
        """1/v with an exact sampler, (1 - √(1 - 2h/v))/h with ULA at a given step h."""
        if self.sampler != "ula":
            return 1 / v
        return math.nan if self.h is None else (1 - math.sqrt(1 - 2 * self.h / v)) / self.h

    def at_gaussian(self, mu: Tensor, v: float, k: Tensor) -> State:
        """The step size, one per leading index."""
        h = torch.full_like(k, self.h or 0.1 * v)
        return State(buffers={"log_h": h.log(), "sd2": torch.full_like(k, v)})


def first_root(f: Callable[[float], float], step: float) -> float:
    """The smallest k > 0 at which ``f`` falls through 0: on a grid of width ``step``, then by bisection.

    NaN where ``f`` is not positive at the first point of the grid.
    """
    lo = step
    if not f(lo) > 0:
        return math.nan
    while f(lo + step) > 0:
        lo += step
    hi = lo + step
    while hi - lo > 1e-12 * hi:
        middle = (lo + hi) / 2
        lo, hi = (middle, hi) if f(middle) > 0 else (lo, middle)
    return hi
