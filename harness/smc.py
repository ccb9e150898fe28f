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
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ebmark.api import Energy, Meter, Rng
from ebmark.samplers import hmc

PILOT = 256  # particles of the pilot
RATIO = 0.9  # effective share of the particles after reweighting to the next temperature
RUNS, PARTICLES = 8, 128
MOVES, LEAPFROGS = 2, 5  # Hamiltonian transitions per temperature, leapfrog steps per transition
ACCEPTANCE = 0.75
# A trajectory is at most 2 spreads long, a little more than the quarter period π/2 after which a Gaussian has
# forgotten its start; a longer one comes back. The step is h = ε²/2, here at the base's unit spread.
LARGEST_STEP = 0.5 * (2 / LEAPFROGS) ** 2
# Gradients per particle and temperature: one at the start, the moves, a forward (half of one) to reweight.
GRADIENTS = 1 + MOVES * LEAPFROGS + 0.5


class NotFinite(ArithmeticError):
    """The energy is infinite or NaN at a particle."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """A Gaussian mixture: ``weights (k,)``, ``means (k, d)``, Cholesky factors and inverses ``(k, d, d)``.

    It lives in whitened coordinates z: x = centre + scale z, ``centre (d,)``, triangular ``scale (d, d)``.
    """

    weights: Tensor
    means: Tensor
    trils: Tensor
    inverses: Tensor
    centre: Tensor
    scale: Tensor

    def to_data(self, z: Tensor) -> Tensor:
        """The points x ``(..., d)`` at z ``(..., d)``."""
        return self.centre + z @ self.scale.mT

    def log_prob(self, z: Tensor) -> Tensor:
        """The log-density log q(z) ``(...)``, with respect to z."""
        k, d = self.means.shape
        offset = (self.inverses @ self.means.unsqueeze(-1)).squeeze(-1)
        y = (z @ self.inverses.reshape(k * d, d).mT).reshape(*z.shape[:-1], k, d) - offset
        log_det = self.trils.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        log_norm = self.weights.log() - log_det - 0.5 * d * math.log(2 * math.pi)
        return (log_norm - 0.5 * y.square().sum(-1)).logsumexp(-1)

    def sample(self, shape: tuple[int, ...], rng: Rng) -> Tensor:
        """Points z ``(*shape, d)`` from q."""
        last = len(self.weights) - 1
        component = torch.searchsorted(self.weights.cumsum(0), rng.uniform(shape), right=True).clamp(max=last)
        ξ = rng.normal((*shape, self.means.shape[-1]))
        every = self.means + torch.einsum("kij,...j->...ki", self.trils, ξ)
        return every.gather(-2, component[..., None, None].expand(*shape, 1, ξ.shape[-1])).squeeze(-2)


class _Tempered(nn.Module):
    """-log π_β(z) up to a constant."""

    def __init__(self, energy: nn.Module, base: Base, beta: float) -> None:
        super().__init__()
        self.energy, self.base, self.beta = energy, base, beta

    def forward(self, z: Tensor) -> Tensor:
        E: Tensor = self.energy(self.base.to_data(z))
        return self.beta * E - (1 - self.beta) * self.base.log_prob(z)


class Path:
    """The path from ``base`` to the model ``module``; its work is counted on ``meter``."""

    def __init__(self, module: nn.Module, base: Base, meter: Meter) -> None:
        self.base = base
        self._energy = Energy(module, meter)
        self._log_det = base.scale.diagonal().double().log().sum()

    def at(self, beta: float) -> Energy:
        """-log π_β as an energy of z, for a sampler."""
        return Energy(_Tempered(self._energy.module, self.base, beta), self._energy.meter)

    def log_ratio(self, z: Tensor) -> Tensor:
        """Returns log p̃ - log q ``(...)`` at z in float64; under q the mean of its exponential is Z.

        Raises:
            NotFinite: the energy is infinite or NaN at one of the points.
        """
        with torch.no_grad():
            E = self._energy(self.base.to_data(z)).double()
            if bad := int((~torch.isfinite(E)).sum()):
                raise NotFinite(f"the energy is not finite at {bad} of {E.numel()} particles")
            return self._log_det - E - self.base.log_prob(z).double()


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


def pilot(path: Path, rng: Rng, most: int) -> Schedule:
    """A schedule of at most ``most`` temperatures, found by one adaptive run."""
    z = path.base.sample((1, PILOT), rng)
    h, spread = torch.full((1,), LARGEST_STEP, dtype=z.dtype, device=z.device), z.var()
    beta, complete = 0.0, True
    betas: list[float] = []
    steps: list[float] = []
    while beta < 1:
        ratio = path.log_ratio(z)
        target = _next(ratio, beta)
        if len(betas) == most - 1 and target < 1:
            target, complete = 1.0, False
        z = _take(z, systematic(((target - beta) * ratio).softmax(-1), PILOT, rng))
        beta = target
        chain = hmc(path.at(beta), z, k=MOVES, leapfrogs=LEAPFROGS, h=h, rng=rng)
        z = chain.x
        h = torch.minimum(_tune(h, chain.acceptance), LARGEST_STEP * z.var() / spread)
        betas.append(beta)
        steps.append(h.item())
    return Schedule(betas=tuple(betas), steps=tuple(steps), complete=complete)


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


def run(path: Path, schedule: Schedule, rng: Rng) -> Runs:
    """R = 8 runs of K = 128 particles side by side, resampled where the effective size falls below K/2."""
    z = path.base.sample((RUNS, PARTICLES), rng)
    log_w = torch.zeros(RUNS, PARTICLES, dtype=torch.float64, device=z.device)
    before, acceptance = 0.0, []
    for beta, step in zip(schedule.betas, schedule.steps, strict=True):
        log_w = log_w + (beta - before) * path.log_ratio(z)
        w = log_w.softmax(-1)
        poor = (1 / w.square().sum(-1) < PARTICLES / 2)[:, None]
        level = log_w.logsumexp(-1, keepdim=True) - math.log(PARTICLES)
        z = torch.where(poor[..., None], _take(z, systematic(w, PARTICLES, rng)), z)
        log_w = torch.where(poor, level, log_w)
        # Steps of 1/2 to 1 times the pilot's keep the trajectory's length off the period of any direction.
        h = step * (0.5 + 0.5 * rng.uniform((RUNS,)))
        chain = hmc(path.at(beta), z, k=MOVES, leapfrogs=LEAPFROGS, h=h, rng=rng)
        z, before = chain.x, beta
        acceptance.append(chain.acceptance.mean())
    return Runs(z=z, log_w=log_w, acceptance=torch.stack(acceptance))


def systematic(w: Tensor, m: int, rng: Rng) -> Tensor:
    """Systematic resampling: indices ``(..., m)``, each drawn within 1 of m w times, ``w (..., K)``."""
    u = rng.uniform((*w.shape[:-1], 1)).to(w.dtype)
    position = (torch.arange(m, dtype=w.dtype, device=w.device) + u) / m
    return torch.searchsorted(w.cumsum(-1), position, right=True).clamp(max=w.shape[-1] - 1)


def _take(z: Tensor, index: Tensor) -> Tensor:
    """Rows ``index (..., m)`` of ``z (..., K, d)``."""
    return z.gather(-2, index.unsqueeze(-1).expand(*index.shape, z.shape[-1]))
