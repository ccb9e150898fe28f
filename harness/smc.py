r"""Sequential Monte Carlo from a Gaussian mixture q to a model p̃ = exp(-E), with a frozen schedule.

    π_β(x) ∝ q(x)^(1-β) p̃(x)^β,    0 = β_0 < ... < β_T = 1

A pilot chooses temperatures and step sizes and is thrown away. Because the runs that count use its
schedule unchanged, each run's estimate of Z is unbiased. All happens in whitened coordinates z,
x = centre + scale z, in which the mixture's average component has unit covariance: one step size then
fits every direction.

References: Del Moral, Doucet and Jasra, Sequential Monte Carlo samplers, JRSS B 68(3), 2006; Zhou,
Johansen and Aston, Toward automatic model comparison, JCGS 25(3), 2016 (conditional ESS).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ebmark.api import Rng
from ebmark.base import Path
from ebmark.samplers import Chain, hmc

PILOT = 256  # particles of the pilot
RATIO = 0.9  # effective share of the particles after reweighting to the next temperature
RUNS, PARTICLES = 8, 128
MOVES, LEAPFROGS = 2, 5  # Hamiltonian transitions per temperature, leapfrog steps per transition
ACCEPTANCE = 0.75
# A trajectory is at most 2 spreads long, a little more than the quarter period π/2 after which a Gaussian has
# forgotten its start; a longer one comes back. The step is h = ε²/2, here at the base's unit spread.
LARGEST_STEP = 0.5 * (2 / LEAPFROGS) ** 2


def gradients(moves: int = MOVES) -> float:
    """Per particle and temperature: one at the start, the moves, a forward (half of one) to reweight."""
    return 1 + moves * LEAPFROGS + 0.5


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Inverse temperatures above 0, the last one 1, and the step size at each.

    ``complete`` says that every pair of neighbours keeps the required effective sample size.
    """

    betas: tuple[float, ...]
    steps: tuple[float, ...]
    complete: bool = True

    def thin(self, most: int) -> Schedule:
        """At most ``most`` of the temperatures, evenly spread, the last one kept."""
        if len(self.betas) <= most:
            return self
        keep = [round((i + 1) * len(self.betas) / most) - 1 for i in range(most)]
        betas = tuple(self.betas[i] for i in keep)
        return Schedule(betas=betas, steps=tuple(self.steps[i] for i in keep), complete=False)


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """What the adaptive run found: a schedule, its last particles ``z (256, d)``, a first log Z."""

    schedule: Schedule
    z: Tensor
    log_z: float


def pilot(path: Path, rng: Rng, most: int) -> Pilot:
    """A schedule of at most ``most`` temperatures, found by one adaptive run."""
    z = path.base.sample((1, PILOT), rng)
    h, spread = torch.full((1,), LARGEST_STEP, dtype=z.dtype, device=z.device), z.var()
    beta, log_z, complete = 0.0, 0.0, True
    betas: list[float] = []
    steps: list[float] = []
    while beta < 1:
        ratio = path.log_ratio(z)
        target = _next(ratio, beta)
        if len(betas) == most - 1 and target < 1:
            target, complete = 1.0, False
        log_w = (target - beta) * ratio
        log_z += log_w.logsumexp(-1).item() - math.log(PILOT)
        z = take(z, systematic(log_w.softmax(-1), PILOT, rng))
        beta = target
        chain = hmc(path.at(beta), z, k=MOVES, leapfrogs=LEAPFROGS, h=h, rng=rng)
        z = chain.x
        h = torch.minimum(_tune(h, chain.acceptance), LARGEST_STEP * z.var() / spread)
        betas.append(beta)
        steps.append(h.item())
    schedule = Schedule(betas=tuple(betas), steps=tuple(steps), complete=complete)
    return Pilot(schedule=schedule, z=z[0], log_z=log_z)


def _next(ratio: Tensor, beta: float) -> float:
    """The largest inverse temperature that keeps the effective share of equal particles at ``RATIO``."""

    def share(increment: float) -> float:
        w = (increment * ratio).softmax(-1)
        return 1 / (w.square().sum().item() * w.numel())

    if share(1 - beta) >= RATIO:
        return 1.0
    lo, hi = 0.0, 1 - beta
    while hi - lo > 1e-3 * hi:
        middle = (lo + hi) / 2
        lo, hi = (middle, hi) if share(middle) >= RATIO else (lo, middle)
    return beta + hi


def _tune(h: Tensor, acceptance: Tensor) -> Tensor:
    """The step at which the acceptance is ``ACCEPTANCE``, given that ``h`` accepts ``acceptance``.

    Rests on the law of high dimension, a(h) = 2 Φ(-c h).

    Reference: Beskos et al., Optimal tuning of the hybrid Monte Carlo algorithm, Bernoulli 19(5A), 2013.
    """
    quantile = torch.special.ndtri(acceptance.clamp(0.01, 0.99) / 2)
    target: Tensor = torch.special.ndtri(torch.full_like(quantile, ACCEPTANCE / 2))
    return h * torch.clamp(target / quantile, 0.25, 2)


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Weighted particles of R independent runs.

    Attributes:
        z: ``(R, K, d)``, whitened coordinates.
        log_w: log weights ``(R, K)``; the mean of exp(log_w) over K is the run's unbiased estimate of Z.
        acceptance: mean acceptance at each temperature ``(T,)``.
    """

    z: Tensor
    log_w: Tensor
    acceptance: Tensor

    @property
    def log_z(self) -> Tensor:
        """Each run's log Z ``(R,)``."""
        return self.log_w.logsumexp(-1) - math.log(self.log_w.shape[-1])

    @classmethod
    def joined(cls, several: Sequence[Runs]) -> Runs:
        """All runs as one set, with their smallest acceptance."""
        return cls(
            z=torch.cat([runs.z for runs in several]),
            log_w=torch.cat([runs.log_w for runs in several]),
            acceptance=torch.stack([runs.acceptance for runs in several]).amin(0),
        )


def run(path: Path, schedule: Schedule, rng: Rng, *, moves: int = MOVES) -> Runs:
    """R = 8 runs of K particles side by side, resampled where the effective size falls below K/2."""
    z = path.base.sample((RUNS, PARTICLES), rng)
    log_w = torch.zeros(RUNS, PARTICLES, dtype=torch.float64, device=z.device)
    before, acceptance = 0.0, []
    for beta, step in zip(schedule.betas, schedule.steps, strict=True):
        z, log_w = resample(z, log_w + (beta - before) * path.log_ratio(z), rng)
        chain = move(path, beta, z, step, rng, moves)
        z, before = chain.x, beta
        acceptance.append(chain.acceptance.mean())
    return Runs(z=z, log_w=log_w, acceptance=torch.stack(acceptance))


def move(path: Path, beta: float, z: Tensor, step: float, rng: Rng, moves: int) -> Chain:
    """Transitions at an inverse temperature, with a step of its own for each of the runs ``z (R, K, d)``."""
    # Steps of 1/2 to 1 times the pilot's keep the trajectory's length off the period of any direction.
    h = step * (0.5 + 0.5 * rng.uniform(z.shape[:1]))
    return hmc(path.at(beta), z, k=moves, leapfrogs=LEAPFROGS, h=h, rng=rng)


def resample(z: Tensor, log_w: Tensor, rng: Rng) -> tuple[Tensor, Tensor]:
    """Particles ``(R, K, d)`` and log weights ``(R, K)`` of the runs, equal again where they were uneven."""
    K = log_w.shape[-1]
    w = log_w.softmax(-1)
    poor = (1 / w.square().sum(-1) < K / 2)[:, None]
    level = log_w.logsumexp(-1, keepdim=True) - math.log(K)
    z = torch.where(poor[..., None], take(z, systematic(w, K, rng)), z)
    return z, torch.where(poor, level, log_w)


def systematic(w: Tensor, m: int, rng: Rng) -> Tensor:
    """Systematic resampling: indices ``(..., m)``, each drawn within 1 of m w times, ``w (..., K)``."""
    u = rng.uniform((*w.shape[:-1], 1)).to(w.dtype)
    position = (torch.arange(m, dtype=w.dtype, device=w.device) + u) / m
    return torch.searchsorted(w.cumsum(-1), position, right=True).clamp(max=w.shape[-1] - 1)


def take(z: Tensor, index: Tensor) -> Tensor:
    """Rows ``index (..., m)`` of ``z (..., K, d)``."""
    return z.gather(-2, index.unsqueeze(-1).expand(*index.shape, z.shape[-1]))
