"""Markov chains on an energy: unadjusted and Metropolis-adjusted Langevin, and Hamiltonian Monte Carlo.

Methods and evaluation use the same chains. A chain counts its passes and transitions on the energy's meter
and times itself there as ``sampling``. No gradient flows through it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ebmark.api import Energy, Rng, points
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
        noise, quarter = (2 * h).sqrt(), 0.25 / h[..., 0]
        start = x
        E, g = value_and_gradient(energy, x)
        accepted = torch.zeros_like(E)
        tested = k if adjust or test else k - 1
        for step in range(k):
            ξ = rng.normal(x.shape)
            y = torch.addcmul(x, noise, ξ).addcmul_(h, g, value=-1)
            energy.meter.transitions += points(x)
            if step == tested:
                x = y
                break
            E_y, g_y = value_and_gradient(energy, y)
            forward = 0.5 * ξ.square_().sum(-1)  # |y - x + h g|²/4h
            backward = torch.addcmul(x - y, h, g_y).square_().sum(-1)
            log_ratio = (E - E_y).add_(forward).addcmul_(backward, quarter, value=-1)
            # Where the energy is not finite the ratio is NaN: such a move is never accepted.
            probability = log_ratio.clamp_(max=0).exp_().nan_to_num_(nan=0.0)
            accepted += probability
            if adjust:
                take = rng.uniform(E.shape) < probability
                E = torch.where(take, E_y, E)
                take = take[..., None]
                x, g = torch.where(take, y, x), torch.where(take, g_y, g)
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
